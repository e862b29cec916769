"""The manifests as kubectl renders them."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"

Object = dict[str, Any]


def require_kubectl() -> None:
    """Skip where there is no kubectl; continuous integration must have it."""
    if shutil.which("kubectl") is None:
        assert "CI" not in os.environ, "kubectl is needed"
        pytest.skip("there is no kubectl to render the manifests with")


@cache
def rendered(folder: Path) -> tuple[Object, ...]:
    """Every object of a kustomization."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def one(objects: tuple[Object, ...], kind: str, name: str) -> Object:
    (found,) = [it for it in objects if it["kind"] == kind and it["metadata"]["name"] == name]
    return found
