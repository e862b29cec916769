"""The component `autoscaling-keda`."""

from typing import Any

import pytest

from serving.settings import Transformer
from tests.manifests.promql import selectors
from tests.manifests.render import Objects, base_with, every, one


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return base_with(tmp_path_factory.mktemp("keda"), "autoscaling-keda")


@pytest.fixture(scope="module")
def spec(rendered: Objects) -> dict[str, Any]:
    return dict(one(rendered, "ScaledObject", "ctscan-predictor-queue")["spec"])


def test_each_deployment_has_one_autoscaler(rendered: Objects, spec: dict[str, Any]) -> None:
    (scaler,) = every(rendered, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "ctscan-transformer"
    assert spec["scaleTargetRef"]["name"] == "ctscan-predictor"
    # Nor is it named like its Deployment, which KServe would take for its own.
    assert "name" not in spec["advanced"]["horizontalPodAutoscalerConfig"]
    service = one(rendered, "InferenceService", "ctscan")
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"


def test_it_asks_for_what_exists_while_no_predictor_runs(spec: dict[str, Any]) -> None:
    for trigger in spec["triggers"]:
        assert trigger["type"] == "prometheus"
        for selector in selectors(trigger["metadata"]["query"]):
            conditions = {(it.label, it.operator, it.value) for it in selector.matchers}
            assert ("component", "=", "transformer") in conditions
            # Kustomize does not look into a query.
            assert ("namespace", "=", "ctscan") in conditions


def test_a_request_in_vain_wakes_a_predictor(spec: dict[str, Any]) -> None:
    (trigger,) = [it for it in spec["triggers"] if "no_predictor" in it["metadata"]["query"]]
    # Above 0 is active: KEDA's default.
    assert "activationThreshold" not in trigger["metadata"]


def test_a_busy_predictor_is_kept_and_two_half_busy_ones_are_not(spec: dict[str, Any]) -> None:
    (trigger,) = [it for it in spec["triggers"] if "transfer" in it["metadata"]["query"]]
    assert 1 < float(trigger["metadata"]["threshold"]) < Transformer().calls_per_predictor


def test_without_prometheus_nothing_is_taken_away(spec: dict[str, Any]) -> None:
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert spec["fallback"]["replicas"] >= 1
