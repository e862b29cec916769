import pytest
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from serving.errors import Refused
from serving.kserve.repository import ClosedRepository
from tests.serving.kserve.toy import Toy, data_plane


async def test_anybody_can_unload_the_model_from_the_sdks_repository() -> None:
    # What `repository` mends; delete it when this fails.
    registry = data_plane(Toy()).model_registry
    await ModelRepositoryExtension(registry).unload("ctscan")
    assert registry.get_model("ctscan") is None


@pytest.mark.parametrize("name", ["ctscan", "other"])
async def test_models_are_neither_loaded_nor_unloaded_over_the_api(name: str) -> None:
    registry = data_plane(Toy()).model_registry
    closed = ClosedRepository(registry)
    with pytest.raises(Refused):
        await closed.unload(name)
    with pytest.raises(Refused):
        await closed.load(name)
    assert registry.get_model("ctscan") is not None
