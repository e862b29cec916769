"""A predictor that does as it is told: held, of another version, or absent. Logits are the mean
grey values of an image's four quarters, so that each image has its own."""

import json
import threading
from concurrent import futures
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from numpy.typing import NDArray

from serving.card import Card, InputSpec

CARD = Card("resnet18", InputSpec(64, 64), weights_sha256="0" * 64)


def quarters(rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits [N, 4] of rows [N, H, W, C]."""
    grey = rows[..., 0].astype(np.float32) / 32
    half = grey.shape[1] // 2
    parts = (grey[:, :half, :half], grey[:, :half, half:], grey[:, half:, :half])
    return np.stack([part.mean((1, 2)) for part in (*parts, grey[:, half:, half:])], axis=1)


class FakePredictor(GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated, untyped
    """Answers wait for `gate` to be open; `version` is what they say instead of the card's.

    With a gate in its card it offers distances too. `calls` counts the batches that came.
    """

    def __init__(self) -> None:
        self.card = self.original = CARD
        self.gate = threading.Event()
        self.gate.set()
        self.version: str | None = None
        self.ready = True
        self.calls = 0
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        add_GRPCInferenceServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.grpc_address = f"127.0.0.1:{port}"
        fake = self

        class Card(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(fake.said()).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Card)
        self._http.daemon_threads = True
        self.http_address = f"127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever)

    def __enter__(self) -> "FakePredictor":
        self._server.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def said(self) -> dict[str, Any]:
        return {
            "version": self.card.version,
            "device": "cpu",
            "precision": "fp32",
            "model_loaded": True,
            "ready": self.ready,
            "model_path": "models/model.pt",
            "config_path": "configs/config.yaml",
            "card": self.card.to_dict(),
        }

    def be(self, **changes: Any) -> None:
        """Serve a card with these changes from now on."""
        self.card = replace(self.card, **changes)

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self.calls += 1
        self.gate.wait()
        if request.parameters["input_digest"].string_param != self.card.input.digest:
            self._refuse(context)
        (tensor,) = request.inputs
        rows = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(tensor.shape)
        logits = quarters(rows)
        tensors = {"logits": logits}
        if self.card.gate is not None:
            tensors["distance"] = logits[:, 0] / np.float32(8)
        known = request.parameters["card_version"].string_param == self.card.version
        card = json.dumps(self.card.to_wire())
        names = [output.name for output in request.outputs]
        if not {*names} <= {*tensors}:
            self._refuse(context)
        return pb.ModelInferResponse(
            model_name="ctscan",
            model_version=self.version or self.card.version,
            outputs=[
                {"name": name, "datatype": "FP32", "shape": list(tensors[name].shape)}
                for name in names
            ],
            raw_output_contents=[tensors[name].tobytes() for name in names],
            parameters={} if known else {"card": pb.InferParameter(string_param=card)},
        )

    def _refuse(self, context: Any) -> None:
        context.set_trailing_metadata(
            (
                ("ctscan-error", "StaleCard"),
                ("ctscan-card-bin", json.dumps(self.card.to_wire()).encode()),
            )
        )
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "other weights")
