"""What to look at when a test on the cluster failed: collected before anything is taken down."""

import subprocess
from pathlib import Path

from tests.e2e.cluster import NAMESPACE

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
    folder.mkdir(parents=True, exist_ok=True)
    for file, question in QUESTIONS.items():
        done = subprocess.run(
            ["kubectl", "-n", NAMESPACE, *question], capture_output=True, text=True, check=False
        )
        (folder / file).write_text(done.stdout + done.stderr, encoding="utf-8")
    controller = subprocess.run(
        ["kubectl", "-n", "kserve", "logs", "deployment/kserve-controller-manager", "--tail=100"],
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "kserve.log").write_text(controller.stdout + controller.stderr, encoding="utf-8")
    return folder
