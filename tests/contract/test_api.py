"""Every row of the API's table, against both services."""

import base64
import csv
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.card import CLASSES
from serving.cpus import NICER
from tests.contract.services import Pair, Predictor, Transformer, until, write_config
from tests.contract.slices import slice_png
from tests.images import uniform_png

PREDICTION = [
    *("pred_index", "pred_class", "confidence", "probabilities"),
    *("decision", "reasons", "prediction_id", "model"),
]
HEALTH = ["ok", "device", "model_loaded", "config_path", "model_path"]


def test_health_tells_the_predictors_truth(pair: Pair, rest: httpx.Client) -> None:
    answer = rest.get("/health")
    said = answer.json()
    assert answer.status_code == 200
    assert list(said)[: len(HEALTH)] == HEALTH
    assert said["ok"] is True
    assert said["device"] in ("cpu", "cuda")
    assert said["model_loaded"] is True
    assert said["config_path"] == pair.transformer.environment["CONFIG_PATH"]
    assert said["model_path"] == str(pair.weights)


@pytest.mark.parametrize(("given", "durable"), [("pair", True), ("unloaded", False)])
def test_health_and_a_metric_say_whether_feedback_is_lost_with_the_container(
    request: pytest.FixtureRequest, given: str, durable: bool
) -> None:
    service = request.getfixturevalue(given)
    transformer = service.transformer if isinstance(service, Pair) else service
    with transformer.client() as client:
        assert client.get("/health").json()["feedback_durable"] is durable
        assert f"ctscan_feedback_durable {durable:.1f}\n" in client.get("/metrics").text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/metrics", "/docs"])
def test_what_a_kubelet_or_a_person_asks_is_there(rest: httpx.Client, path: str) -> None:
    assert rest.get(path).status_code == 200


def test_predict_answers_with_every_field(
    pair: Pair, rest: httpx.Client, slices: list[bytes]
) -> None:
    answer = rest.post("/predict", files={"file": slices[0]}, headers={"X-Request-ID": "mine-1"})
    said = answer.json()
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "mine-1"
    assert list(said)[: len(PREDICTION)] == PREDICTION
    assert said["pred_class"] == CLASSES[said["pred_index"]]
    assert said["model"] == {"name": "ctscan", "version": pair.card.version}


def test_every_answer_has_its_own_prediction_id(rest: httpx.Client, slices: list[bytes]) -> None:
    files = [("files", png) for png in slices[:3]]
    said = rest.post("/predict/batch", files=files).json()
    assert len({item["prediction_id"] for item in said}) == 3


