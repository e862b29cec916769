"""What to look at when a test on the cluster failed: collected before anything is taken down."""

import subprocess
from pathlib import Path

from tests.e2e.cluster import NAMESPACE, kubectl

FOLDER = Path("build") / "e2e"
LOG_LINES = "400"
# File → what kubectl writes into it.
QUESTIONS = {
    "objects.txt": ("get", "all,httproutes,hpa,networkpolicies,pdb,pvc", "-o", "wide"),
    "inferenceservice.yaml": ("get", "inferenceservice", "ctscan", "-o", "yaml"),
    "pods.txt": ("describe", "pods"),
    "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
    "usage.txt": ("top", "pods"),
    "predictor.log": ("logs", "-l", "app=isvc.ctscan-predictor", "--tail", LOG_LINES, "--prefix"),
    "transformer.log": (
        *("logs", "-l", "app=isvc.ctscan-transformer", "--tail", LOG_LINES, "--prefix"),
    ),
    "predictor-before.log": (
        *("logs", "-l", "app=isvc.ctscan-predictor", "--tail", LOG_LINES, "--previous"),
    ),
    "transformer-before.log": (
        *("logs", "-l", "app=isvc.ctscan-transformer", "--tail", LOG_LINES, "--previous"),
    ),
}


def collect(name: str) -> Path:
    """A folder with everything that the cluster says of the service now."""
    folder = FOLDER / name
    for namespace in namespaces():
        # Beside the service itself, what some tests deploy elsewhere.
        place = folder / namespace.removeprefix(NAMESPACE).lstrip("-")
        place.mkdir(parents=True, exist_ok=True)
        for file, question in QUESTIONS.items():
            (place / file).write_text(said("-n", namespace, *question), encoding="utf-8")
    log = said("-n", "kserve", "logs", "deployment/kserve-controller-manager", "--tail=100")
    (folder / "kserve.log").write_text(log, encoding="utf-8")
    return folder


def namespaces() -> list[str]:
    """That of the tests, and those that tests made beside it."""
    names = kubectl("get", "namespaces", "-o", "name").replace("namespace/", "").split()
    return [NAMESPACE, *(name for name in names if name.startswith(f"{NAMESPACE}-"))]


def said(*arguments: str) -> str:
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
