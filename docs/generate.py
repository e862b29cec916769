"""`make docs`: fills the tables of the pages from the code that they describe.

A page marks where a table goes: `<!-- table: NAME -->`, and `<!-- end -->` behind it. What stands
between the two is written here; everything else on a page is written by hand. The example slice is
painted here too, and the dashboard's file is written.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import yaml
from fastapi import FastAPI
from PIL import Image
from prometheus_client import REGISTRY, CollectorRegistry
from pydantic.fields import FieldInfo

from docs import dashboard
from docs.panels import ROWS
from predictor.metrics import PredictorMetrics
from serving.doors import DOORS, problem_type
from serving.kserve.arguments import with_arguments
from serving.metrics import GrpcMetrics, expose, watch_process
from serving.phantom import phantom
from serving.settings import ENVIRONMENT, MIB, SECTIONS, Process, read_settings, split_address
from transformer.explanation import Explanation
from transformer.gate import REASONS
from transformer.metrics import TransformerMetrics
from transformer.prediction import Prediction, output_specs

DOCS = Path(__file__).parent
CONFIG = DOCS.parent / "configs" / "config.yaml"
MONITORING = DOCS.parent / "manifests" / "components" / "monitoring"
DASHBOARD = MONITORING / "dashboard.json"
PICTURE_SEED = 5
NOTHING = "-"
MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# What KServe appends to a container, and one that is let be.
ARGUMENTS = (
    ("--http_port", "8080"),
    ("--grpc_port", "8081"),
    ("--predictor_host", "ctscan-predictor.ctscan"),
    ("--model_name", "ctscan"),
    ("--workers", "2"),
)


def main() -> None:
    """Write every page and the picture anew."""
    for page in sorted(DOCS.glob("*.md")):
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    picture().save(DOCS / "slice.png", optimize=True)
    DASHBOARD.write_text(dashboard.as_json(), encoding="utf-8")


def fill(text: str) -> str:
    """The page with every marked table written anew."""
    return MARKED.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def picture() -> Image.Image:
    """The slice that the examples send: 512 x 512, grey."""
    return Image.fromarray(phantom(PICTURE_SEED))


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; a bar inside a cell does not end it."""
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def environment() -> str:
    """Every variable that a process reads."""
    known = defaults()
    rows = ((f"`{name}`", code(known.get(name)), doc) for name, doc in ENVIRONMENT.items())
    return table(("variable", "default", "meaning"), rows)


def defaults() -> dict[str, str]:
    """What each variable stands at where it is not set; without those that have no value then."""
    process = Process()
    host, port = split_address(process.http_address)
    _, grpc_port = split_address(process.grpc_address)
    found = {"HOST": host, "PORT": str(port), "GRPC_PORT": str(grpc_port)}
    for item in fields(Process):
        value = getattr(process, item.name)
        found[item.name.upper()] = str(int(value)) if isinstance(value, bool) else str(value)
    return found


def section(name: str) -> str:
    """The keys of one section of `config.yaml`."""
    rows = (
        (f"`{item.name}`", code(item.default), item.metadata["doc"])
        for item in fields(SECTIONS[name])
    )
    return table(("key", "default", "meaning"), rows)


def arguments() -> str:
    """What the arguments of KServe's controller set."""
    rows = (
        (f"`{name} {value}`", assignments(with_arguments({}, [name, value])))
        for name, value in ARGUMENTS
    )
    return table(("argument", "is taken as"), rows)


def assignments(variables: Mapping[str, str]) -> str:
    return "<br>".join(f"`{name}={value}`" for name, value in sorted(variables.items())) or NOTHING


def limits() -> str:
    """What a request may ask for, as the repository's `config.yaml` has it."""
    values = read_settings({"CONFIG_PATH": str(CONFIG)}).limits
    rows = (
        (f"`{item.name}`", amount(item.name, getattr(values, item.name)), item.metadata["doc"])
        for item in fields(values)
    )
    return table(("limit", "value", "meaning"), rows)


def amount(name: str, value: float) -> str:
    return f"{value / MIB:g} MiB" if name.endswith("_bytes") else f"{value:g}"


def errors() -> str:
    """Every error with what both doors answer."""
    rows = (
        (
            f"`{kind.__name__}`",
            door.status,
            door.code.name,
            door.title,
            f"{kind.default_retry_after_s:g} s" if kind.default_retry_after_s else NOTHING,
            f"`{problem_type(kind)}`",
        )
        for kind, door in sorted(DOORS.items(), key=lambda row: row[1].status)
    )
    return table(("`ctscan-error`", "REST", "gRPC", "title", "retry after", "type"), rows)


