"""The API server takes every overlay; a pod of the GPU overlay gets a node that has a GPU."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import NAMESPACE, PREDICTOR, Cluster, kubectl, until
from tests.e2e.rendered import as_text, frugal, known, rendered

pytestmark = pytest.mark.further

OVERLAYS = Path(__file__).parents[2] / "manifests" / "overlays"
GPU, LABEL = "nvidia.com/gpu", "nvidia.com/gpu.present"


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Cluster]:
    """A namespace with nothing in it, as the overlays want one."""
    found = Cluster(f"{NAMESPACE}-overlays")
    (namespace,) = [it for it in rendered(OVERLAYS / "gpu", found.namespace) if is_namespace(it)]
    kubectl("apply", "-f", "-", given=as_text([namespace]))
    yield found
    found.delete()


def is_namespace(manifest: dict[str, Any]) -> bool:
    return bool(manifest["kind"] == "Namespace")


@pytest.mark.parametrize("name", sorted(path.name for path in OVERLAYS.iterdir()))
def test_the_api_server_takes_the_overlay(elsewhere: Cluster, name: str) -> None:
    manifests = known(rendered(OVERLAYS / name, elsewhere.namespace))
    assert "InferenceService" in [it["kind"] for it in manifests]
    said = kubectl("apply", "--dry-run=server", "-f", "-", given=as_text(manifests))
    assert len(said.splitlines()) == len(manifests)
    assert said.count("(server dry run)") == len(manifests)


@pytest.fixture
def node() -> Iterator[str]:
    """A node that may be given a GPU, and has none when the test is over."""
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    if any(GPU in it["status"]["capacity"] for it in nodes):
        pytest.skip("this cluster has GPUs: there is nothing to pretend")
    name: str = nodes[0]["metadata"]["name"]
    yield name
    kubectl("label", "node", name, f"{LABEL}-")
    patch_capacity(name, None)


def test_a_predictor_pod_gets_a_gpu_of_its_own(elsewhere: Cluster, node: str) -> None:
    manifests = known(frugal(rendered(OVERLAYS / "gpu", elsewhere.namespace)))
    elsewhere.kubectl("apply", "-f", "-", given=as_text(manifests))
    kubectl("label", "node", node, f"{LABEL}=true")
    until(lambda: any(why(pod) for pod in elsewhere.pods(PREDICTOR)), "no node has a GPU", 60)
    assert f"Insufficient {GPU}" in why(elsewhere.pods(PREDICTOR)[0])

    patch_capacity(node, "1")
    until(lambda: placed(elsewhere) == [node], "the pod has a node", 120)
    # Now that the only GPU is taken.
    elsewhere.scale(PREDICTOR, 2)
    until(lambda: any(why(pod) for pod in elsewhere.pods(PREDICTOR)), "the second one waits", 60)
    assert placed(elsewhere) == [node]


def why(pod: Any) -> str:
    """Why the pod has no node; empty when it has one."""
    conditions = pod["status"].get("conditions", ())
    waits = [it for it in conditions if it["type"] == "PodScheduled" and it["status"] == "False"]
    return "".join(it["message"] for it in waits)


def placed(cluster: Cluster) -> list[str]:
    """The nodes of the predictors that have one."""
    return [it["spec"]["nodeName"] for it in cluster.pods(PREDICTOR) if "nodeName" in it["spec"]]


def patch_capacity(node: str, gpus: str | None) -> None:
    """Pretend that the node has GPUs; the kubelet says how many may be used soon after."""
    change = json.dumps({"status": {"capacity": {GPU: gpus}}})
    kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", change)
