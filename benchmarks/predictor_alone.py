"""The predictor over gRPC against the bare engine, with batches of the same size.

Beside it a gRPC server that has nothing but the engine behind it.
"""

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import grpc
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from numpy.typing import NDArray

from benchmarks.bare import BATCHES
from benchmarks.scene import Scene
from predictor.engine import Engine
from serving.card import Card
from transformer.client import infer_request

TURNS = 5


def measure_predictor(scene: Scene, plain: str, seconds: float) -> dict[str, float]:
    """Images/s of each and the share of the bare one that is served, for each size of a batch.

    In short turns: what slows the machine down falls on all.
    """
    figures: dict[str, float] = {}
    served = scene.service.pair.predictor_grpc
    with grpc.insecure_channel(served) as channel, grpc.insecure_channel(plain) as plain_channel:
        stubs = GRPCInferenceServiceStub(channel), GRPCInferenceServiceStub(plain_channel)
        for rows in BATCHES:
            turns = [_turn(scene, stubs, rows, seconds / TURNS) for _ in range(TURNS)]
            names = ("bare_per_second", "per_second", "plain_per_second")
            for name, found in zip(names, zip(*turns, strict=True), strict=True):
                figures[f"predictor.{rows}.{name}"] = median(found)
            figures |= {
                f"ratio.predictor_{rows}": median(own / bare for bare, own, _ in turns),
                f"ratio.plain_{rows}": median(other / bare for bare, _, other in turns),
            }
    return figures


def _turn(
    scene: Scene, stubs: Sequence[GRPCInferenceServiceStub], rows: int, seconds: float
) -> tuple[float, ...]:
    """Images/s of the bare engine, and after it of each stub."""
    engine, batch = scene.bare.engine, scene.bare.rows[:rows]
    bare = bare_per_second(engine, batch, seconds)
    # As many calls as run, and one that waits.
    calls = engine.in_flight + 1
    return bare, *(served_per_second(it, batch, engine.card, calls, seconds) for it in stubs)


def bare_per_second(engine: Engine, rows: Sequence[NDArray[np.uint8]], seconds: float) -> float:
    """Images a second of as many callers as the engine has batches under way."""
    start = time.perf_counter()

    def caller(_: int) -> int:
        done = 0
        while time.perf_counter() - start < seconds:
            engine.run(rows)
            done += len(rows)
        return done

    with ThreadPoolExecutor(engine.in_flight) as callers:
        done = sum(callers.map(caller, range(engine.in_flight)))
    return done / (time.perf_counter() - start)


def served_per_second(
    stub: GRPCInferenceServiceStub,
    rows: Sequence[NDArray[np.uint8]],
    card: Card,
    calls: int,
    seconds: float,
) -> float:
    """Images a second through so many calls of these rows at a time."""
    call: pb.ModelInferRequest = infer_request(rows, card)
    under_way = deque(stub.ModelInfer.future(call) for _ in range(calls))
    under_way.popleft().result()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        under_way.append(stub.ModelInfer.future(call))
        under_way.popleft().result()
        done += len(rows)
    wall = time.perf_counter() - start
    for left in under_way:
        left.result()
    return done / wall
