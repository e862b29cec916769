"""What matters of every overlay, looked at as kubectl renders it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.settings import Limits
from tests.manifests.render import MANIFESTS, ROOT, Object, base_with, container, one, rendered
from transformer.drift import LAST_ROWS_S

OVERLAYS = sorted(path for path in (MANIFESTS / "overlays").iterdir() if path.is_dir())
COMPONENTS = ("predictor", "transformer")
KUSTOMIZATIONS = sorted(MANIFESTS.rglob("kustomization.yaml"))
CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.fixture(params=OVERLAYS, ids=lambda path: path.name)
def overlay(request: pytest.FixtureRequest) -> tuple[Object, ...]:
    """Every object of one overlay."""
    return rendered(request.param)


@pytest.fixture
def service(overlay: tuple[Object, ...]) -> Object:
    """Its InferenceService."""
    return one(overlay, "InferenceService", "ctscan")


@pytest.fixture(params=COMPONENTS)
def component(request: pytest.FixtureRequest, service: Object) -> Object:
    """One component of the InferenceService."""
    return {"name": request.param, **service["spec"][request.param]}


def environment(component: Object) -> dict[str, str]:
    return {it["name"]: it.get("value", "") for it in container(component)["env"]}


def test_the_service_runs_in_standard_mode(service: Object) -> None:
    annotations = service["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == "Standard"
    # KServe's own autoscaler has no behaviour: ours, KEDA, or none at all.
    assert annotations["serving.kserve.io/autoscalerClass"] in ("none", "external")


def test_rest_is_the_first_port_and_grpc_the_second(component: Object) -> None:
    ports = [(it["name"], it["containerPort"]) for it in container(component)["ports"]]
    assert ports == [("http", 8080), ("grpc", 8081)]
    arguments = container(component)["args"]
    assert {"--model_name=ctscan", "--http_port=8080", "--grpc_port=8081"} <= set(arguments)
    assert not any(argument.startswith("--workers") for argument in arguments)


def test_the_transformer_spreads_its_calls_over_the_headless_service(
    overlay: tuple[Object, ...], service: Object
) -> None:
    transformer = service["spec"]["transformer"]
    target = "--predictor_host=dns:///ctscan-predictor-grpc:8081"
    assert target in container(transformer)["args"]
    told = environment(transformer)
    assert told["PREDICTOR_HTTP_ADDRESS"] == "ctscan-predictor:80"
    assert told["PREDICTOR_GRPC_SERVICE"] == "dns:///ctscan-predictor:8081"
    headless = one(overlay, "Service", "ctscan-predictor-grpc")["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["selector"] == {"app": "isvc.ctscan-predictor"}
    assert [(port["port"], port["targetPort"]) for port in headless["ports"]] == [(8081, "grpc")]


def test_no_service_of_ours_looks_to_kserve_like_a_leftover(overlay: tuple[Object, ...]) -> None:
    for item in overlay:
        if item["kind"] in ("Service", "Deployment"):
            labels = item["metadata"].get("labels", {})
            assert not {"component", "serving.kserve.io/inferenceservice"} <= set(labels)


def test_images_have_a_tag_other_than_latest(component: Object) -> None:
    image = container(component)["image"]
    name, _, tag = image.rpartition("/")[2].partition(":")
    assert name == f"ctscan-{component['name']}"
    assert tag not in ("", "latest")
    assert container(component)["imagePullPolicy"] == "IfNotPresent"


def test_every_referred_name_is_there(overlay: tuple[Object, ...], component: Object) -> None:
    """Names with a digest are carried into the InferenceService."""
    kinds = {"configMap": "ConfigMap", "persistentVolumeClaim": "PersistentVolumeClaim"}
    names = {"configMap": "name", "persistentVolumeClaim": "claimName"}
    for volume in component["volumes"]:
        for source in kinds.keys() & volume.keys():
            one(overlay, kinds[source], volume[source][names[source]])
    one(overlay, "ServiceAccount", component["serviceAccountName"])
    mounted = {it["name"] for it in container(component)["volumeMounts"]}
    assert mounted == {it["name"] for it in component["volumes"]}


def test_the_configuration_is_the_repositorys_own(overlay: tuple[Object, ...]) -> None:
    (config,) = [it for it in overlay if it["kind"] == "ConfigMap" and "config.yaml" in it["data"]]
    assert config["data"]["config.yaml"] == (ROOT / "configs" / "config.yaml").read_text()
    assert config["metadata"]["name"] != "ctscan-config"


def test_probes_ask_the_right_question(component: Object) -> None:
    probes = {name: container(component)[f"{name}Probe"] for name in ("startup", "readiness")}
    assert {probe["httpGet"]["path"] for probe in probes.values()} == {"/readyz"}
    assert container(component)["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container(component)["livenessProbe"]["failureThreshold"] >= 3


def test_a_pod_is_given_the_time_that_its_shutdown_takes(component: Object) -> None:
    told = environment(component)
    drain, grace = float(told["DRAIN_DELAY_S"]), float(told["GRACE_S"])
    # The gateway and the channels hear of the end of a pod within seconds.
    assert drain >= 10
    assert grace >= Limits().request_timeout_s
    assert component["terminationGracePeriodSeconds"] >= drain + grace + LAST_ROWS_S
    # Over a request's own deadline, so that the answer is ours and not the gateway's.
    assert component["timeout"] > Limits().request_timeout_s


def test_pods_keep_to_the_restricted_profile(
    overlay: tuple[Object, ...], component: Object
) -> None:
    labels = one(overlay, "Namespace", "ctscan")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = component["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(component)["securityContext"] == CONFINED


def test_pods_have_no_token(overlay: tuple[Object, ...], component: Object) -> None:
    account = one(overlay, "ServiceAccount", component["serviceAccountName"])
    assert account["automountServiceAccountToken"] is False
    assert component["automountServiceAccountToken"] is False


def test_what_is_written_lies_on_a_volume(service: Object) -> None:
    paths = {
        name: {
            it["mountPath"]
            for it in container(service["spec"][name])["volumeMounts"]
            if not it.get("readOnly")
        }
        for name in COMPONENTS
    }
    assert "/tmp" in paths["predictor"]
    assert paths["transformer"] >= {"/tmp", "/app/feedback", "/app/data"}


def test_feedback_is_called_durable_where_it_is(service: Object) -> None:
    transformer = service["spec"]["transformer"]
    (feedback,) = [it for it in transformer["volumes"] if it["name"] == "feedback"]
    durable = "persistentVolumeClaim" in feedback
    # The image says 0.
    assert environment(transformer).get("FEEDBACK_DURABLE", "0") == str(int(durable))


def test_requests_and_limits_are_all_given(component: Object) -> None:
    resources = container(component)["resources"]
    for kind in ("requests", "limits"):
        # KServe puts its own in place of a missing one.
        assert {"cpu", "memory"} <= set(resources[kind])


def test_disruption_budgets_let_one_pod_go(overlay: tuple[Object, ...]) -> None:
    for name in COMPONENTS:
        budget = one(overlay, "PodDisruptionBudget", f"ctscan-{name}")["spec"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"] == {"app": f"isvc.ctscan-{name}"}


def test_everything_lies_in_one_namespace(overlay: tuple[Object, ...]) -> None:
    for item in overlay:
        if item["kind"] != "Namespace":
            assert item["metadata"]["namespace"] == "ctscan", item["metadata"]["name"]


def test_the_predictors_own_host_is_denied_and_its_pods_take_calls_of_transformers_alone(
    overlay: tuple[Object, ...],
) -> None:
    (denied,) = [
        it["spec"]
        for it in overlay
        if it["kind"] == "SecurityPolicy"
        and [ref["name"] for ref in it["spec"]["targetRefs"]] == ["ctscan-predictor"]
    ]
    assert denied["authorization"] == {"defaultAction": "Deny"}
    policy = one(overlay, "NetworkPolicy", "ctscan-predictor")["spec"]
    assert policy["podSelector"]["matchLabels"] == {"app": "isvc.ctscan-predictor"}
    callers = {
        selector["podSelector"]["matchLabels"]["app"]
        for rule in policy["ingress"]
        for selector in rule["from"]
        if "podSelector" in selector
    }
    assert callers == {"isvc.ctscan-transformer"}


# The files themselves


def patches() -> Iterator[tuple[Path, Any]]:
    """Every patch with the file that names it."""
    for path in KUSTOMIZATIONS:
        for patch in yaml.safe_load(path.read_text()).get("patches", ()):
            text = patch.get("patch") or (path.parent / patch["path"]).read_text()
            yield path, yaml.safe_load(text)


def test_patches_are_json6902_alone() -> None:
    """A strategic merge into an InferenceService replaces its whole list of containers."""
    found = list(patches())
    assert found
    assert [path for path, patch in found if not isinstance(patch, list)] == []


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: str(path.parent.name))
def test_a_kustomization_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 30


def test_feedback_on_a_volume_is_one_component(tmp_path: Path) -> None:
    service = one(base_with(tmp_path, "feedback-pvc"), "InferenceService", "ctscan")
    transformer = service["spec"]["transformer"]
    assert transformer["volumes"][0]["persistentVolumeClaim"] == {"claimName": "ctscan-feedback"}
    assert environment(transformer)["FEEDBACK_DURABLE"] == "1"
