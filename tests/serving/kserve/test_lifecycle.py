"""Start, drain and stop, with both doors on Unix sockets."""

import asyncio
import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import uvloop
from fastapi import FastAPI
from grpc import aio
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client import CollectorRegistry

from serving.byte_budget import ByteBudget
from serving.http_door import install_http_door
from serving.kserve.grpc_server import grpc_server
from serving.kserve.lifecycle import Lifecycle, add_probes, run, serve, stop_on_signals
from serving.kserve.repository import ClosedRepository
from serving.kserve.routes import v2_routes
from serving.kserve.statuses import SDK_ERRORS, translate
from serving.listen import bind
from serving.settings import Limits, Shutdown
from tests.serving.kserve.toy import Toy, data_plane

BODY = {"inputs": [{"name": "values", "datatype": "UINT8", "shape": [1], "data": [1]}]}
INFER = pb.ModelInferRequest(
    model_name="ctscan",
    inputs=[{"name": "values", "datatype": "UINT8", "shape": [1]}],
    raw_input_contents=[b"\x01"],
)


class Service:
    """A whole service with a toy model, its clients, and the order in which things happened."""

    def __init__(self, folder: Path, shutdown: Shutdown) -> None:
        self.model = Toy()
        self.lifecycle = Lifecycle(shutdown)
        self.happened: list[str] = []
        self.warm: asyncio.Future[None] | None = None
        self._http = folder / "http.sock"
        self._grpc = f"unix:{folder / 'grpc.sock'}"

    async def serve(self) -> None:
        plane = data_plane(self.model)
        closed = ClosedRepository(plane.model_registry)
        app = FastAPI()
        app.include_router(v2_routes(plane, closed))
        add_probes(app, self.ready)
        limits, registry = Limits(), CollectorRegistry()
        budget = ByteBudget(limits.bodies_bytes, print)
        install_http_door(app, limits, translate, SDK_ERRORS, budget)
        server = grpc_server(self._grpc, plane, closed, plane.ready, limits, registry, budget)
        http = bind(f"unix:{self._http}")
        await serve(app, http, server, self.lifecycle, self.close, self.warm)
        self.happened.append("ended")

    async def ready(self) -> bool:
        return not self.lifecycle.draining

    async def close(self) -> None:
        self.happened.append("closed")

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
        transport = httpx.AsyncHTTPTransport(uds=str(self._http))
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as rest,
            aio.insecure_channel(self._grpc) as channel,
        ):
            stub = GRPCInferenceServiceStub(channel)
            await stub.ServerLive(pb.ServerLiveRequest(), wait_for_ready=True, timeout=30)
            yield rest, stub


async def test_not_ready_then_both_doors_drain_together_and_the_client_is_closed_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay, delay_over, sleep = 3600.0, asyncio.Event(), asyncio.sleep

    async def sleep_or_wait(seconds: float) -> None:
        await (delay_over.wait() if seconds == delay else sleep(seconds))

    monkeypatch.setattr(asyncio, "sleep", sleep_or_wait)
    service = Service(tmp_path, Shutdown(drain_delay_s=delay, grace_s=30.0))
    serving = asyncio.ensure_future(service.serve())
    async with service.clients() as (rest, stub):
        assert (await rest.get("/readyz")).status_code == 200
        service.lifecycle.stop()
        service.lifecycle.stop()

        # Not ready, but whoever still comes is served on both doors.
        assert (await rest.get("/readyz")).status_code == 503
        assert (await rest.get("/livez")).json() == {"status": "alive"}
        assert (await rest.post("/v2/models/ctscan/infer", json=BODY)).status_code == 200
        assert (await stub.ModelInfer(INFER)).model_name == "ctscan"

        service.model.gate.clear()
        for _ in range(2):
            await service.model.entered.acquire()
        over_rest = asyncio.ensure_future(rest.post("/v2/models/ctscan/infer", json=BODY))
        over_grpc = asyncio.ensure_future(stub.ModelInfer(INFER))
        over_rest.add_done_callback(lambda _: service.happened.append("answered"))
        over_grpc.add_done_callback(lambda _: service.happened.append("answered"))
        for _ in range(2):
            await service.model.entered.acquire()
        delay_over.set()
        with suppress(aio.AioRpcError):
            # Until the door takes no more. gRPC may leave a call that meets the end of the door
            # unanswered for the whole grace, after which those under way are ended too.
            while await stub.ServerLive(pb.ServerLiveRequest(), timeout=5):
                pass
        assert service.happened == []

        service.model.gate.set()
        assert (await over_rest).status_code == 200
        assert (await over_grpc).model_name == "ctscan"
        await serving
        assert service.happened == ["answered", "answered", "closed", "ended"]
        with pytest.raises(httpx.ConnectError):
            await rest.get("/livez")


async def test_the_grpc_door_opens_when_the_service_is_warm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path, Shutdown())
    service.warm = asyncio.get_running_loop().create_future()
    kind = type(aio.server())
    start = kind.start

    async def opened(server: aio.Server) -> None:
        service.happened.append("opened")
        await start(server)

    monkeypatch.setattr(kind, "start", opened)
    serving = asyncio.ensure_future(service.serve())
    transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "http.sock"), retries=20)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as rest:
        assert (await rest.get("/livez")).status_code == 200
    service.happened.append("warm")
    service.warm.set_result(None)
    async with service.clients():
        service.lifecycle.stop()
    await serving
    assert service.happened == ["warm", "opened", "closed", "ended"]


