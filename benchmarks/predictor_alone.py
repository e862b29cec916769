"""The predictor over gRPC against the bare engine, with batches of the same size."""

import time
from collections import deque
from collections.abc import Sequence

import grpc
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from numpy.typing import NDArray

from benchmarks.bare import BATCHES, ms_an_image
from benchmarks.scene import Scene
from serving.card import Card
from transformer.client import infer_request

# Calls under way: one that runs and one that waits, as the transformer has it.
CALLS = 2


def measure_predictor(scene: Scene, seconds: float) -> dict[str, float]:
    """Images/s of both in turns, for each size of a batch; and the worst share of the bare one."""
    figures: dict[str, float] = {}
    shares = []
    with grpc.insecure_channel(scene.service.pair.predictor_grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for rows in BATCHES:
            batch = scene.bare.rows[:rows]
            bare = 1000 / ms_an_image(lambda b=batch: scene.bare.engine.run(b), rows, seconds)[1]  # type: ignore[misc]
            served = served_per_second(stub, batch, scene.bare.engine.card, seconds)
            figures |= {
                f"predictor.{rows}.bare_per_second": bare,
                f"predictor.{rows}.per_second": served,
                f"ratio.predictor_{rows}": served / bare,
            }
            shares.append(served / bare)
    return figures | {"ratio.predictor": min(shares)}


def served_per_second(
    stub: GRPCInferenceServiceStub, rows: Sequence[NDArray[np.uint8]], card: Card, seconds: float
) -> float:
    """Images a second through calls of these rows."""
    call: pb.ModelInferRequest = infer_request(rows, card)
    under_way = deque(stub.ModelInfer.future(call) for _ in range(CALLS))
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
