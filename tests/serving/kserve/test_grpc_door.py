"""The gRPC door around the SDK's servicer, over a Unix socket."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kserve.errors import ModelNotReady
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    GRPCInferenceServiceStub,
    add_GRPCInferenceServiceServicer_to_server,
)
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from prometheus_client import CollectorRegistry

from serving import errors
from serving.byte_budget import ByteBudget
from serving.doors import DOORS
from serving.errors import ServiceError
from serving.kserve.grpc_server import grpc_server
from serving.kserve.repository import ClosedRepository
from serving.settings import Limits
from tests.circles import circles
from tests.serving.kserve.toy import Toy, data_plane

SECRET = "Jane Doe"
INFER = pb.ModelInferRequest(
    model_name="ctscan",
    inputs=[{"name": "values", "datatype": "UINT8", "shape": [3]}],
    raw_input_contents=[b"\x01\x02\x03"],
)


@pytest.fixture
async def model() -> Toy:
    return Toy()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def shed() -> list[str]:
    """The reasons of refusals."""
    return []


@pytest.fixture
def budget(shed: list[str]) -> ByteBudget:
    return ByteBudget(200_000, shed.append)


@pytest.fixture
async def channel(
    model: Toy, tmp_path: Path, registry: CollectorRegistry, budget: ByteBudget
) -> AsyncIterator[aio.Channel]:
    plane = data_plane(model)
    address = f"unix:{tmp_path / 'grpc.sock'}"
    limits = Limits(request_timeout_s=20.0)
    server = grpc_server(
        address,
        plane,
        ClosedRepository(plane.model_registry),
        plane.ready,
        limits,
        registry,
        budget,
    )
    await server.start()
    async with aio.insecure_channel(address) as channel:
        yield channel
    await server.stop(None)


@pytest.fixture
async def stub(channel: aio.Channel) -> Any:
    return GRPCInferenceServiceStub(channel)


async def refused(call: Any) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    """Status, detail and trailers of a call that fails."""
    with pytest.raises(aio.AioRpcError) as failed:
        await call
    error = failed.value
    return error.code(), str(error.details()), dict(error.trailing_metadata() or ())


async def test_messages_beyond_the_budget_are_refused_and_those_answered_are_let_go(
    stub: Any, budget: ByteBudget, shed: list[str]
) -> None:
    for _ in range(3):
        await stub.ModelInfer(sized(150_000))
    budget.take(100_000)
    code, detail, trailers = await refused(stub.ModelInfer(sized(150_000)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "at most 200000" in detail
    assert (trailers["ctscan-error"], trailers["retry-after"]) == ("Overloaded", "1")
    assert (budget.held, shed) == (100_000, ["bytes"])
    await stub.ModelInfer(sized(50_000))
    assert budget.held == 100_000


async def test_a_failed_call_gives_its_bytes_back(
    stub: Any, model: Toy, budget: ByteBudget
) -> None:
    model.fail = lambda: errors.InvalidTensor("wrong")
    await refused(stub.ModelInfer(INFER))
    assert budget.held == 0


async def test_a_refused_message_is_gone_with_its_call(
    stub: Any, model: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def predict(payload: Any, headers: dict[str, str] | None = None) -> Any:
        error = errors.InvalidTensor("under a name")
        raise error

    monkeypatch.setattr(model, "predict", predict)
    with circles() as found:
        for _ in range(3):
            await refused(stub.ModelInfer(INFER))
    assert not any(isinstance(it, pb.ModelInferRequest) for it in found)


def sized(size: int) -> Any:
    return pb.ModelInferRequest(
        model_name="ctscan",
        inputs=[{"name": "values", "datatype": "UINT8", "shape": [size]}],
        raw_input_contents=[bytes(size)],
    )


async def test_a_tensor_comes_back(stub: Any) -> None:
    answer = await stub.ModelInfer(INFER)
    assert answer.raw_output_contents[0] == b"\x01\x02\x03"
    assert (answer.model_name, answer.model_version) == ("ctscan", "v1")


async def test_typed_contents_are_as_good_as_raw_ones(stub: Any) -> None:
    typed = pb.ModelInferRequest(
        model_name="ctscan",
        inputs=[
            {
                "name": "values",
                "datatype": "UINT8",
                "shape": [2],
                "contents": {"uint_contents": [7, 255]},
            }
        ],
        outputs=[{"name": "values"}],
    )
    assert (await stub.ModelInfer(typed)).raw_output_contents == [b"\x07\xff"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_request_id_is_kept_and_comes_back_as_a_trailer(
    stub: Any, model: Toy, fails: bool
) -> None:
    if fails:
        model.fail = lambda: errors.Overloaded("full")
    call = stub.ModelInfer(INFER, metadata=(("x-request-id", "study-7"),))
    await asyncio.wait([asyncio.ensure_future(call.code())])
    assert dict(await call.trailing_metadata())["x-request-id"] == "study-7"
    assert model.requests[0].id == "study-7"


async def test_a_request_without_an_id_gets_one(stub: Any, model: Toy) -> None:
    call = stub.ModelInfer(INFER)
    await call
    assert dict(await call.trailing_metadata())["x-request-id"] == model.requests[0].id != ""


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 20.0), (8.0, 8.0), (500.0, 500.0)])
async def test_the_deadline_is_that_of_the_call_or_of_the_limits(
    stub: Any, model: Toy, timeout: float | None, seconds: float
) -> None:
    began = asyncio.get_running_loop().time()
    await stub.ModelInfer(INFER, timeout=timeout)
    assert seconds - 3 < model.requests[0].deadline - began < seconds + 3


@pytest.mark.parametrize("kind", DOORS)
async def test_each_error_has_its_code_and_travels_by_name(
    stub: Any, model: Toy, kind: type[ServiceError]
) -> None:
    model.fail = lambda: kind("what was wrong")
    code, detail, trailers = await refused(stub.ModelInfer(INFER))
    assert (code, detail) == (DOORS[kind].code, "what was wrong")
    assert trailers["ctscan-error"] == kind.__name__
    assert ("retry-after" in trailers) == (kind("x").retry_after_s is not None)


async def test_a_stale_card_brings_the_current_one(stub: Any, model: Toy) -> None:
    def stale() -> errors.StaleCard:
        error = errors.StaleCard("other weights")
        error.card = {"architecture": "résumé", "mean": [0.5]}
        return error

    model.fail = stale
    code, _, trailers = await refused(stub.ModelInfer(INFER))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert orjson.loads(trailers["ctscan-card-bin"]) == {"architecture": "résumé", "mean": [0.5]}


async def test_an_unexpected_exception_is_internal_without_its_text(
    stub: Any, model: Toy, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    model.fail = lambda: ValueError(SECRET)
    with caplog.at_level(logging.INFO):
        code, detail, trailers = await refused(stub.ModelInfer(INFER))
    assert code is grpc.StatusCode.INTERNAL
    assert SECRET not in detail
    assert trailers["ctscan-error"] == "InternalError"
    assert "unexpected ValueError" in [record.getMessage() for record in caplog.records]
    assert SECRET not in caplog.text
    assert SECRET not in capfd.readouterr().err


async def test_a_model_that_is_not_ready_is_unavailable_here_and_unknown_with_the_sdk(
    stub: Any, model: Toy, tmp_path: Path
) -> None:
    # What `statuses` mends; delete it when the second half fails.
    model.fail = lambda: ModelNotReady("ctscan")
    assert (await refused(stub.ModelInfer(INFER)))[0] is grpc.StatusCode.UNAVAILABLE

    plane = data_plane(model)
    server = aio.server(interceptors=(ExceptionToStatusInterceptor(),))
    add_GRPCInferenceServiceServicer_to_server(
        InferenceServicer(plane, ClosedRepository(plane.model_registry)), server
    )
    address = f"unix:{tmp_path / 'sdk.sock'}"
    server.add_insecure_port(address)
    await server.start()
    try:
        async with aio.insecure_channel(address) as channel:
            call = GRPCInferenceServiceStub(channel).ModelInfer(INFER)
            assert (await refused(call))[0] is grpc.StatusCode.UNKNOWN
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("ModelInfer", pb.ModelInferRequest(model_name="other"), grpc.StatusCode.NOT_FOUND),
        ("ModelReady", pb.ModelReadyRequest(name="other"), grpc.StatusCode.NOT_FOUND),
        ("ModelMetadata", pb.ModelMetadataRequest(name="other"), grpc.StatusCode.NOT_FOUND),
        (
            "ModelReady",
            pb.ModelReadyRequest(name="ctscan", version="7"),
            grpc.StatusCode.NOT_FOUND,
        ),
        (
            "RepositoryModelLoad",
            pb.RepositoryModelLoadRequest(model_name="ctscan"),
            grpc.StatusCode.PERMISSION_DENIED,
        ),
        (
            "RepositoryModelUnload",
            pb.RepositoryModelUnloadRequest(model_name="ctscan"),
            grpc.StatusCode.PERMISSION_DENIED,
        ),
        (
            "ModelInfer",
            pb.ModelInferRequest(model_name="ctscan", raw_input_contents=[b"", b""]),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            "ModelInfer",
            pb.ModelInferRequest(
                model_name="ctscan", inputs=[{"name": "values", "datatype": "UINT7", "shape": [1]}]
            ),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            "ModelInfer",
            pb.ModelInferRequest(
                model_name="ctscan",
                inputs=[{"name": "values" * 9000, "datatype": "UINT8", "shape": [1]}],
            ),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
async def test_a_wrong_call_is_refused_by_the_right_code(
    stub: Any, method: str, request_: Any, code: grpc.StatusCode
) -> None:
    assert (await refused(getattr(stub, method)(request_)))[0] is code
    assert (await stub.ModelInfer(INFER)).model_name == "ctscan"


@pytest.mark.parametrize("serving", [True, False])
async def test_readiness_on_this_door_is_the_models_too(
    stub: Any, model: Toy, serving: bool
) -> None:
    model.serving = serving
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live is True
    assert (await stub.ServerReady(pb.ServerReadyRequest())).ready is serving
    assert (await stub.ModelReady(pb.ModelReadyRequest(name="ctscan"))).ready is serving


async def test_metadata_on_this_door_is_complete(stub: Any) -> None:
    server = await stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (server.name, list(server.extensions)) == ("ctscan", ["binary_tensor_data"])
    metadata = await stub.ModelMetadata(pb.ModelMetadataRequest(name="ctscan"))
    assert [(item.name, item.datatype, list(item.shape)) for item in metadata.inputs] == [
        ("values", "UINT8", [-1])
    ]
    assert [item.name for item in metadata.outputs] == ["values", "names"]


@pytest.mark.parametrize("ended_by", ["cancel", "deadline"])
async def test_a_client_that_leaves_ends_its_work_and_is_no_error(
    stub: Any, model: Toy, caplog: pytest.LogCaptureFixture, ended_by: str
) -> None:
    model.gate.clear()
    with caplog.at_level(logging.INFO):
        call = stub.ModelInfer(INFER, timeout=2.0 if ended_by == "deadline" else None)
        await asyncio.wait_for(model.entered.acquire(), 30)
        if ended_by == "cancel":
            call.cancel()
        await asyncio.wait_for(model.cancelled.wait(), 30)
        model.gate.set()
        assert (await stub.ModelInfer(INFER)).model_name == "ctscan"
    assert call.done()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_refused_call_is_logged_by_method_and_class_alone(
    stub: Any, model: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    model.fail = lambda: errors.InvalidImage(f"{SECRET} is no image")
    with caplog.at_level(logging.INFO):
        await refused(stub.ModelInfer(INFER))
    (record,) = [item for item in caplog.records if item.name.startswith("serving")]
    assert record.__dict__["method"] == "/inference.GRPCInferenceService/ModelInfer"
    assert record.__dict__["error"] == "InvalidImage"
    assert SECRET not in str(record.__dict__)


async def test_what_the_metrics_count_as_shed_is_logged_at_debug_alone(
    stub: Any, model: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    model.fail = lambda: errors.Overloaded("full")
    for level, logged in ((logging.INFO, []), (logging.DEBUG, ["Overloaded"])):
        with caplog.at_level(level, "serving"):
            await refused(stub.ModelInfer(INFER))
        assert [record.__dict__["error"] for record in caplog.records] == logged


def counted(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Requests by method and code."""
    return {
        (sample.labels["method"], sample.labels["code"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "ctscan_grpc_requests_total"
    }


async def test_calls_are_counted_and_timed_by_method_and_code(
    stub: Any, channel: aio.Channel, model: Toy, registry: CollectorRegistry
) -> None:
    await stub.ModelInfer(INFER)
    await stub.ServerLive(pb.ServerLiveRequest())
    model.fail = lambda: errors.Overloaded("full")
    await refused(stub.ModelInfer(INFER))
    # The health service refuses by itself, past the table of errors.
    check = health_pb2_grpc.HealthStub(channel).Check
    await refused(check(health_pb2.HealthCheckRequest(service="other")))
    assert counted(registry) == {
        ("ModelInfer", "OK"): 1,
        ("ServerLive", "OK"): 1,
        ("ModelInfer", "RESOURCE_EXHAUSTED"): 1,
        ("Check", "NOT_FOUND"): 1,
    }
    timed = "ctscan_grpc_request_duration_seconds_count"
    assert registry.get_sample_value(timed, {"method": "ModelInfer"}) == 2


async def test_a_call_whose_client_left_is_counted_as_cancelled(
    stub: Any, model: Toy, registry: CollectorRegistry
) -> None:
    model.gate.clear()
    call = stub.ModelInfer(INFER)
    await asyncio.wait_for(model.entered.acquire(), 30)
    call.cancel()
    await asyncio.wait_for(model.cancelled.wait(), 30)
    while not counted(registry):
        await asyncio.sleep(0)
    assert counted(registry) == {("ModelInfer", "CANCELLED"): 1}
