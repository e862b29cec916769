"""Every row of the API through the ingress; one slice gets the same answer from every door."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from serving.card import CLASSES
from tests.e2e.cluster import PREDICTOR, TRANSFORMER, Cluster
from tests.e2e.ingress import Ingress
from tests.e2e.load import infer_request

HEALTH_SERVICE = """
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
for target in ("ctscan-transformer:8081", "ctscan-predictor-grpc:8081"):
    with grpc.insecure_channel(target) as channel:
        request = health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")
        # The DNS may remember for half a minute that a name had no address yet.
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=90, wait_for_ready=True)
        print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
"""


@pytest.fixture(scope="module")
def expected(ingress: Ingress, png: bytes) -> dict[str, Any]:
    """What `/predict` says of the slice."""
    with ingress.client() as client:
        answer = client.post("/predict", files={"file": png})
    assert answer.status_code == 200
    said: dict[str, Any] = answer.json()
    assert list(said["probabilities"]) == list(CLASSES)
    assert sum(said["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    return said


def assert_same(values: Any, expected: dict[str, Any]) -> None:
    np.testing.assert_allclose(values, list(expected["probabilities"].values()), atol=1e-4)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# The old script's calls


def test_predict_by_curl(ingress: Ingress, tmp_path: Path, png: bytes, expected: Any) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is needed"
    file = tmp_path / "slice.png"
    file.write_bytes(png)
    call = [curl, "-sS", "--fail", "-m", "40", "-H", f"Host: {ingress.host}"]
    call += ["-X", "POST", "-F", f"file=@{file}", f"{ingress.url}/predict"]
    environment = {key: val for key, val in os.environ.items() if "proxy" not in key.lower()}
    done = subprocess.run(call, capture_output=True, check=True, env=environment)
    said = json.loads(done.stdout)
    assert list(said)[:2] == ["pred_index", "pred_class"]
    assert said["pred_class"] == CLASSES[said["pred_index"]] == expected["pred_class"]


def test_health_is_the_predictors_truth(rest: httpx.Client) -> None:
    said = rest.get("/health").json()
    assert list(said)[:5] == ["ok", "device", "model_loaded", "config_path", "model_path"]
    assert said["ok"] is said["model_loaded"] is True
    assert said["device"] in ("cpu", "cuda")
    # An emptyDir, as the overlay has it.
    assert said["feedback_durable"] is False


def test_a_batch_has_a_problem_in_place_of_a_bad_file(
    rest: httpx.Client, png: bytes, expected: Any
) -> None:
    files = [("files", ("a.png", png)), ("files", ("b.png", b"no image"))]
    good, bad = rest.post("/predict/batch", files=files).json()
    assert_same(list(good["probabilities"].values()), expected)
    assert bad["status"] == 400


def test_feedback_is_stored(rest: httpx.Client, png: bytes) -> None:
    form = {"predicted_class": CLASSES[0], "is_correct": "false", "correct_class": CLASSES[3]}
    answer = rest.post("/feedback", files={"file": png}, data=form)
    assert answer.status_code == 200
    assert answer.json()["class"] == CLASSES[3]
    assert answer.json()["saved_to"].startswith(f"feedback/{CLASSES[3]}/image-")


def test_metrics_have_the_old_names_and_count(rest: httpx.Client, expected: Any) -> None:
    text = rest.get("/metrics").text
    for name in ("prediction_error_total", "process_rss_bytes", "http_requests_total"):
        assert f"\n{name}" in text
    assert f'ctscan_predictions_total{{pred_class="{expected["pred_class"]}"}}' in text
    assert "ctscan_feedback_durable 0.0" in text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/openapi.json"])
def test_other_pages_answer(rest: httpx.Client, path: str) -> None:
    assert rest.get(path).status_code == 200


def test_a_bad_file_is_a_problem_object(rest: httpx.Client) -> None:
    answer = rest.post("/predict", files={"file": b"no image"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_file_over_the_limit_is_refused_by_the_service(rest: httpx.Client) -> None:
    answer = rest.post("/predict", files={"file": bytes(17 * 1024 * 1024)})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


# V1


def test_v1(rest: httpx.Client, png: bytes, expected: Any) -> None:
    assert rest.get("/v1/models/ctscan").status_code == 200
    body = {"instances": [{"b64": b64(png)}, {"b64": b64(png)}]}
    said = rest.post("/v1/models/ctscan:predict", json=body).json()["predictions"]
    assert len(said) == 2
    for prediction in said:
        assert_same(list(prediction["probabilities"].values()), expected)


def test_explain_over_rest_and_v1(rest: httpx.Client, png: bytes, expected: Any) -> None:
    by_file = rest.post("/explain", files={"file": png})
    by_v1 = rest.post("/v1/models/ctscan:explain", json={"instances": [{"b64": b64(png)}]})
    # 501: a network without class activation maps.
    assert by_file.status_code == by_v1.status_code
    assert by_file.status_code in (200, 501)
    if by_file.status_code == 200:
        assert by_file.json()["explained_class"] == expected["pred_class"]


# V2


def test_v2_state_over_rest(rest: httpx.Client) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/ctscan/ready"):
        assert rest.get(path).status_code == 200
    assert rest.get("/v2").json()["name"]
    said = rest.get("/v2/models/ctscan").json()
    assert [(it["name"], it["datatype"], it["shape"]) for it in said["inputs"]] == [
        ("image", "BYTES", [-1])
    ]
    assert "probabilities" in [it["name"] for it in said["outputs"]]


def test_v2_json(rest: httpx.Client, png: bytes, expected: Any) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64(png)]}
    said = rest.post("/v2/models/ctscan/infer", json={"inputs": [tensor]}).json()
    outputs = {it["name"]: it for it in said["outputs"]}
    assert outputs["probabilities"]["shape"] == [1, 4]
    assert_same(outputs["probabilities"]["data"], expected)
    assert outputs["pred_class"]["data"] == [expected["pred_class"]]


def test_v2_binary(rest: httpx.Client, png: bytes, expected: Any) -> None:
    data = len(png).to_bytes(4, "little") + png
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    head = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
        }
    ).encode()
    answer = rest.post(
        "/v2/models/ctscan/infer",
        content=head + data,
        headers={
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
        },
    )
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == (
        "probabilities",
        "FP32",
        [1, 4],
    )
    assert_same(np.frombuffer(answer.content[length:], np.float32), expected)


async def test_v2_over_grpc_by_authority(ingress: Ingress, png: bytes, expected: Any) -> None:
    async with ingress.grpc() as stub:
        assert (await stub.ServerLive(pb.ServerLiveRequest(), timeout=20)).live
        assert (await stub.ServerReady(pb.ServerReadyRequest(), timeout=20)).ready
        assert (await stub.ModelReady(pb.ModelReadyRequest(name="ctscan"), timeout=20)).ready
        said = await stub.ModelMetadata(pb.ModelMetadataRequest(name="ctscan"), timeout=20)
        assert [(it.name, it.datatype, list(it.shape)) for it in said.inputs] == [
            ("image", "BYTES", [-1])
        ]
        answer = await stub.ModelInfer(infer_request(png), timeout=40)
    names = [output.name for output in answer.outputs]
    raw = answer.raw_output_contents[names.index("probabilities")]
    assert_same(np.frombuffer(raw, np.float32), expected)
    assert answer.model_version == expected["model"]["version"]


# Who may call what


def test_the_health_service_answers_inside_the_cluster(cluster: Cluster) -> None:
    # KServe's routes lead only inference.GRPCInferenceService to the gRPC port.
    assert cluster.run_in(TRANSFORMER, HEALTH_SERVICE).split() == ["SERVING", "SERVING"]


@pytest.mark.parametrize("path", ["/v2/health/ready", "/card", "/metrics"])
def test_the_predictors_public_host_is_denied(
    cluster: Cluster, ingress: Ingress, path: str
) -> None:
    with ingress.of(cluster.host(PREDICTOR)).client() as client:
        assert client.get(path).status_code == 403


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_the_repository_is_closed(rest: httpx.Client, verb: str) -> None:
    assert rest.post(f"/v2/repository/models/ctscan/{verb}").status_code >= 400
    assert rest.get("/v2/models/ctscan/ready").status_code == 200
