"""Start, serve, drain, stop.

Without this the SDK closes the client to the predictor before the gRPC server has drained (calls
under way hang until their deadline), closes the REST port the moment SIGTERM comes while readiness
still says yes, and drains the two doors one after the other.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from grpc import aio
from starlette.types import ASGIApp

from serving import errors
from serving.openapi import problem_responses
from serving.settings import Shutdown

logger = logging.getLogger(__name__)

# New objects, and collections of the young and of the middle-aged, before the next one of each.
COLLECT_AFTER = (10_000, 10, 10)


@dataclass
class Lifecycle:
    """Whether this process is on its way out; readiness on every door asks it."""

    settings: Shutdown
    draining: bool = False
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Begin to drain; safe to call again."""
        self.draining = True
        self.stopping.set()


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    grpc_server: aio.Server,
    lifecycle: Lifecycle,
    close: Callable[[], Awaitable[None]],
    warm: Awaitable[None] | None = None,
) -> None:
    """Serve both doors until the lifecycle stops, then drain them together and close last.

    The gRPC door opens when `warm` is done, if it is given. A channel that spreads its calls takes
    a pod whose door is open for one that works: it would send a pod that refuses every call, and
    be done with it soon, the most.

    Raises:
        Exception: what a door, or `warm`, failed with.
    """
    rest = _Rest(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan="off",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(lifecycle.settings.grace_s)),
        )
    )
    opening = asyncio.create_task(_open(grpc_server, warm))
    opening.add_done_callback(lambda task: lifecycle.stop() if _failed(task) else None)
    serving = asyncio.create_task(rest.serve(sockets=[listener]))
    stopping = asyncio.create_task(lifecycle.stopping.wait())
    logger.info("serving")
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    lifecycle.stop()
    logger.info("draining")
    await asyncio.sleep(lifecycle.settings.drain_delay_s)
    rest.should_exit = True
    opening.cancel()
    await asyncio.wait({opening}, timeout=lifecycle.settings.grace_s)
    ended = await asyncio.gather(
        serving, grpc_server.stop(lifecycle.settings.grace_s), return_exceptions=True
    )
    await close()
    for failure in (*ended, _failed(opening)):
        if isinstance(failure, BaseException):
            raise failure
    logger.info("stopped")


async def _open(grpc_server: aio.Server, warm: Awaitable[None] | None) -> None:
    if warm is not None:
        await asyncio.shield(warm)
    starting = asyncio.ensure_future(grpc_server.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        # A server that is stopped half way through its start takes the process with it.
        await starting
        raise


def _failed(task: "asyncio.Task[None]") -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


def add_probes(app: FastAPI, ready: Callable[[], Awaitable[bool]]) -> None:
    """`GET /livez` and `/readyz`, for the kubelet."""

    @app.get("/livez", tags=["operation"], summary="This process lives")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(
        "/readyz",
        tags=["operation"],
        summary="This process takes requests",
        responses=problem_responses(errors.Draining),
    )
    async def readyz() -> dict[str, str]:
        if not await ready():
            raise errors.Unavailable("not ready: starting or shutting down")
        return {"status": "ready"}


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a service's main coroutine on uvloop.

    What was imported so far is nothing to the garbage collector from here on. A full collection
    looked at 100,000 to 260,000 modules, classes and functions, and everything stood still for 0.06
    to 0.14 s meanwhile. A service may have done without collections until here.

    Nor is what waits in a full queue: requests leave no circles behind, and looking for some took
    the event loop 0.05 to 0.1 s every few seconds.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    gc.enable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def stop_on_signals(lifecycle: Lifecycle, exit_with_stdin: bool) -> None:
    """SIGINT and SIGTERM drain; so does the end of standard input, where a parent holds it."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lifecycle.stop)
    if exit_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _read_to_end, loop, lifecycle)


def _read_to_end(loop: asyncio.AbstractEventLoop, lifecycle: Lifecycle) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        lifecycle.stop()


class _Rest(uvicorn.Server):
    """A uvicorn server that leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
