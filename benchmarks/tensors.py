"""The predictor over gRPC against the bare engine and a bare echo of the same bytes, in turns.

`benchmarks/serve_gpu.sh` starts the predictor and calls this. Clients are processes of their own,
and each sends its next call when it has its answer.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
from numpy.typing import NDArray

from ctscan.pair import THREADS_SLEEP
from ctscan.predict import free_address
from serving.phantom import golden_rows
from transformer.client import infer_request

if TYPE_CHECKING:
    from predictor.engine import Engine

INFER = "/inference.GRPCInferenceService/ModelInfer"
ECHO = "/echo/Echo"
LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def main() -> None:
    """Measure, print a line for each number of clients, and write JSON where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="gRPC address of a predictor that is ready")
    parser.add_argument("--clients", default="1,4,8", help="client processes, by commas")
    parser.add_argument("--rows", default="1,8,32", help="rows in a call, by commas")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    sizes = [int(rows) for rows in asked.rows.split(",")]
    figures = []
    engine = bare_engine()
    given = {rows: golden_rows(engine.card.input, rows) for rows in sizes}
    echo = free_address()
    spawn = multiprocessing.get_context("spawn")
    server = spawn.Process(target=serve_echo, args=(echo,), daemon=True)
    server.start()
    for clients in [int(number) for number in asked.clients.split(",")]:
        with ProcessPoolExecutor(clients, spawn) as pool:
            for rows in sizes:
                payload = infer_request(given[rows], engine.card).SerializeToString()
                calls = (payload, rows, asked.seconds)
                served = partial(drive, pool, clients, asked.address, INFER, *calls)
                echoed = partial(drive, pool, clients, echo, ECHO, *calls)
                bare = partial(run_for, engine, given[rows], asked.seconds)
                served(), echoed()
                figures.append(
                    {"clients": clients, "rows": rows}
                    | in_turns(served, echoed, bare, asked.rounds)
                )
                print(line(figures[-1]), flush=True)
    server.terminate()
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def in_turns(
    served: Callable[[], float], echoed: Callable[[], float], bare: Callable[[], float], rounds: int
) -> dict[str, float]:
    """Medians of rows a second, and the median share that the service reached in each round."""
    turns = [(served(), bare(), echoed()) for _ in range(rounds)]
    per_second = [statistics.median(column) for column in zip(*turns, strict=True)]
    share = statistics.median(served / min(bare, echoed) for served, bare, echoed in turns)
    return dict(zip(("served", "bare", "echo"), per_second, strict=True)) | {"share": share}


def line(figures: dict[str, float]) -> str:
    return (
        f"{figures['clients']} clients, {figures['rows']} rows a call: served "
        f"{figures['served']:.0f} rows/s, bare {figures['bare']:.0f}, echo {figures['echo']:.0f}, "
        f"share {figures['share']:.2f}"
    )


def bare_engine() -> "Engine":
    """The fastest engine of the weights and the card that the environment names."""
    # OpenMP reads its environment when torch is loaded: only from here on, as the services have it.
    os.environ.update(THREADS_SLEEP)
    from predictor.__main__ import load_engine
    from serving.memory import keep_freed_memory
    from serving.settings import read_settings

    keep_freed_memory()
    engine = load_engine(read_settings(dict(os.environ)))
    engine.warm_up()
    print(f"bare engine: {engine.way.name} on {engine.device.type}", flush=True)
    return engine


def run_for(engine: "Engine", rows: Sequence[NDArray[np.uint8]], seconds: float) -> float:
    """Rows a second of the engine, with copies to the device and back."""
    engine.run(rows)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        engine.run(rows)
        done += len(rows)
    return done / (time.perf_counter() - start)


def drive(
    pool: ProcessPoolExecutor,
    clients: int,
    address: str,
    method: str,
    payload: bytes,
    rows: int,
    seconds: float,
) -> float:
    """Rows a second that all clients together get answered."""
    calls = pool.map(partial(call_for, address, method, payload, rows, seconds), range(clients))
    return sum(calls)


def call_for(
    address: str, method: str, payload: bytes, rows: int, seconds: float, client: int
) -> float:
    """Rows a second of one client. Runs in a process of its own."""
    with grpc.insecure_channel(address, options=LIMITS) as channel:
        call = channel.unary_unary(method)
        call(payload, timeout=60)
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            call(payload, timeout=60)
            done += rows
        return done / (time.perf_counter() - start)


def serve_echo(address: str) -> None:
    """Answer every call with the bytes it brought, until the process is ended."""

    async def echo(payload: bytes, context: object) -> bytes:
        return payload

    async def serve() -> None:
        server = grpc.aio.server(options=LIMITS)
        handler = grpc.unary_unary_rpc_method_handler(echo)
        service, method = ECHO.strip("/").split("/")
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        server.add_insecure_port(address)
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
