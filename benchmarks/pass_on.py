"""A front that only passes on: what two Python servers with HTTP and gRPC between them cost alone.

`python -m benchmarks.pass_on PORT PREDICTOR CARD`: every body is read, a row of the card's size is
sent to the predictor, and its logits are the answer. Nothing is decoded, checked or counted.
"""

import sys
from pathlib import Path

import grpc
import orjson
import uvicorn
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from starlette.types import Receive, Scope, Send

from serving.card import Card, read_card
from serving.phantom import golden_rows
from transformer.client import infer_request


class PassOn:
    """An ASGI application."""

    def __init__(self, predictor: str, card: Card) -> None:
        self._predictor = predictor
        self._call = infer_request(golden_rows(card.input, 1), card)
        self._stub: GRPCInferenceServiceStub | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        # Made here, as a channel belongs to the loop that runs.
        if self._stub is None:
            self._stub = GRPCInferenceServiceStub(grpc.aio.insecure_channel(self._predictor))
        answer = await self._stub.ModelInfer(self._call)
        body = orjson.dumps(list(answer.raw_output_contents[0]))
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    port, predictor, card_path = sys.argv[1:]
    app = PassOn(predictor, read_card(Path(card_path)))
    uvicorn.run(app, port=int(port), loop="uvloop", lifespan="off", log_level="warning")