def prediction() -> str:
    """The fields of the one answer, and what they are as V2 outputs."""
    specs = output_specs()
    hints = get_type_hints(Prediction, include_extras=True)
    rows = []
    for item in fields(Prediction):
        spec = specs.get(item.name)
        as_tensor = f"{spec.datatype} {shape(spec.shape)}" if spec else "as `model_version`"
        rows.append((f"`{item.name}`", as_tensor, described(hints[item.name])))
    return table(("field", "V2 output", "meaning"), rows)


def reasons() -> str:
    """The reasons that a gate can give, with the decision that each asks for."""
    rows = ((f"`{name}`", decision, meaning) for name, (decision, meaning) in REASONS.items())
    return table(("reason", "decision", "meaning"), rows)


def explanation() -> str:
    """The fields that an explanation adds to those of a prediction."""
    hints = get_type_hints(Explanation, include_extras=True)
    names = [item.name for item in fields(Explanation)][len(fields(Prediction)) :]
    return table(("field", "meaning"), ((f"`{name}`", described(hints[name])) for name in names))


def shape(sizes: Iterable[int]) -> str:
    return f"[{', '.join('N' if size == -1 else str(size) for size in sizes)}]"


def described(hint: Any) -> str:
    """The description that OpenAPI shows of an annotated field."""
    found = [it for it in hint.__metadata__ if isinstance(it, FieldInfo)]
    return next((it.description for it in found if it.description), NOTHING)


def transformer_metrics() -> str:
    registry = CollectorRegistry()
    TransformerMetrics(registry)
    return metrics(registry)


def predictor_metrics() -> str:
    registry = CollectorRegistry()
    PredictorMetrics(registry)
    return metrics(registry)


def process_metrics() -> str:
    registry = CollectorRegistry()
    watch_process(registry)
    return metrics(registry)


def http_metrics() -> str:
    """Those that a request to an app with nothing but `/metrics` leaves behind."""
    app, registry = FastAPI(), CollectorRegistry()
    expose(app, registry)

    async def scrape() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://toy") as client:
            (await client.get("/metrics")).raise_for_status()

    asyncio.run(scrape())
    return metrics(registry)


def grpc_metrics() -> str:
    registry = CollectorRegistry()
    GrpcMetrics(registry)
    return metrics(registry)


def sdk_metrics() -> str:
    """Those of the KServe SDK, which is imported by now."""
    return metrics(REGISTRY, prefix="request_")


def metrics(registry: CollectorRegistry, prefix: str = "") -> str:
    """Every metric of a registry, under the name that it has in a scrape."""
    # There is no public way to the label names of a metric that was never observed.
    collectors: Iterable[Any] = registry._collector_to_names
    endings = {"counter": "_total", "info": "_info"}
    rows = (
        (
            f"`{it._name}{endings.get(it._type, '')}`",
            it._type,
            ", ".join(f"`{label}`" for label in it._labelnames) or NOTHING,
            it._documentation.strip(),
        )
        for it in collectors
        if hasattr(it, "_labelnames") and it._name.startswith(prefix)
    )
    return table(("name", "type", "labels", "meaning"), rows)


def panels() -> str:
    """Every panel of the dashboard."""
    rows = ((title, it.title, it.what) for title, row in ROWS.items() for it in row)
    return table(("row", "panel", "what it shows"), rows)


def alerts() -> str:
    """Every alert with what it asks for, as its own annotations say."""
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
    rows = (
        (
            f"`{rule['alert']}`",
            rule["labels"]["severity"],
            rule.get("for", "at once"),
            rule["annotations"]["action"],
        )
        for group in groups["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    )
    return table(("alert", "severity", "after", "what to do"), rows)


def code(value: object) -> str:
    return NOTHING if value is None else f"`{value}`"


TABLES: dict[str, Callable[[], str]] = {
    "environment": environment,
    **{name: partial(section, name) for name in SECTIONS},
    "arguments": arguments,
    "request-limits": limits,
    "errors": errors,
    "prediction": prediction,
    "reasons": reasons,
    "explanation": explanation,
    "transformer-metrics": transformer_metrics,
    "predictor-metrics": predictor_metrics,
    "process-metrics": process_metrics,
    "http-metrics": http_metrics,
    "grpc-metrics": grpc_metrics,
    "sdk-metrics": sdk_metrics,
    "panels": panels,
    "alerts": alerts,
}

if __name__ == "__main__":
    main()
