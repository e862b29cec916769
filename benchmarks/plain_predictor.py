"""The engine behind gRPC and nothing else: what a server in Python could reach at all.

`python -m benchmarks.plain_predictor ADDRESS`, with the environment of a predictor. Nothing is
checked, batched or counted, and there is no KServe.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs

from benchmarks.logits_answer import logits_answer
from benchmarks.scene import Scene
from benchmarks.servers import Server
from predictor.__main__ import load_engine
from predictor.engine import Engine
from serving.kserve.lifecycle import run
from serving.memory import keep_freed_memory
from serving.settings import read_settings

LISTENING_S = 1.0


class Plain(stubs.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated, untyped
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ModelInfer(self, request: pb.ModelInferRequest, context: object) -> object:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._engine.runner, self._answer, request)

    def _answer(self, request: pb.ModelInferRequest) -> object:
        rows = np.frombuffer(request.raw_input_contents[0], np.uint8)
        scores = self._engine.run(list(rows.reshape(request.inputs[0].shape)))
        logits = np.stack([item.logits for item in scores])
        return logits_answer(logits, self._engine.card.version)


@contextmanager
def plain_predictor(scene: Scene) -> Iterator[str]:
    """One that runs the benchmark's weights, by its address."""
    address = f"unix:{scene.folder / 'plain.sock'}"
    server = Server(
        "plain predictor",
        [sys.executable, "-m", "benchmarks.plain_predictor", address],
        scene.environment,
        lambda: listens(address),
        scene.folder / "plain.log",
    )
    with server:
        yield address


def listens(address: str) -> bool:
    """Whether a gRPC server can be reached there."""
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(LISTENING_S)
        except grpc.FutureTimeoutError:
            return False
        return True


async def serve(engine: Engine, address: str) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    stubs.add_GRPCInferenceServiceServicer_to_server(Plain(engine), server)
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    keep_freed_memory()
    warm = load_engine(read_settings(dict(os.environ)))
    warm.warm_up()
    run(lambda: serve(warm, sys.argv[1]))
