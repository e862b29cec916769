"""The cluster of the current kube context, by kubectl."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

# What is deployed; an overlay that E2E_OVERLAY names may have another namespace and other images.
OVERLAY = Path(os.environ.get("E2E_OVERLAY") or Path(__file__).parent / "overlay")
WAIT_READY = Path(__file__).parents[2] / "manifests/wait-ready"
NAMESPACE: str = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text())["namespace"]
PREDICTOR, TRANSFORMER = "predictor", "transformer"
POLL_S = 0.5

Found = TypeVar("Found")


def kubectl(*arguments: str, given: str | None = None) -> str:
    """What kubectl prints.

    Raises:
        AssertionError: it failed; with what it said.
    """
    done = subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def until(found: Callable[[], Found], what: str, seconds: float) -> Found:
    """The first true thing that `found` returns.

    Raises:
        AssertionError: nothing so long.
    """
    deadline = time.monotonic() + seconds
    while True:
        if result := found():
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(POLL_S)


class Cluster:
    """The service under test, as the API server sees it."""

    def __init__(self, namespace: str = NAMESPACE) -> None:
        self.namespace = namespace

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """kubectl in the namespace of the tests."""
        return kubectl("-n", self.namespace, *arguments, given=given)

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def apply(self) -> None:
        """The overlay, and wait until both components are ready as it says."""
        kubectl("apply", "-k", str(OVERLAY))
        self.wait_ready()

    def wait_ready(self, seconds: int = 240) -> None:
        """Both Deployments are what the InferenceService says, and every pod of it is ready.

        Raises:
            AssertionError: it takes longer; with what was waited for.
        """
        command = [str(WAIT_READY), self.namespace, str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def host(self, component: str | None = None) -> str:
        """The name by which the ingress knows the service, or one component of it."""
        status = self.get("inferenceservice", "ctscan")["status"]
        url: str = (status["components"][component] if component else status)["url"]
        return url.partition("://")[2]

    def patch(self, spec: Mapping[str, Any]) -> None:
        """Merge into the InferenceService's spec."""
        change = json.dumps({"spec": spec})
        self.kubectl("patch", "inferenceservice", "ctscan", "--type=merge", "-p", change)

    def restart(self, *components: str) -> None:
        """New pods by an annotation: the controller reverts `kubectl rollout restart`."""
        at = str(time.time())
        self.patch({name: {"annotations": {"ctscan/restarted-at": at}} for name in components})

    def change(self, *operations: Mapping[str, Any]) -> None:
        """Change the InferenceService by a JSON patch: a merge would replace whole lists."""
        change = json.dumps(operations)
        self.kubectl("patch", "inferenceservice", "ctscan", "--type=json", "-p", change)

    def scale(self, component: str, replicas: int) -> None:
        self.kubectl("scale", f"deployment/ctscan-{component}", f"--replicas={replicas}")

    def hold(self, component: str, replicas: int) -> None:
        """So many replicas, whatever the autoscaler thinks."""
        limits = json.dumps({"spec": {"minReplicas": replicas, "maxReplicas": replicas}})
        self.kubectl("patch", "hpa", f"ctscan-{component}-cpu", "--type=merge", "-p", limits)
        self.scale(component, replicas)

    def pods(self, component: str) -> list[Any]:
        """All pods of a component, those that are ending among them."""
        items: list[Any] = self.get("pods", "-l", f"app=isvc.ctscan-{component}")["items"]
        return items

    def uids(self, *components: str) -> set[str]:
        return {pod["metadata"]["uid"] for name in components for pod in self.pods(name)}

    def restarts(self, component: str) -> int:
        """How often the containers of a component were started anew."""
        statuses = [pod["status"].get("containerStatuses", ()) for pod in self.pods(component)]
        return sum(status["restartCount"] for found in statuses for status in found)

    def run_in(self, component: str, program: str) -> str:
        """What a Python program prints in a pod of the component."""
        return self.kubectl("exec", f"deployment/ctscan-{component}", "--", "python", "-c", program)

    def run_in_pod(self, pod: str, program: str) -> str:
        """What a Python program prints in this pod."""
        return self.kubectl("exec", pod, "--", "python", "-c", program)

    def delete(self) -> None:
        kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=180s")


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions: Sequence[Any] = pod["status"].get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
