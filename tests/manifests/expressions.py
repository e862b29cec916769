"""Every PromQL expression that the manifests hold, with where it stands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

COMPONENTS = Path(__file__).parents[2] / "manifests" / "components"
MONITORING = COMPONENTS / "monitoring"
# Grafana's words, as Prometheus would be told.
GRAFANA = {"$__rate_interval": "5m", "$namespace": "ctscan"}


def rules() -> Iterator[dict[str, Any]]:
    """Recording rules and alerts."""
    document = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
    for group in document["spec"]["groups"]:
        yield from group["rules"]


def panels() -> Iterator[dict[str, Any]]:
    """The dashboard's panels, without the titles of its rows."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the expression."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for word, meaning in GRAFANA.items():
                expression = expression.replace(word, meaning)
            yield f"{panel['title']} {target['refId']}", expression
    yield from triggers()


def triggers() -> Iterator[tuple[str, str]]:
    """What KEDA asks Prometheus."""
    for path in COMPONENTS.glob("*/*.yaml"):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if isinstance(document, dict) and document.get("kind") == "ScaledObject":
                for index, trigger in enumerate(document["spec"]["triggers"]):
                    yield f"{path.parent.name} {index}", trigger["metadata"]["query"]
