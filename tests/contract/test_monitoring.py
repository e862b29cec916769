"""What dashboard, rules and autoscalers ask of Prometheus is in a scrape of running services."""

import base64
import re
from collections.abc import Iterator

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.card import CLASSES
from tests.contract.doors import image_request, infer, refusal
from tests.contract.services import Pair, Transformer, free_address, write_config
from tests.manifests.expressions import expressions, panels, rules
from tests.manifests.promql import Matcher, Selector, grouped_by, selectors

# What Prometheus knows by itself, and the labels that it adds to what it scrapes.
OF_PROMETHEUS = {"up", "ALERTS"}
ADDED = {"namespace", "pod", "component"}
# A code that no test can bring about is good if gRPC has it.
CODES = {code.name for code in grpc.StatusCode}

Sample = tuple[str, dict[str, str]]


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transformer]:
    """A transformer whose predictor is not there."""
    folder = tmp_path_factory.mktemp("lonely")
    config = write_config(folder / "config.yaml")
    transformer = Transformer(config, folder, free_address(), free_address())
    transformer.start()
    transformer.wait_ready("/livez")
    yield transformer
    assert transformer.stop() == 0


@pytest.fixture(scope="module")
def scrape(explaining: Pair, lonely: Transformer, slices: list[bytes]) -> list[Sample]:
    """Every series of both services after a request of each kind, good and bad."""
    with grpc.insecure_channel(explaining.transformer.grpc_address) as channel:
        infer(channel, image_request(slices[:1]))
    with explaining.transformer.client() as client:
        use(client, slices[0])
        of_transformer = series(client, "transformer")
    with explaining.predictor.client() as client:
        of_predictor = series(client, "predictor")
    with lonely.client() as client:
        assert client.post("/predict", files={"file": slices[0]}).status_code == 503
        with grpc.insecure_channel(lonely.grpc_address) as channel:
            refusal(channel, image_request(slices[:1]))
        of_lonely = series(client, "transformer")
    return [*of_transformer, *of_predictor, *of_lonely]


def use(client: httpx.Client, png: bytes) -> None:
    """One request to each route that asks for work, and one that is refused."""
    coded = base64.b64encode(png).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [coded]}
    form = {"predicted_class": CLASSES[0], "is_correct": "true"}
    answers = [
        client.post("/predict", files={"file": png}),
        client.post("/predict/batch", files={"files": png}),
        client.post("/explain", files={"file": png}),
        client.post("/feedback", files={"file": png}, data=form),
        client.post("/v1/models/ctscan:predict", json={"instances": [{"b64": coded}]}),
        client.post("/v1/models/ctscan:explain", json={"instances": [{"b64": coded}]}),
        client.post("/v2/models/ctscan/infer", json={"inputs": [tensor]}),
        client.post("/predict", files={"file": b"text"}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 7 + [400]


def series(client: httpx.Client, component: str) -> list[Sample]:
    return [
        (sample.name, {**sample.labels, "component": component})
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    ]


def missing(selector: Selector, scrape: list[Sample]) -> list[str]:
    """What of a selector no series has: its metric, a label, or a value that it names."""
    known = [labels for name, labels in scrape if name == selector.metric]
    if not known:
        return [selector.metric]
    # One series has to meet all conditions at once, with one of the values that each names.
    asked = [it for it in selector.matchers if it.label not in ADDED - {"component"}]
    if not any(all(it.holds(labels.get(it.label, "")) for it in asked) for labels in known):
        return [str(selector)]
    return [
        f"{selector.metric}: {matcher.label} {value}"
        for matcher in asked
        for value in matcher.alternatives()
        if not has_value(matcher, value, known)
    ]


def has_value(matcher: Matcher, value: str, known: list[dict[str, str]]) -> bool:
    if matcher.label == "code":
        return value in CODES
    return any(re.fullmatch(value, labels.get(matcher.label, "")) for labels in known)


FOUND = list(expressions())


def test_dashboard_and_rules_are_looked_at() -> None:
    places = {place for place, _ in FOUND}
    assert {"CtscanErrors", "Confidence A", "ctscan:class_share:1d"} <= places


@pytest.mark.parametrize("record", ["ctscan:requests:rate5m", "ctscan:request_errors:rate5m"])
def test_every_route_that_asks_for_work_counts(explaining: Pair, record: str) -> None:
    """A route that is forgotten here could fail every time, and no alert would say so."""
    with explaining.transformer.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    work = {path for path, methods in paths.items() if is_work(methods.get("post", {}))}
    assert {"/predict", "/v2/models/{model_name}/infer"} <= work
    (expression,) = [it for place, it in FOUND if place == record]
    (counted,) = [it for it in selectors(expression) if it.metric == "http_requests_total"]
    (handlers,) = [it for it in counted.matchers if it.label == "handler"]
    assert {path for path in work if not handlers.holds(path)} == set()


def is_work(operation: dict[str, list[str]]) -> bool:
    return bool({"classify", "V1", "V2"} & {*operation.get("tags", [])})


@pytest.mark.parametrize("expression", [it for _, it in FOUND], ids=[place for place, _ in FOUND])
def test_what_is_asked_for_is_in_a_scrape(scrape: list[Sample], expression: str) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = [it for it in selectors(expression) if it.metric not in recorded | OF_PROMETHEUS]
    assert [what for selector in asked for what in missing(selector, scrape)] == []


def test_what_series_are_grouped_by_is_a_label_of_theirs(scrape: list[Sample]) -> None:
    labels = {label for _, found in scrape for label in found} | ADDED
    shown = [target["legendFormat"] for panel in panels() for target in panel["targets"]]
    grouped = {label for _, expression in FOUND for label in grouped_by(expression)}
    assert grouped - labels == set()
    assert set(re.findall(r"{{(\w+)}}", " ".join(shown))) - labels == set()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ctscan_queue_row", ["ctscan_queue_row"]),
        ('ctscan_shed_total{reason="full"}', 1),
        ('ctscan_shed_total{reason=~"deadline|full"}', ["ctscan_shed_total: reason full"]),
        ('ctscan_model_info{component="transformer"}', 1),
        ('ctscan_grpc_requests_total{code=~"OK|BROKEN"}', 1),
    ],
)
def test_what_is_not_in_a_scrape_is_told(
    scrape: list[Sample], expression: str, expected: list[str] | int
) -> None:
    (selector,) = selectors(expression)
    found = missing(selector, scrape)
    assert found == expected if isinstance(expected, list) else len(found) == expected
