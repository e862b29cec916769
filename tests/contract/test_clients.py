"""Clients that nobody here wrote, unchanged, against both services.

One slice gets the same class from every door, with the probabilities that follow from the
predictor's logits.
"""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import requests
import tritonclient.http as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from numpy.typing import NDArray

from serving.card import CLASSES
from tests.contract.services import Pair
from tests.contract.slices import probabilities, row_of, shares

TRITON_GRPC = Path(__file__).with_name("triton_grpc_client.py")
CLOSE = 1e-5


@pytest.fixture(scope="module")
def expected(pair: Pair, slices: list[bytes]) -> NDArray[np.float64]:
    """Probabilities of the first two slices, from the predictor's logits."""
    rows = np.stack([row_of(png) for png in slices[:2]])
    body = {
        "inputs": [
            {
                "name": "image",
                "datatype": "UINT8",
                "shape": list(rows.shape),
                "data": rows.ravel().tolist(),
            }
        ]
    }
    address = pair.predictor.http_address
    answer = requests.post(f"http://{address}/v2/models/ctscan/infer", json=body, timeout=30)
    (logits,) = answer.json()["outputs"]
    assert (logits["name"], logits["datatype"], logits["shape"]) == ("logits", "FP32", [2, 4])
    return shares(np.array(logits["data"]).reshape(2, 4))


def assert_answer(answer: dict[str, Any], expected: NDArray[np.float64], row: int = 0) -> None:
    assert answer["pred_index"] == expected[row].argmax()
    assert answer["pred_class"] == CLASSES[answer["pred_index"]]
    assert probabilities(answer) == pytest.approx(expected[row].tolist(), abs=CLOSE)
    assert answer["confidence"] == pytest.approx(expected[row].max(), abs=CLOSE)


def test_the_slices_tell_a_mixed_up_answer(expected: NDArray[np.float64]) -> None:
    assert np.abs(expected[0] - expected[1]).max() > 100 * CLOSE


def test_curl(pair: Pair, slice_file: Path, expected: NDArray[np.float64]) -> None:
    curl = shutil.which("curl")
    assert curl
    call = [curl, "-sS", "--fail", "-F", f"file=@{slice_file}", f"{pair.url}/predict"]
    done = subprocess.run(call, capture_output=True, check=True)
    assert_answer(json.loads(done.stdout), expected)


@pytest.mark.parametrize("expect", [False, True])
def test_requests(
    pair: Pair, slices: list[bytes], expected: NDArray[np.float64], expect: bool
) -> None:
    files = {"file": ("slice.png", slices[0], "image/png")}
    headers = {"Expect": "100-continue"} if expect else {}
    answer = requests.post(f"{pair.url}/predict", files=files, headers=headers, timeout=30)
    answer.raise_for_status()
    assert_answer(answer.json(), expected)


# KServe's own clients


@pytest.mark.parametrize("service", ["predictor", "transformer"])
async def test_kserve_rest_health(pair: Pair, service: str) -> None:
    url = pair.url if service == "transformer" else f"http://{pair.predictor.http_address}"
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    try:
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, "ctscan")
    finally:
        await client.close()


async def test_kserve_rest_v1(
    pair: Pair, slices: list[bytes], expected: NDArray[np.float64]
) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    instances = [{"b64": base64.b64encode(png).decode()} for png in slices[:2]]
    try:
        answer = await client.infer(pair.url, {"instances": instances}, model_name="ctscan")
        assert await client.is_model_ready(pair.url, "ctscan")
    finally:
        await client.close()
    assert list(answer) == ["predictions"]
    for row, prediction in enumerate(answer["predictions"]):
        assert_answer(prediction, expected, row)


@pytest.mark.parametrize("binary", [False, True])
async def test_kserve_rest_v2(
    pair: Pair, slices: list[bytes], expected: NDArray[np.float64], binary: bool
) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    image = InferInput("image", [2], "BYTES")
    if binary:
        image.set_data_from_numpy(np.array(slices[:2], dtype=object), binary_data=True)
    else:
        image = InferInput(
            "image", [2], "BYTES", [base64.b64encode(png).decode() for png in slices[:2]]
        )
    outputs = [
        RequestedOutput(name, {"binary_data": binary}) for name in ("probabilities", "pred_class")
    ]
    request = InferRequest("ctscan", [image], request_id="mine", request_outputs=outputs)
    try:
        answer = await client.infer(pair.url, request, model_name="ctscan")
    finally:
        await client.close()
    assert (answer.id, answer.model_name) == ("mine", "ctscan")
    assert [output.name for output in answer.outputs] == ["probabilities", "pred_class"]
    found, classes = (output.as_numpy() for output in answer.outputs)
    assert found == pytest.approx(expected, abs=CLOSE)
    labels = [label.decode() if isinstance(label, bytes) else label for label in classes]
    assert labels == [CLASSES[index] for index in expected.argmax(1)]


