"""What `versions` mends in the SDK's servicer; our door with it is in `test_grpc_door.py`."""

from typing import Any, cast

import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.servicer import InferenceServicer

from serving.errors import UnknownModel
from serving.kserve.repository import ClosedRepository
from serving.kserve.versions import UnversionedServicer
from tests.serving.kserve.toy import Toy, data_plane

INPUT = {"name": "values", "datatype": "UINT8", "shape": [1], "contents": {"uint_contents": [7]}}
ASKED = [
    ("ModelReady", pb.ModelReadyRequest, {"name": "ctscan"}, "version"),
    ("ModelMetadata", pb.ModelMetadataRequest, {"name": "ctscan"}, "version"),
    (
        "ModelInfer",
        pb.ModelInferRequest,
        {"model_name": "ctscan", "inputs": [INPUT]},
        "model_version",
    ),
]


class Context:
    def invocation_metadata(self) -> tuple[()]:
        return ()

    def trailing_metadata(self) -> tuple[()]:
        return ()


async def ask(servicer: type[InferenceServicer], method: str, request: Any) -> Any:
    plane = data_plane(Toy())
    closed = ClosedRepository(plane.model_registry)
    return await getattr(servicer(plane, closed), method)(request, cast(Any, Context()))


@pytest.mark.parametrize(("method", "kind", "asked", "field"), ASKED)
async def test_a_version_is_refused_and_none_is_answered(
    method: str, kind: Any, asked: dict[str, Any], field: str
) -> None:
    assert await ask(UnversionedServicer, method, kind(**asked))
    assert await ask(UnversionedServicer, method, kind(**asked, **{field: ""}))
    with pytest.raises(UnknownModel, match=f"cannot be addressed: leave {field} out"):
        await ask(UnversionedServicer, method, kind(**asked, **{field: "7"}))


@pytest.mark.parametrize(("method", "kind", "asked", "field"), ASKED)
async def test_the_sdks_servicer_answers_for_any_version(
    method: str, kind: Any, asked: dict[str, Any], field: str
) -> None:
    # What `versions` mends; delete it when this fails.
    assert await ask(InferenceServicer, method, kind(**asked, **{field: "7"}))
