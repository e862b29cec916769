"""Decision and reasons: the same through every door, counted, and in the drift log."""

import base64
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.contract.doors import image_request, infer
from tests.contract.services import ROOT, Pair, until
from tests.contract.slices import slice_png
from tests.images import colours, png

Answer = tuple[str, list[str]]
KNOWN = slice_png(0)


def by_rest(pair: Pair, image: bytes) -> Answer:
    with pair.transformer.client() as client:
        said = client.post("/predict", files={"file": image}).json()
    return said["decision"], said["reasons"]


def by_explain(pair: Pair, image: bytes) -> Answer:
    with pair.transformer.client() as client:
        said = client.post("/explain", files={"file": image}).json()
    return said["decision"], said["reasons"]


def by_v1(pair: Pair, image: bytes) -> Answer:
    body = {"instances": [{"b64": base64.b64encode(image).decode()}]}
    with pair.transformer.client() as client:
        (said,) = client.post("/v1/models/ctscan:predict", json=body).json()["predictions"]
    return said["decision"], said["reasons"]


def by_v2_json(pair: Pair, image: bytes) -> Answer:
    data = [base64.b64encode(image).decode()]
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": data}
    with pair.transformer.client() as client:
        said = client.post("/v2/models/ctscan/infer", json={"inputs": [tensor]}).json()
    found = {output["name"]: output["data"][0] for output in said["outputs"]}
    return found["decision"], split(found["reasons"])


def by_v2_binary(pair: Pair, image: bytes) -> Answer:
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([image], dtype=object))
    client = triton.InferenceServerClient(pair.url.removeprefix("http://"))
    answer = client.infer("ctscan", [tensor])
    client.close()
    found = [answer.as_numpy(name)[0].decode() for name in ("decision", "reasons")]
    return found[0], split(found[1])


def by_grpc(pair: Pair, image: bytes) -> Answer:
    with grpc.insecure_channel(pair.transformer.grpc_address) as channel:
        answer: pb.ModelInferResponse = infer(channel, image_request([image]))
    raw = zip(answer.outputs, answer.raw_output_contents, strict=True)
    found = {output.name: data for output, data in raw}
    # One element: its length in four bytes, and then itself.
    decision, reasons = (found[it][4:].decode() for it in ("decision", "reasons"))
    return decision, split(reasons)


def by_command(pair: Pair, image: bytes) -> Answer:
    path = pair.weights.parent / "sent.png"
    path.write_bytes(image)
    call = [sys.executable, "-m", "ctscan", "predict", str(path), "--url", pair.url]
    found = {}
    for output in ("json", "csv"):
        done = subprocess.run(
            [*call, "--output", output], cwd=ROOT, capture_output=True, text=True, check=True
        )
        found[output] = done.stdout
    (row,) = json.loads(found["json"])
    (cells,) = csv.DictReader(found["csv"].splitlines())
    assert cells["reasons"] == ";".join(row["reasons"])
    return row["decision"], row["reasons"]


def split(reasons: str) -> list[str]:
    return reasons.split(",") if reasons else []


DOORS = [by_rest, by_explain, by_v1, by_v2_json, by_v2_binary, by_grpc, by_command]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (KNOWN, ("accept", [])),
        (slice_png(1), ("abstain", ["far_from_training"])),
        (
            png(colours()),
            ("abstain", ["colour", "not_ct_profile", "rendering_mismatch", "far_from_training"]),
        ),
    ],
    ids=["known", "far", "coloured"],
)
def test_every_door_says_whether_to_rely_on_it(
    explaining: Pair, door: Callable[[Pair, bytes], Answer], image: bytes, expected: Answer
) -> None:
    assert door(explaining, image) == expected


def test_weights_without_a_gate_are_reviewed(pair: Pair) -> None:
    decision, reasons = by_rest(pair, KNOWN)
    assert decision == "review"
    assert reasons[-1] == "gate_unavailable"


@pytest.fixture
def client(explaining: Pair) -> Iterator[httpx.Client]:
    with explaining.transformer.client() as opened:
        yield opened


def test_decisions_and_reasons_are_counted(client: httpx.Client) -> None:
    def counted() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        found = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in found}

    names = (
        'ctscan_decisions_total{decision="abstain"}',
        'ctscan_gate_reasons_total{reason="far_from_training"}',
    )
    before = counted()
    client.post("/predict", files={"file": slice_png(1)}).raise_for_status()
    after = counted()
    assert [after[name] - before.get(name, 0) for name in names] == [1, 1]


def test_the_drift_log_has_decision_reasons_and_distance(
    client: httpx.Client, explaining: Pair
) -> None:
    # A height that no other test sends.
    said = client.post("/predict", files={"file": slice_png(3, 82)}).json()

    def rows() -> list[dict[str, Any]]:
        path = Path(explaining.transformer.drift)
        lines = path.read_text().splitlines() if path.exists() else []
        return [row for row in csv.DictReader(lines) if row["height"] == "82"]

    until(rows, "a drift row")
    (row,) = rows()
    assert row["decision"] == said["decision"]
    assert row["reasons"] == ";".join(said["reasons"])
    assert 1e-4 < float(row["distance"]) < 2


def test_the_predictor_offers_its_distance(explaining: Pair, pair: Pair) -> None:
    for running, offered in ((explaining, True), (pair, False)):
        address = running.predictor.http_address
        said = httpx.get(f"http://{address}/v2/models/ctscan").json()
        found = {output["name"]: output for output in said["outputs"]}
        assert ("distance" in found) is offered
        if offered:
            assert (found["distance"]["datatype"], found["distance"]["shape"]) == ("FP32", [-1])