@pytest.mark.parametrize("raw", [False, True])
async def test_kserve_grpc(
    pair: Pair, slices: list[bytes], expected: NDArray[np.float64], raw: bool
) -> None:
    image = InferInput("image", [2], "BYTES", None if raw else slices[:2])
    if raw:
        image.set_data_from_numpy(np.array(slices[:2], dtype=object))
    client = InferenceGRPCClient(pair.transformer.grpc_address)
    try:
        answer = await client.infer(InferRequest("ctscan", [image]))
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("ctscan")
    finally:
        await client.close()
    found = {output.name: output.as_numpy() for output in answer.outputs}
    assert found["probabilities"] == pytest.approx(expected, abs=CLOSE)
    assert found["pred_index"].tolist() == expected.argmax(1).tolist()
    assert found["pred_class"].tolist() == [CLASSES[i].encode() for i in expected.argmax(1)]


@pytest.mark.parametrize("raw", [False, True])
async def test_kserve_grpc_against_the_predictor(
    pair: Pair, slices: list[bytes], expected: NDArray[np.float64], raw: bool
) -> None:
    rows = np.stack([row_of(png) for png in slices[:2]])
    image = InferInput("image", list(rows.shape), "UINT8")
    if raw:
        image.set_data_from_numpy(rows)
    else:
        image.data = rows.ravel().tolist()
    client = InferenceGRPCClient(pair.predictor.grpc_address)
    try:
        answer = await client.infer(InferRequest("ctscan", [image]))
        assert await client.is_model_ready("ctscan")
    finally:
        await client.close()
    (logits,) = answer.outputs
    assert logits.name == "logits"
    assert shares(logits.as_numpy()) == pytest.approx(expected, abs=CLOSE)


# Triton's clients


@pytest.fixture(params=["predictor", "transformer"])
def triton_client(
    pair: Pair, request: pytest.FixtureRequest
) -> Iterator[tuple[str, triton.InferenceServerClient]]:
    addresses = {
        "predictor": pair.predictor.http_address,
        "transformer": pair.url.removeprefix("http://"),
    }
    client = triton.InferenceServerClient(addresses[request.param])
    yield request.param, client
    client.close()


def test_triton_http_health_and_metadata(
    triton_client: tuple[str, triton.InferenceServerClient], pair: Pair
) -> None:
    service, client = triton_client
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("ctscan")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("ctscan")
    assert metadata["name"] == "ctscan"
    if service == "predictor":
        image = {"name": "image", "datatype": "UINT8", "shape": [-1, 64, 64, -1]}
        outputs = {"logits": ("FP32", [-1, 4])}
    else:
        image = {"name": "image", "datatype": "BYTES", "shape": [-1]}
        outputs = {
            "pred_index": ("INT64", [-1]),
            "pred_class": ("BYTES", [-1]),
            "confidence": ("FP32", [-1]),
            "probabilities": ("FP32", [-1, 4]),
            "decision": ("BYTES", [-1]),
            "reasons": ("BYTES", [-1]),
            "prediction_id": ("BYTES", [-1]),
        }
    assert metadata["inputs"] == [image]
    found = {item["name"]: (item["datatype"], item["shape"]) for item in metadata["outputs"]}
    assert found.items() >= outputs.items()


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_triton_http_infer(
    triton_client: tuple[str, triton.InferenceServerClient],
    slices: list[bytes],
    expected: NDArray[np.float64],
    binary_in: bool,
    binary_out: bool,
) -> None:
    service, client = triton_client
    if service == "predictor":
        rows = np.stack([row_of(png) for png in slices[:2]])
        image = triton.InferInput("image", list(rows.shape), "UINT8")
        image.set_data_from_numpy(rows, binary_data=binary_in)
        name = "logits"
    else:
        files = slices[:2] if binary_in else [base64.b64encode(png) for png in slices[:2]]
        image = triton.InferInput("image", [2], "BYTES")
        image.set_data_from_numpy(np.array(files, dtype=object), binary_data=binary_in)
        name = "probabilities"
    wanted = triton.InferRequestedOutput(name, binary_data=binary_out)
    answer = client.infer("ctscan", [image], outputs=[wanted], request_id="mine")
    assert answer.get_response()["id"] == "mine"
    found = answer.as_numpy(name)
    assert found.dtype == np.float32
    assert found.shape == (2, 4)
    assert (shares(found) if service == "predictor" else found) == pytest.approx(
        expected, abs=CLOSE
    )


