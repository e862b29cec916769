"""Feedback on a volume outlives its pod; the drift log never takes more than its files."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serving.card import CLASSES
from tests.e2e.cluster import TRANSFORMER, Cluster, until
from tests.e2e.volume import applied, claim

pytestmark = pytest.mark.further

ROOT = Path(__file__).parents[2]
MOUNT = ROOT / "manifests" / "components" / "feedback-pvc" / "mount.yaml"
CLAIM = "ctscan-feedback"
# Several requests may be written at once: the file is rotated before a write, never within one.
ROTATE_BYTES, KEEP_FILES = 20_000, 2
ROWS, CALLS = 16, 36
CONFIG = "ctscan-config-small"
SMALL = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: {CONFIG}}}
data: {{config.yaml: "drift: {{rotate_bytes: {ROTATE_BYTES}, keep_files: {KEEP_FILES}}}"}}
"""
LIST = """
from pathlib import Path
for path in sorted(Path({folder!r}).rglob("*")):
    if path.is_file():
        print(path.stat().st_size, path)
"""


@pytest.fixture(scope="module")
def on_a_volume(cluster: Cluster) -> Iterator[None]:
    """Feedback on a claim, as the component has it, and a drift log that is rotated early."""
    volumes = cluster.get("inferenceservice", "ctscan")["spec"]["transformer"]["volumes"]
    place = next(index for index, it in enumerate(volumes) if it["name"] == "config")
    small = {"name": "config", "configMap": {"name": CONFIG}}
    change = {"op": "replace", "path": f"/spec/transformer/volumes/{place}", "value": small}
    with claim(cluster, CLAIM), applied(cluster, SMALL):
        before = cluster.uids(TRANSFORMER)
        cluster.change(*yaml.safe_load(MOUNT.read_text()), change)
        until(lambda: cluster.uids(TRANSFORMER) - before, "a new transformer", 60)
        until(lambda: not before & cluster.uids(TRANSFORMER), "the old one is gone", 120)
        cluster.wait_ready()
        yield
        before = cluster.uids(TRANSFORMER)
        cluster.apply()
        # The claim is let go only by the last pod that has it.
        until(lambda: cluster.uids(TRANSFORMER).isdisjoint(before), "they are gone", 120)


def files(cluster: Cluster, folder: str) -> dict[str, int]:
    """Path → size in bytes of each file under a folder of the transformer."""
    lines = cluster.run_in(TRANSFORMER, LIST.format(folder=folder)).splitlines()
    return {path: int(size) for size, _, path in (line.partition(" ") for line in lines)}


@pytest.mark.usefixtures("on_a_volume")
def test_feedback_outlives_its_pod(cluster: Cluster, rest: httpx.Client, png: bytes) -> None:
    assert rest.get("/health").json()["feedback_durable"] is True
    form = {"predicted_class": CLASSES[1], "is_correct": "false", "correct_class": CLASSES[2]}
    answer = rest.post("/feedback", files={"file": png}, data=form)
    assert answer.status_code == 200, answer.text
    saved = Path("/app") / answer.json()["saved_to"]
    kept = files(cluster, "/app/feedback")
    assert str(saved) in kept

    before = cluster.uids(TRANSFORMER)
    cluster.kubectl("delete", "pod", "-l", f"app=isvc.ctscan-{TRANSFORMER}", "--timeout=120s")
    cluster.wait_ready()
    assert cluster.uids(TRANSFORMER).isdisjoint(before)
    assert files(cluster, "/app/feedback") == kept


@pytest.mark.usefixtures("on_a_volume")
def test_the_drift_log_keeps_to_its_size(cluster: Cluster, rest: httpx.Client, png: bytes) -> None:
    folder, name = "/app/data/drift", "/app/data/drift/current.csv"
    body: dict[str, Any] = {"instances": [{"b64": base64.b64encode(png).decode()}] * ROWS}

    def answered() -> bool:
        # A pod that was just replaced may take a moment to be known to the gateway.
        return rest.post("/v1/models/ctscan:predict", json=body).status_code == 200

    until(answered, "a prediction", 30)
    for _ in range(CALLS):
        assert answered()

    full = {name, *(f"{name}.{number}" for number in range(1, KEEP_FILES + 1))}
    until(lambda: set(files(cluster, folder)) == full, "the log is rotated", 30)
    assert max(files(cluster, folder).values()) <= ROTATE_BYTES
