"""The panels as a Grafana dashboard; `make docs` writes it for `components/monitoring`."""

import json
from collections.abc import Iterator
from typing import Any

from docs.panels import ROWS, Panel

# Chosen on the dashboard, as is the namespace.
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
HEIGHTS = {"stat": 4, "timeseries": 8, "table": 8}


def as_json() -> str:
    """The file that Grafana imports."""
    return json.dumps(dashboard(), indent=1) + "\n"


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's terms."""
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {
            "name": "namespace",
            "type": "query",
            "datasource": SOURCE,
            "query": "label_values(ctscan_queue_rows, namespace)",
            "refresh": 2,
            "sort": 1,
        },
    ]
    return {
        "uid": "ctscan",
        "title": "CT-scan classifier",
        "description": "Research use only, not a medical device.",
        "tags": ["ctscan"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables},
        "panels": [{"id": index, **panel} for index, panel in enumerate(placed(), start=1)],
    }


def placed() -> Iterator[dict[str, Any]]:
    """Every row and panel with its place on the grid, from left to right and down."""
    top = 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {"type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        top += 1
        left = 0
        for panel in panels:
            height = HEIGHTS[panel.kind]
            if left + panel.width > COLUMNS:
                left, top = 0, top + height
            place = {"x": left, "y": top, "w": panel.width, "h": height}
            yield {**drawn(panel), "gridPos": place}
            left += panel.width
        top += height


def drawn(panel: Panel) -> dict[str, Any]:
    """A panel without its place."""
    as_table = {"format": "table", "instant": True} if panel.kind == "table" else {}
    stacked = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if panel.stacked else {}
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": query,
            "legendFormat": legend,
            **as_table,
        }
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.what,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": stacked}, "overrides": []},
    }
