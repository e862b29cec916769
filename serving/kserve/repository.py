"""A closed model repository.

Without this anybody who reaches the port can unload the model with one unauthenticated POST, after
which requests answer 404 while the server stays ready.
"""

from typing import NoReturn

from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from serving.errors import Refused


class ClosedRepository(ModelRepositoryExtension):  # type: ignore[misc]  # the SDK is untyped
    """Refuses to load and unload, on both doors."""

    async def load(self, model_name: str) -> NoReturn:
        raise Refused("models are not loaded over the API: start a server with other weights")

    async def unload(self, model_name: str) -> NoReturn:
        raise Refused("models are not unloaded over the API: stop the server instead")
