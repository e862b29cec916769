"""Programs that judge manifests: kubectl renders them, promtool reads the rules in them."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
WHERE_FROM = {
    "kubectl": "kubernetes.io/docs/tasks/tools says how to get it",
    "promtool": "Debian and Ubuntu have it in the package prometheus",
}


def run(program: str, *arguments: str, folder: Path) -> str:
    """What the program prints; where it finds something wrong, the test fails."""
    found = shutil.which(program)
    if found is None:
        reason = f"no {program} here: {WHERE_FROM[program]}"
        # In continuous integration nothing may go untested.
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run([found, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Rendered:
    """The objects of an overlay."""

    def __init__(self, text: str) -> None:
        self.objects: list[dict[str, Any]] = list(yaml.safe_load_all(text))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The one object of this kind and name."""
        (found,) = [it for it in self.all(kind) if it["metadata"]["name"] == name]
        return found

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [it for it in self.objects if it["kind"] == kind]

    def container(self, component: str) -> dict[str, Any]:
        """The container of predictor or transformer."""
        service = self.get("InferenceService", "ctscan")
        (container,) = service["spec"][component]["containers"]
        return dict(container)


@cache
def overlay(name: str) -> Rendered:
    return Rendered(run("kubectl", "kustomize", f"overlays/{name}", folder=MANIFESTS))


def base_with(folder: Path, *components: str) -> Rendered:
    """The base with these components alone, put together in an empty folder."""
    above = os.path.relpath(MANIFESTS, folder)
    kustomization = {
        "namespace": "ctscan",
        "resources": [f"{above}/base"],
        "components": [f"{above}/components/{name}" for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return Rendered(run("kubectl", "kustomize", ".", folder=folder))
