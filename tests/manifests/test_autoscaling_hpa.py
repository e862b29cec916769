"""The component `autoscaling-hpa`."""

from typing import Any

import pytest

from tests.manifests.render import Objects, base_with, container, every, one, spec_of

CLASS = "serving.kserve.io/autoscalerClass"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return base_with(tmp_path_factory.mktemp("hpa"), "autoscaling-hpa")


def test_kserve_keeps_out_of_it(rendered: Objects) -> None:
    service = one(rendered, "InferenceService", "ctscan")
    assert service["metadata"]["annotations"][CLASS] == "external"
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    for component in ("predictor", "transformer"):
        assert CLASS not in service["spec"][component].get("annotations", {})


@pytest.mark.parametrize("component", ["predictor", "transformer"])
def test_each_side_has_an_autoscaler_of_its_deployment(rendered: Objects, component: str) -> None:
    scaler = one(rendered, "HorizontalPodAutoscaler", f"ctscan-{component}-cpu")
    assert scaler["metadata"]["namespace"] == "ctscan"
    spec: dict[str, Any] = scaler["spec"]
    assert spec["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": f"ctscan-{component}",
    }
    assert 1 <= spec["minReplicas"] < spec["maxReplicas"]
    (metric,) = spec["metrics"]
    assert metric["resource"]["name"] == "cpu"


def test_no_autoscaler_is_named_like_its_deployment(rendered: Objects) -> None:
    # KServe would overwrite it with its own, and delete it after that.
    for scaler in every(rendered, "HorizontalPodAutoscaler"):
        assert scaler["metadata"]["name"] != scaler["spec"]["scaleTargetRef"]["name"]


@pytest.mark.parametrize("component", ["predictor", "transformer"])
def test_a_pod_at_its_cpu_limit_is_over_the_target(rendered: Objects, component: str) -> None:
    scaler = one(rendered, "HorizontalPodAutoscaler", f"ctscan-{component}-cpu")
    limit = container(spec_of(rendered, component))["resources"]["limits"]["cpu"]
    (metric,) = scaler["spec"]["metrics"]
    # Else it could never scale up; and within a tenth, the autoscaler does nothing.
    assert cores(metric["resource"]["target"]["averageValue"]) * 1.1 < cores(limit)


def cores(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


@pytest.mark.parametrize("component", ["predictor", "transformer"])
def test_it_goes_up_at_once_and_down_slowly(rendered: Objects, component: str) -> None:
    scaler = one(rendered, "HorizontalPodAutoscaler", f"ctscan-{component}-cpu")
    behavior = scaler["spec"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 120
    (policy,) = behavior["scaleDown"]["policies"]
    assert (policy["type"], policy["value"]) == ("Pods", 1)
