"""The manifests as kubectl renders them."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.manifests.programs import run

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"

Object = dict[str, Any]
Objects = tuple[Object, ...]


@cache
def rendered(folder: Path) -> Objects:
    """Every object of a kustomization."""
    return tuple(yaml.safe_load_all(run("kubectl", "kustomize", ".", folder=folder)))


def base_with(folder: Path, *components: str) -> Objects:
    """The base with these components alone, put together in an empty folder."""
    # Relative paths are all that kustomize takes.
    above = os.path.relpath(MANIFESTS, folder.resolve())
    kustomization = {
        "namespace": "ctscan",
        "resources": [f"{above}/base"],
        "components": [f"{above}/components/{name}" for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return rendered(folder)


def one(objects: Objects, kind: str, name: str) -> Object:
    (found,) = [it for it in every(objects, kind) if it["metadata"]["name"] == name]
    return found


def every(objects: Objects, kind: str) -> list[Object]:
    return [it for it in objects if it["kind"] == kind]


def spec_of(objects: Objects, component: str) -> Object:
    """Predictor or transformer as the InferenceService has it."""
    return dict(one(objects, "InferenceService", "ctscan")["spec"][component])


def container(component: Object) -> Object:
    """The one container of a component."""
    (only,) = component["containers"]
    return dict(only)
