"""The golden slice to servers that stand in for the ingress."""

import io
import json
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from PIL import Image

from ctscan.doctor.calls import TRIES, channel, rest, v2_grpc
from ctscan.doctor.case import Case, NotTried, Options
from ctscan.doctor.finding import Outcome
from serving.card import CLASSES
from serving.phantom import phantom
from tests.ctscan.doctor.patient import HOST, case_of, failures, healthy

VALUES = (0.1, 0.2, 0.3, 0.4)
MOST = dict(zip(CLASSES, VALUES, strict=True))
GOOD = json.dumps(
    {"probabilities": MOST, "pred_class": "normal", "model": {"version": "ac4f"}}
).encode()
UNAVAILABLE = json.dumps({"detail": "no predictor", "request_id": "1"}).encode()


class Ingress:
    """Answers with what it was handed, then well; keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        ingress = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                ingress.seen.append((self.path, headers, body))
                good: tuple[int, dict[str, str], bytes] = (200, {}, GOOD)
                status, more, answer = ingress.answers.pop(0) if ingress.answers else good
                self.send_response(status)
                for name, value in {**more, "content-length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    ingress = Ingress()
    thread = threading.Thread(target=ingress.server.serve_forever, args=(0.01,))
    thread.start()
    yield ingress
    ingress.server.shutdown()
    thread.join()
    ingress.server.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were asked to pass; none does."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def case_at(url: str, *headers: tuple[str, str]) -> Case:
    """A case in which everything before the calls went well."""
    case = case_of(healthy(), Options(headers=headers))
    case.host.learn(HOST)
    case.ingress.learn(url)
    return case


def test_a_prediction_over_rest_is_told(ingress: Ingress) -> None:
    case = case_at(ingress.url, ("X-Api-Key", "k"))
    finding = rest(case)
    assert finding.outcome == Outcome.WELL
    assert finding.said.startswith("POST /predict: normal at 40.0% by version ac4f, ")
    assert case.prediction.get() == MOST
    ((path, headers, body),) = ingress.seen
    assert (path, headers["host"], headers["x-api-key"]) == ("/predict", HOST, "k")
    with Image.open(io.BytesIO(body[body.index(b"\x89PNG") :])) as sent:
        np.testing.assert_array_equal(np.asarray(sent), phantom(0))


def test_a_service_that_asks_for_patience_gets_some(ingress: Ingress, waits: list[float]) -> None:
    ingress.answers = [(503, {"retry-after": "2"}, UNAVAILABLE)]
    assert rest(case_at(ingress.url)).outcome == Outcome.WELL
    assert waits == [2.0]


def test_patience_ends(ingress: Ingress, waits: list[float]) -> None:
    ingress.answers = [(503, {"retry-after": "999"}, UNAVAILABLE)] * 9
    case = case_at(ingress.url)
    assert failures(rest(case)) == ["the transformer answers 503: no predictor"]
    assert waits == [5.0] * (TRIES - 1)
    assert not case.prediction.known


def test_an_answer_that_is_no_prediction_is_a_fault(ingress: Ingress) -> None:
    ingress.answers = [(200, {}, b"<html>")]
    (what,) = failures(rest(case_at(ingress.url)))
    assert "is another service at this host?" in what


def test_no_answer_at_all(ingress: Ingress) -> None:
    ingress.server.server_close()
    (what,) = failures(rest(case_at(ingress.url)))
    assert what == f"{ingress.url} gives no answer (ConnectError)"


@pytest.mark.parametrize("call", [rest, v2_grpc])
def test_nothing_is_sent_where_no_transformer_is_ready(call: Any, ingress: Ingress) -> None:
    case = case_at(ingress.url)
    case.pods.learn({"transformer": []})
    with pytest.raises(NotTried, match="no transformer pod is ready"):
        call(case)
    assert ingress.seen == []


class Grpc(GRPCInferenceServiceServicer):  # type: ignore[misc]  # the SDK is untyped
    """A V2 service that gives the answer it was handed."""

    def __init__(self) -> None:
        self.values: tuple[float, ...] = VALUES
        self.typed = False
        self.code: grpc.StatusCode | None = None
        self.request: Any = None
        self.metadata: dict[str, str] = {}

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self.request = request
        self.metadata = dict(context.invocation_metadata())
        if self.code is not None:
            context.abort(self.code, "some detail")
        output = pb.ModelInferResponse.InferOutputTensor(name="probabilities", datatype="FP32")
        if self.typed:
            output.contents.fp32_contents.extend(self.values)
            return pb.ModelInferResponse(outputs=[output])
        raw = struct.pack(f"<{len(self.values)}f", *self.values)
        return pb.ModelInferResponse(outputs=[output], raw_output_contents=[raw])


@pytest.fixture
def service() -> Iterator[tuple[Grpc, str]]:
    service = Grpc()
    server = grpc.server(ThreadPoolExecutor(1))
    add_GRPCInferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"http://127.0.0.1:{port}"
    server.stop(0).wait()


def proven(url: str) -> Case:
    """A case in which REST went well too."""
    case = case_at(url, ("X-Api-Key", "k"))
    case.prediction.learn(MOST)
    return case


@pytest.mark.parametrize("typed", [False, True])
def test_the_same_answer_over_grpc(service: tuple[Grpc, str], typed: bool) -> None:
    server, url = service
    server.typed = typed
    finding = v2_grpc(proven(url))
    assert (finding.outcome, finding.said) == (
        Outcome.WELL,
        "ModelInfer: the same answer as over REST",
    )
    (content,) = server.request.raw_input_contents
    assert len(content) == 4 + int.from_bytes(content[:4], "little")
    assert content[4:].startswith(b"\x89PNG")
    assert server.metadata["x-api-key"] == "k"


def test_another_answer_than_over_rest_is_a_fault(service: tuple[Grpc, str]) -> None:
    server, url = service
    server.values = (0.4, 0.3, 0.2, 0.1)
    (what,) = failures(v2_grpc(proven(url)))
    assert what.startswith("REST and gRPC differ by 0.300")


@pytest.mark.parametrize("values", [(), (0.5, 0.5), (0.3, 0.3, 0.3, 0.3)])
def test_an_answer_that_is_none(service: tuple[Grpc, str], values: tuple[float, ...]) -> None:
    server, url = service
    server.values = values
    (what,) = failures(v2_grpc(proven(url)))
    assert what.startswith("an answer came, but its ")


def test_an_answer_with_nothing_to_hold_it_to_is_a_note(service: tuple[Grpc, str]) -> None:
    assert v2_grpc(case_at(service[1])).outcome == Outcome.NOTE


@pytest.mark.parametrize(
    ("code", "outcome", "todo"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, Outcome.FAILED, "no route leads gRPC"),
        (grpc.StatusCode.UNAVAILABLE, Outcome.FAILED, "cannot reach"),
        (grpc.StatusCode.INTERNAL, Outcome.FAILED, "log"),
        (grpc.StatusCode.UNAUTHENTICATED, Outcome.UNKNOWN, "--header"),
        (grpc.StatusCode.PERMISSION_DENIED, Outcome.UNKNOWN, "--header"),
    ],
)
def test_a_failed_call(
    service: tuple[Grpc, str], code: grpc.StatusCode, outcome: Outcome, todo: str
) -> None:
    server, url = service
    server.code = code
    (remark,) = v2_grpc(proven(url)).remarks
    assert remark.outcome == outcome
    assert code.name in remark.what
    assert todo in remark.todo


@pytest.mark.parametrize("url", ["https://ingress.test", "http://[::1]:8080"])
def test_a_channel_to_any_address(url: str) -> None:
    channel(url, HOST).close()
