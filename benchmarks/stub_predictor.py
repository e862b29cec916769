"""A predictor that answers at once, for what the transformer alone can do.

`python -m benchmarks.stub_predictor CARD HTTP_PORT GRPC_PORT`
"""

import asyncio
import sys
from pathlib import Path

import grpc
import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, Response
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs

from benchmarks.logits_answer import logits_answer
from serving.card import Card, read_card

BYTES = 16 * 1024 * 1024


class Stub(stubs.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated, untyped
    def __init__(self, card: Card) -> None:
        self._card = card

    async def ModelInfer(self, request: pb.ModelInferRequest, context: object) -> object:
        rows = request.inputs[0].shape[0]
        logits = np.zeros((rows, len(self._card.classes)), np.float32)
        return logits_answer(logits, self._card.version)


async def main(card: Card, http_port: int, grpc_port: int) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", BYTES)])
    stubs.add_GRPCInferenceServiceServicer_to_server(Stub(card), server)
    server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await server.start()
    said = orjson.dumps(
        {
            "version": card.version,
            "device": "none",
            "precision": "none",
            "model_loaded": True,
            "ready": True,
            "model_path": "none",
            "config_path": "none",
            "card": card.to_dict(),
        }
    )
    app = FastAPI()

    @app.get("/card")
    async def answer() -> Response:
        return Response(said, media_type="application/json")

    config = uvicorn.Config(app, host="127.0.0.1", port=http_port, log_level="warning")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    card, http_port, grpc_port = sys.argv[1:]
    asyncio.run(main(read_card(Path(card)), int(http_port), int(grpc_port)))