def test_triton_http_asks_for_all_outputs_in_binary(
    pair: Pair, slices: list[bytes], expected: NDArray[np.float64]
) -> None:
    # Without a list of outputs the client sets `binary_data_output` for the whole request.
    client = triton.InferenceServerClient(pair.url.removeprefix("http://"))
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array(slices[:1], dtype=object))
    answer = client.infer("ctscan", [image])
    client.close()
    outputs = answer.get_response()["outputs"]
    assert all("binary_data_size" in output["parameters"] for output in outputs)
    assert answer.as_numpy("pred_class").tolist() == [CLASSES[expected[0].argmax()].encode()]
    assert answer.as_numpy("pred_index").tolist() == [expected[0].argmax()]


@pytest.mark.parametrize("service", ["predictor", "transformer"])
def test_triton_grpc(
    pair: Pair, slice_file: Path, expected: NDArray[np.float64], service: str, tmp_path: Path
) -> None:
    if service == "transformer":
        call = [pair.transformer.grpc_address, "BYTES", str(slice_file)]
        outputs = ["probabilities", "pred_class"]
    else:
        rows = tmp_path / "rows.npy"
        np.save(rows, row_of(slice_file.read_bytes())[np.newaxis])
        call = [pair.predictor.grpc_address, "UINT8", str(rows)]
        outputs = ["logits"]
    command = [sys.executable, str(TRITON_GRPC), *call, *outputs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert [heard["live"], heard["ready"], heard["model_ready"]] == [True, True, True]
    assert heard["server"]["name"] == "ctscan"
    assert heard["version"] == pair.card.version
    (image,) = heard["metadata"]["inputs"]
    assert (image["name"], image["datatype"]) == ("image", call[1])
    if service == "predictor":
        found = shares(np.array([heard["outputs"]["logits"]]))[0].tolist()
    else:
        found = heard["outputs"]["probabilities"]
        assert heard["outputs"]["pred_class"] == [CLASSES[expected[0].argmax()]]
    assert found == pytest.approx(expected[0].tolist(), abs=CLOSE)


@pytest.mark.parametrize("service", ["predictor", "transformer"])
def test_grpc_health(pair: Pair, service: str) -> None:
    process = pair.predictor if service == "predictor" else pair.transformer
    with grpc.insecure_channel(process.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "ctscan", "inference.GRPCInferenceService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        first = next(iter(health.Watch(health_pb2.HealthCheckRequest(), timeout=10)))
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as failed:
            health.Check(health_pb2.HealthCheckRequest(service="other"), timeout=10)
        assert failed.value.code() == grpc.StatusCode.NOT_FOUND


def test_an_output_that_the_network_lacks_is_refused_by_name(
    pair: Pair, slices: list[bytes]
) -> None:
    rows = row_of(slices[0])[np.newaxis]
    client = triton.InferenceServerClient(pair.predictor.http_address)
    image = triton.InferInput("image", list(rows.shape), "UINT8")
    image.set_data_from_numpy(rows)
    with pytest.raises(
        triton.InferenceServerException, match="custom_cnn has no class activation maps"
    ):
        client.infer("ctscan", [image], outputs=[triton.InferRequestedOutput("cam")])
    client.close()


def test_one_channel_is_exactly_three_alike(pair: Pair, slices: list[bytes]) -> None:
    rows = row_of(slices[0])[np.newaxis]
    found = []
    for given in (rows, rows[..., :1]):
        body = {"name": "image", "datatype": "UINT8", "shape": list(given.shape)}
        answer = httpx.post(
            f"http://{pair.predictor.http_address}/v2/models/ctscan/infer",
            json={"inputs": [{**body, "data": given.ravel().tolist()}]},
        )
        found.append(answer.json()["outputs"][0]["data"])
    assert found[0] == found[1]
