"""Overlays as kustomize renders them, put into another namespace."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.cluster import kubectl

Manifest = dict[str, Any]


def rendered(overlay: Path, namespace: str) -> list[Manifest]:
    """All objects of an overlay, in a namespace of that name."""
    found: list[Manifest] = list(yaml.safe_load_all(kubectl("kustomize", str(overlay))))
    for manifest in found:
        key = "name" if manifest["kind"] == "Namespace" else "namespace"
        manifest["metadata"][key] = namespace
    return found


def frugal(manifests: Sequence[Manifest]) -> list[Manifest]:
    """The same, asking for next to no CPU: beside the service under test there is little left."""
    changed = copy.deepcopy(list(manifests))
    for manifest in changed:
        if manifest["kind"] == "InferenceService":
            for component in ("predictor", "transformer"):
                container = manifest["spec"][component]["containers"][0]
                container["resources"]["requests"]["cpu"] = "10m"
    return changed


def known(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Those of a kind that the cluster knows."""
    lines = kubectl("api-resources", "--no-headers").splitlines()
    kinds = {(line.split()[-3], line.split()[-1]) for line in lines}
    return [item for item in manifests if (item["apiVersion"], item["kind"]) in kinds]


def as_text(manifests: Sequence[Manifest]) -> str:
    """YAML for `kubectl apply -f -`."""
    return yaml.safe_dump_all(manifests)