def test_a_batch_is_answered_file_by_file_in_order(rest: httpx.Client, slices: list[bytes]) -> None:
    alone = [rest.post("/predict", files={"file": png}).json() for png in slices[:3]]
    files = [slices[0], b"text", slices[1], uniform_png(), slices[2]]
    answer = rest.post("/predict/batch", files=[("files", data) for data in files])
    said = answer.json()
    assert answer.status_code == 200
    assert [item.get("status") for item in said] == [None, 400, None, 422, None]
    for item, expected in zip([said[0], said[2], said[4]], alone, strict=True):
        assert item["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)
    for item in (said[1], said[3]):
        assert item["error"] == item["detail"]
        assert item["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(("count", "status"), [(20, 200), (21, 413)])
def test_a_batch_takes_twenty_files(
    rest: httpx.Client, slices: list[bytes], count: int, status: int
) -> None:
    answer = rest.post("/predict/batch", files=[("files", slices[0])] * count)
    assert answer.status_code == status
    assert status == 413 or len(answer.json()) == count


def test_feedback_says_where_it_lies(pair: Pair, rest: httpx.Client, slices: list[bytes]) -> None:
    form = {"predicted_class": "normal", "is_correct": "true"}
    answer = rest.post("/feedback", files={"file": slices[3]}, data=form)
    said = answer.json()
    assert answer.status_code == 200
    assert list(said) == ["saved_to", "class"]
    assert said["class"] == "normal"
    saved = Path(said["saved_to"])
    assert saved.parent == pair.transformer.feedback / "normal"
    assert re.fullmatch(r"image-[0-9a-f]{12}\.png", saved.name)
    assert saved.is_file()


def test_a_correction_lies_under_the_class_that_the_person_saw(
    rest: httpx.Client, slices: list[bytes]
) -> None:
    form = {
        "predicted_class": "normal",
        "is_correct": "false",
        "correct_class": "adenocarcinoma",
        "prediction_id": "5f0c7c1e2d3b4a59",
        "comment": "seen by two",
    }
    said = rest.post("/feedback", files={"file": slices[4]}, data=form).json()
    assert said["class"] == "adenocarcinoma"
    (event,) = json.loads(Path(said["saved_to"]).with_suffix(".json").read_text())
    assert event["comment"] == "seen by two"
    assert event["prediction_id"] == form["prediction_id"]


def test_v1_answers_instance_by_instance(rest: httpx.Client, slices: list[bytes]) -> None:
    alone = [rest.post("/predict", files={"file": png}).json() for png in slices[:2]]
    instances = [{"b64": base64.b64encode(png).decode()} for png in slices[:2]]
    answer = rest.post("/v1/models/ctscan:predict", json={"instances": instances})
    assert answer.status_code == 200
    assert list(answer.json()) == ["predictions"]
    for said, expected in zip(answer.json()["predictions"], alone, strict=True):
        assert list(said)[: len(PREDICTION)] == PREDICTION
        assert said["pred_class"] == expected["pred_class"]


def test_the_drift_log_has_a_row_for_each_prediction(pair: Pair, rest: httpx.Client) -> None:
    # A height that no other test sends.
    said = [rest.post("/predict", files={"file": slice_png(seed, 77)}).json() for seed in (1, 2)]
    rest.post("/predict", files={"file": b"text"})

    def rows() -> list[dict[str, str]]:
        path = pair.transformer.drift
        lines = path.read_text().splitlines() if path.exists() else []
        return [row for row in csv.DictReader(lines) if row["height"] == "77"]

    until(lambda: len(rows()) >= 2, "two drift rows")
    assert [row["pred_class"] for row in rows()] == [item["pred_class"] for item in said]
    assert [float(row["pred_conf"]) for row in rows()] == [item["confidence"] for item in said]


# Documentation


class Sources(HTMLParser):
    """Everything that a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_docs_need_no_other_server(rest: httpx.Client) -> None:
    page = rest.get("/docs").text
    sources = Sources()
    sources.feed(page)
    assert any(source.endswith(".js") for source in sources.found)
    assert any(source.endswith(".css") for source in sources.found)
    for source in sources.found:
        assert source.startswith("/")
        assert not source.startswith("//")
        assert rest.get(source).status_code == 200
    assert "http://" not in page
    assert "https://" not in page


@pytest.fixture(scope="module")
def openapi(pair: Pair) -> dict[str, Any]:
    with pair.transformer.client() as client:
        document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, verbs in openapi["paths"].items():
        for verb, operation in verbs.items():
            yield f"{verb.upper()} {path}", operation


def test_openapi_names_every_route(openapi: dict[str, Any]) -> None:
    assert {name for name, _ in operations(openapi)} >= {
        "GET /health",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
        "POST /predict",
        "POST /predict/batch",
        "POST /explain",
        "POST /feedback",
        "GET /v1/models",
        "GET /v1/models/{model_name}",
        "POST /v1/models/{model_name}:predict",
        "POST /v1/models/{model_name}:explain",
        "GET /v2",
        "GET /v2/health/live",
        "GET /v2/health/ready",
        "GET /v2/models",
        "GET /v2/models/{model_name}",
        "GET /v2/models/{model_name}/ready",
        "POST /v2/models/{model_name}/infer",
    }


def references(part: Any) -> Iterator[str]:
    """Every `$ref` in a part of the document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for item in part:
            yield from references(item)


@pytest.mark.parametrize("service", ["transformer", "predictor"])
def test_every_reference_in_openapi_leads_somewhere(pair: Pair, service: str) -> None:
    with getattr(pair, service).client() as client:
        document = client.get("/openapi.json").json()
    found = set(references(document))
    assert "#/components/schemas/V2Tensor" in found
    for reference in found:
        start, *steps = reference.split("/")
        assert start == "#", reference
        target = document
        for step in steps:
            assert step in target, reference
            target = target[step]


def test_every_route_says_what_it_does(openapi: dict[str, Any]) -> None:
    for name, operation in operations(openapi):
        assert operation.get("summary"), name
        assert "Endpoints" not in operation["summary"], name


def test_every_error_in_openapi_is_a_problem(openapi: dict[str, Any]) -> None:
    for name, operation in operations(openapi):
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"], (name, status)
                schema = answer["content"]["application/problem+json"]["schema"]
                assert schema["$ref"].endswith("/Problem"), (name, status)


@pytest.mark.parametrize(
    ("call", "statuses"),
    [
        ("POST /predict", {"200", "400", "413", "422", "429", "500", "503", "504"}),
        ("POST /predict/batch", {"200", "400", "413", "500"}),
        ("POST /explain", {"200", "400", "413", "422", "429", "500", "501", "503", "504"}),
        ("POST /feedback", {"200", "400", "413", "422", "500", "503"}),
        (
            "POST /v1/models/{model_name}:explain",
            {"200", "400", "404", "413", "422", "429", "500", "501", "503", "504"},
        ),
        (
            "POST /v1/models/{model_name}:predict",
            {"200", "400", "404", "413", "422", "429", "500", "503", "504"},
        ),
        (
            "POST /v2/models/{model_name}/infer",
            {"200", "400", "404", "413", "422", "429", "500", "503", "504"},
        ),
    ],
)
def test_openapi_lists_the_statuses_of_each_call(
    openapi: dict[str, Any], call: str, statuses: set[str]
) -> None:
    assert set(dict(operations(openapi))[call]["responses"]) >= statuses


def test_every_field_of_our_own_schemas_has_an_example(openapi: dict[str, Any]) -> None:
    schemas = openapi["components"]["schemas"]
    for name in ("Prediction", "Explanation", "Health", "FeedbackSaved", "Problem", "ModelVersion"):
        for field, schema in schemas[name]["properties"].items():
            plain = schema.get("type") == "boolean" or "$ref" in schema or "anyOf" in schema
            assert plain or "examples" in schema, f"{name}.{field}"


def test_openapi_shows_both_forms_of_an_explanation(openapi: dict[str, Any]) -> None:
    operation = openapi["paths"]["/explain"]["post"]
    content = operation["responses"]["200"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("/Explanation")
    assert content["image/png"]["schema"] == {"type": "string", "format": "binary"}
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"]
    assert {*openapi["components"]["schemas"][form.split("/")[-1]]["properties"]} == {
        *("file", "class")
    }


@pytest.mark.parametrize(
    ("verb", "schema"), [("predict", "Prediction"), ("explain", "Explanation")]
)
def test_openapi_shows_what_v1_answers(openapi: dict[str, Any], verb: str, schema: str) -> None:
    operation = openapi["paths"][f"/v1/models/{{model_name}}:{verb}"]["post"]
    asked = operation["requestBody"]["content"]["application/json"]
    assert set(asked["example"]["instances"][0]) <= set(
        asked["schema"]["properties"]["instances"]["items"]["properties"]
    )
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    shown = openapi["components"]["schemas"][answer.split("/")[-1]]
    name = shown["properties"]["predictions"]["items"]["$ref"].split("/")[-1]
    assert name == schema
    assert name in openapi["components"]["schemas"]


def test_openapi_says_that_this_is_no_medical_device(openapi: dict[str, Any]) -> None:
    assert "not a medical device" in openapi["info"]["description"]


# Metrics

OLD = {
    "prediction_error_total",
    "system_cpu_percent",
    "system_memory_percent",
    "process_rss_bytes",
}
HTTP = {"http_requests_total", "http_request_duration_seconds"}
BOTH = {"ctscan_stage_seconds", "ctscan_batch_rows", "ctscan_queue_rows"}
TRANSFORMER = {"ctscan_predictions_total", "ctscan_confidence", "ctscan_feedback_total"}


def names(metrics: str) -> set[str]:
    found = {line.split("{")[0].split(" ")[0] for line in metrics.splitlines() if line[:1] != "#"}
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in found}


def test_the_transformers_metrics_have_their_names(rest: httpx.Client, slices: list[bytes]) -> None:
    rest.post("/predict", files={"file": slices[0]})
    form = {"predicted_class": "normal", "is_correct": "false", "correct_class": CLASSES[1]}
    rest.post("/feedback", files={"file": slices[5]}, data=form)
    text = rest.get("/metrics").text
    assert names(text) >= OLD | HTTP | BOTH | TRANSFORMER
    assert 'http_requests_total{handler="/predict",method="POST",status="2xx"}' in text
    for stage in ("decode", "preprocess", "queue", "transfer"):
        assert f'ctscan_stage_seconds_count{{stage="{stage}"}}' in text
    assert f'ctscan_feedback_total{{agreement="wrong",label="{CLASSES[1]}"}}' in text
    assert re.search(r"^prediction_error_total [1-9]", text, re.MULTILINE)


def test_the_predictors_metrics_have_their_names(
    pair: Pair, rest: httpx.Client, slices: list[bytes]
) -> None:
    rest.post("/predict", files={"file": slices[0]})
    with pair.predictor.client() as client:
        text = client.get("/metrics").text
    assert names(text) >= (OLD - {"prediction_error_total"}) | HTTP | BOTH
    assert 'ctscan_stage_seconds_count{stage="compute"}' in text
    assert f'version="{pair.card.version}"' in text


# Threads


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's own on Linux alone")
def test_threads_that_compute_give_way_in_both_services(
    pair: Pair, rest: httpx.Client, slices: list[bytes]
) -> None:
    rest.post("/predict", files={"file": slices[0]})
    for process in (pair.predictor, pair.transformer):
        found = set()
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                found.add(os.getpriority(os.PRIO_PROCESS, int(task.name)))
        main = os.getpriority(os.PRIO_PROCESS, process.pid)
        assert found == {main, min(19, main + NICER)}


# Without weights


@pytest.fixture(scope="module")
def unloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transformer]:
    """A transformer before a predictor that was started with LOAD_MODEL=0."""
    folder = tmp_path_factory.mktemp("unloaded")
    config = write_config(folder / "config.yaml")
    predictor = Predictor(
        folder / "none.pt", config, folder / "p.log", sockets=folder, LOAD_MODEL="0"
    )
    transformer = Transformer(
        config, folder, predictor.http_address, predictor.grpc_address, FEEDBACK_DURABLE="0"
    )
    predictor.start()
    transformer.start()
    predictor.wait_ready("/livez")
    transformer.wait_ready("/livez")
    yield transformer
    assert [transformer.stop(), predictor.stop()] == [0, 0]


def test_without_weights_health_says_so(unloaded: Transformer) -> None:
    with unloaded.client() as client:
        until(lambda: client.get("/health").json()["model_path"], "the predictor is known")
        said = client.get("/health").json()
        assert [said["ok"], said["model_loaded"]] == [False, False]
        assert said["model_path"].endswith("none.pt")
        assert client.get("/readyz").status_code == 200
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/models/ctscan/ready").status_code == 503


def test_without_weights_predictions_ask_to_come_back(
    unloaded: Transformer, slices: list[bytes]
) -> None:
    with unloaded.client() as client:
        until(lambda: client.get("/health").json()["model_path"], "the predictor is known")
        answer = client.post("/predict", files={"file": slices[0]})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["type"] == "urn:ctscan:error:model-not-loaded"
        form = {"predicted_class": "normal", "is_correct": "true"}
        saved = client.post("/feedback", files={"file": slices[0]}, data=form)
        assert saved.status_code == 200
