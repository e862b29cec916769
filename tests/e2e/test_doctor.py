"""`ctscan doctor` finds a healthy service well, and names what is wrong with one that is not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import OVERLAY, PREDICTOR, Cluster, kubectl, until
from tests.e2e.ingress import Ingress

pytestmark = pytest.mark.further

CONTAINER = "/spec/predictor/containers/0"
BAD_CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: ctscan-config-bad}
data: {config.yaml: "limits: {rowz: 3}"}
"""
# An image is asked for over a network, and a container ends some times before it is waited for.
NAMED_WITHIN_S = 120.0


def examine(cluster: Cluster, ingress: Ingress) -> tuple[int, dict[str, Any]]:
    """The exit status of the doctor, and what he says as JSON."""
    call = [sys.executable, "-m", "ctscan", "doctor", "--json"]
    call += ["--namespace", cluster.namespace, "--ingress", ingress.url]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["status"] == done.returncode
    return done.returncode, said


@pytest.fixture
def patient(cluster: Cluster) -> Iterator[Cluster]:
    """The service, to be made ill; it is as before when the test is over."""
    before = cluster.uids(PREDICTOR)
    yield cluster
    kubectl("apply", "-k", str(OVERLAY))
    # A roll-out that cannot succeed leaves the pods from before alone.
    until(lambda: cluster.uids(PREDICTOR) == before, "the ill pod is gone", 90)
    cluster.kubectl("delete", "-f", "-", "--ignore-not-found", given=BAD_CONFIG)


def change(cluster: Cluster, *operations: dict[str, Any]) -> None:
    """Change the InferenceService by a JSON patch: a merge would replace whole lists."""
    given = json.dumps(operations)
    cluster.kubectl("patch", "inferenceservice", "ctscan", "--type=json", "-p", given)


def remarks_on(said: dict[str, Any], step: str) -> list[dict[str, str]]:
    """What failed in one step."""
    (found,) = [it for it in said["steps"] if it["step"] == step]
    return [it for it in found["remarks"] if it["outcome"] == "FAILED"]


def named(cluster: Cluster, ingress: Ingress, what: str) -> dict[str, str] | None:
    """The doctor's remark on a pod that has these words in it, if he makes one."""
    status, said = examine(cluster, ingress)
    found = [it for it in remarks_on(said, "pods") if what in it["what"]]
    if not found:
        return None
    assert status == 1
    assert what in said["verdict"]
    # The pods from before serve on.
    assert said["verdict"].endswith("; predictions still come back")
    return found[0]


def diagnosis(cluster: Cluster, ingress: Ingress, what: str) -> dict[str, str]:
    """The doctor's remark that has these words in it, as soon as he makes it."""
    found = until(lambda: named(cluster, ingress, what), f"the doctor says {what}", NAMED_WITHIN_S)
    assert found is not None
    return found


def test_a_healthy_service_is_well(cluster: Cluster, ingress: Ingress) -> None:
    status, said = examine(cluster, ingress)
    assert status == 0, said
    assert said["verdict"].startswith("well")
    outcomes = {it["step"]: it["outcome"] for it in said["steps"]}
    assert outcomes["REST"] == outcomes["gRPC"] == "ok"
    assert set(outcomes.values()) <= {"ok", "note", "unknown"}


def test_the_report_for_people_ends_in_the_verdict(cluster: Cluster, ingress: Ingress) -> None:
    call = [sys.executable, "-m", "ctscan", "doctor", "--namespace", cluster.namespace]
    environment = {**os.environ, "INGRESS": ingress.url}
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("ok         API server")
    assert done.stdout.splitlines()[-1].startswith("well")


def test_a_wrong_image_tag_is_named(patient: Cluster, ingress: Ingress) -> None:
    image = f"{patient.pods(PREDICTOR)[0]['spec']['containers'][0]['image']}-wrong"
    change(patient, {"op": "replace", "path": f"{CONTAINER}/image", "value": image})
    remark = diagnosis(patient, ingress, f"its image {image} cannot be pulled")
    assert image in remark["todo"]
    assert "tag" in remark["todo"]


def test_a_wrong_weights_path_is_named(patient: Cluster, ingress: Ingress) -> None:
    path = "/app/models/none.pt"
    variable = {"name": "MODEL_PATH", "value": path}
    change(patient, {"op": "add", "path": f"{CONTAINER}/env/-", "value": variable})
    remark = diagnosis(patient, ingress, f"weights {path} do not exist")
    assert f"MODEL_PATH in spec.predictor is {path}" in remark["todo"]


def test_a_bad_config_map_is_named(patient: Cluster, ingress: Ingress) -> None:
    patient.kubectl("apply", "-f", "-", given=BAD_CONFIG)
    volumes = patient.get("inferenceservice", "ctscan")["spec"]["predictor"]["volumes"]
    index = [it["name"] for it in volumes].index("config")
    place = f"/spec/predictor/volumes/{index}/configMap/name"
    change(patient, {"op": "replace", "path": place, "value": "ctscan-config-bad"})
    remark = diagnosis(patient, ingress, "configuration: limits.rowz")
    assert "ConfigMap ctscan-config-bad" in remark["todo"]