async def test_a_service_that_is_stopped_before_it_is_warm_ends(tmp_path: Path) -> None:
    service = Service(tmp_path, Shutdown())
    service.warm = asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(service.serve())
    await asyncio.sleep(0)
    service.lifecycle.stop()
    await asyncio.wait_for(serving, 30)
    assert service.happened == ["closed", "ended"]


async def test_a_service_that_fails_to_get_warm_ends_with_the_reason(tmp_path: Path) -> None:
    service = Service(tmp_path, Shutdown())
    service.warm = asyncio.get_running_loop().create_future()
    service.warm.set_exception(ValueError("no such weights"))
    with pytest.raises(ValueError, match="no such weights") as caught:
        await asyncio.wait_for(service.serve(), 30)
    # Else they hold the gRPC server to the end of the interpreter, where gRPC cannot end it.
    traceback.clear_frames(caught.tb)
    assert service.lifecycle.draining
    assert service.happened == ["closed"]


async def test_a_request_that_outlives_the_grace_is_ended(tmp_path: Path) -> None:
    service = Service(tmp_path, Shutdown(grace_s=0.05))
    serving = asyncio.ensure_future(service.serve())
    async with service.clients() as (_, stub):
        service.model.gate.clear()
        call = asyncio.ensure_future(stub.ModelInfer(INFER))
        await service.model.entered.acquire()
        service.lifecycle.stop()
        with pytest.raises(aio.AioRpcError):
            await call
        await serving
    assert service.model.cancelled.is_set()
    assert service.happened == ["closed", "ended"]


async def test_a_rest_door_that_ends_by_itself_ends_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def give_up(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        sockets[0].close()

    monkeypatch.setattr(uvicorn.Server, "serve", give_up)
    service = Service(tmp_path, Shutdown())
    await service.serve()
    assert service.lifecycle.draining
    assert service.happened == ["closed", "ended"]


async def test_what_was_opened_is_closed_even_where_a_door_fails_to_stop(tmp_path: Path) -> None:
    class Broken:
        async def start(self) -> None: ...

        async def stop(self, grace_s: float) -> None:
            raise RuntimeError("a defect of the server")

    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    lifecycle = Lifecycle(Shutdown())
    lifecycle.stop()
    listener = bind(f"unix:{tmp_path / 'http.sock'}")
    with pytest.raises(RuntimeError):
        await serve(FastAPI(), listener, Broken(), lifecycle, close)
    assert closed.is_set()


async def test_a_door_that_is_opening_is_open_before_it_is_stopped(tmp_path: Path) -> None:
    happened: list[str] = []
    opening, opened = asyncio.Event(), asyncio.Event()

    class Slow:
        async def start(self) -> None:
            opening.set()
            await opened.wait()
            happened.append("started")

        async def stop(self, grace_s: float) -> None:
            happened.append("stopped")

    async def close() -> None: ...

    lifecycle = Lifecycle(Shutdown())
    listener = bind(f"unix:{tmp_path / 'http.sock'}")
    serving = asyncio.ensure_future(serve(FastAPI(), listener, Slow(), lifecycle, close))
    await opening.wait()
    lifecycle.stop()
    for _ in range(10):
        await asyncio.sleep(0)
    opened.set()
    await asyncio.wait_for(serving, 30)
    assert happened == ["started", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_begins_to_drain(number: signal.Signals) -> None:
    lifecycle = Lifecycle(Shutdown())
    stop_on_signals(lifecycle, exit_with_stdin=False)
    try:
        assert not lifecycle.draining
        os.kill(os.getpid(), number)
        await asyncio.wait_for(lifecycle.stopping.wait(), 30)
        assert lifecycle.draining
    finally:
        for handled in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(handled)


async def test_the_end_of_standard_input_begins_to_drain_and_its_content_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as stdin, os.fdopen(write_end, "wb", buffering=0) as parent:
        monkeypatch.setattr(sys, "stdin", stdin)
        lifecycle = Lifecycle(Shutdown())
        stop_on_signals(lifecycle, exit_with_stdin=True)
        try:
            parent.write(b"content")
            while select.select([stdin], [], [], 0)[0]:
                await asyncio.sleep(0)
            assert not lifecycle.draining
            parent.close()
            await asyncio.wait_for(lifecycle.stopping.wait(), 30)
        finally:
            for handled in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().remove_signal_handler(handled)


@pytest.fixture
def thawed() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("thawed")
def test_services_run_on_uvloop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())

    run(main)
    assert isinstance(loops[0], uvloop.Loop)


@pytest.mark.usefixtures("thawed")
def test_what_was_imported_stops_no_request_for_a_collection() -> None:
    kept = [{"imported": True}]
    seen: list[bool] = []

    async def main() -> None:
        seen.append(any(item is kept for item in gc.get_objects()))
        seen.append(gc.isenabled())

    gc.disable()  # as a service does while it is imported
    try:
        run(main)
    finally:
        gc.enable()
    assert seen == [False, True]


@pytest.mark.usefixtures("thawed")
def test_a_full_queue_brings_no_collection() -> None:
    collected: list[int] = []

    def collecting(phase: str, info: dict[str, int]) -> None:
        collected.append(info["generation"])

    async def main() -> None:
        gc.callbacks.append(collecting)
        waiting = [[turn] for turn in range(5_000)]
        gc.callbacks.remove(collecting)
        assert waiting

    run(main)
    assert collected == []
