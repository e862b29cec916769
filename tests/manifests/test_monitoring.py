"""The component `monitoring`."""

import json
from collections import Counter
from itertools import combinations

import pytest

from docs import dashboard
from tests.manifests.expressions import MONITORING, panels
from tests.manifests.render import Objects, base_with, container, one, spec_of

Place = dict[str, int]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return base_with(tmp_path_factory.mktemp("monitoring"), "monitoring")


def test_both_services_are_scraped_pod_by_pod(rendered: Objects) -> None:
    monitor = one(rendered, "PodMonitor", "ctscan")
    assert monitor["metadata"]["namespace"] == "ctscan"
    # KServe gives every pod this label, and `component`, which the rules tell the services by.
    assert monitor["spec"]["selector"] == {
        "matchLabels": {"serving.kserve.io/inferenceservice": "ctscan"}
    }
    assert monitor["spec"]["podTargetLabels"] == ["component"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] == "/metrics"
    for component in ("predictor", "transformer"):
        ports = container(spec_of(rendered, component))["ports"]
        assert endpoint["port"] in [port["name"] for port in ports]


def test_rules_are_in_the_same_namespace(rendered: Objects) -> None:
    assert one(rendered, "PrometheusRule", "ctscan")["metadata"]["namespace"] == "ctscan"


def test_grafana_finds_the_dashboard_under_a_name_that_stays(rendered: Objects) -> None:
    config = one(rendered, "ConfigMap", "ctscan-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    (name,) = config["data"]
    assert name.endswith(".json")
    assert json.loads(config["data"][name]) == dashboard.dashboard()


def test_the_dashboard_is_as_make_docs_writes_it() -> None:
    written = (MONITORING / "dashboard.json").read_text(encoding="utf-8")
    assert written == dashboard.as_json(), "run make docs"


def test_panels_do_not_cover_each_other() -> None:
    places = [panel["gridPos"] for panel in dashboard.dashboard()["panels"]]
    for first, second in combinations(places, 2):
        beside = apart(first, second, "x", "w")
        above = apart(first, second, "y", "h")
        assert beside or above, (first, second)
    assert all(place["x"] + place["w"] <= 24 for place in places)


def apart(first: Place, second: Place, start: str, size: str) -> bool:
    """Whether one of two places ends before the other begins."""
    return (
        first[start] + first[size] <= second[start] or second[start] + second[size] <= first[start]
    )


def test_every_panel_has_a_title_of_its_own_and_says_what_it_shows() -> None:
    titles = Counter(panel["title"] for panel in panels())
    assert titles.most_common(1)[0][1] == 1
    assert all(panel["description"] for panel in panels())
    numbers = [panel["id"] for panel in dashboard.dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("panel", list(panels()), ids=lambda panel: panel["title"])
def test_every_query_keeps_to_the_namespace_that_was_chosen(panel: dict[str, object]) -> None:
    targets = panel["targets"]
    assert isinstance(targets, list)
    for target in targets:
        assert target["expr"].count("{") == target["expr"].count('{namespace="$namespace"')
