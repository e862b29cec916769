"""Calls through the doors, and what every error must look like there."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from serving.errors import InvalidImage, ServiceError, UnsuitableImage
from serving.tensors import join_bytes

# The contract's table for what an image can be guilty of.
IMAGE_ERRORS: dict[type[ServiceError], tuple[int, grpc.StatusCode]] = {
    InvalidImage: (400, grpc.StatusCode.INVALID_ARGUMENT),
    UnsuitableImage: (422, grpc.StatusCode.INVALID_ARGUMENT),
}


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body, if it is a whole problem object of this status."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body.get("status")) == (status, status), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"].startswith("urn:ctscan:error:")
    assert body["title"]
    assert isinstance(body["detail"], str)
    assert body["detail"] == body["error"] != ""
    assert body["request_id"] == answer.headers["x-request-id"] != ""
    return body


def image_request(images: Sequence[bytes], **fields: Any) -> Any:
    """A V2 gRPC request for image files, raw."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(images)]}
    given = {
        "model_name": "ctscan",
        "inputs": [tensor],
        "raw_input_contents": [join_bytes(images)],
        **fields,
    }
    return pb.ModelInferRequest(**given)


def infer(channel: grpc.Channel, request: Any, timeout: float = 30.0) -> Any:
    """The answer to a V2 gRPC request."""
    return GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=timeout)


def refusal(channel: grpc.Channel, request: Any, timeout: float = 30.0) -> "grpc.Call":
    """The error that a V2 gRPC request must meet; its trailers name class and request."""
    with pytest.raises(grpc.RpcError) as failed:
        infer(channel, request, timeout)
    assert failed.value.details()
    return failed.value


def trailers(error: "grpc.Call") -> Mapping[str, str]:
    return dict(error.trailing_metadata() or ())
