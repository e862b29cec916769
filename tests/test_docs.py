"""The pages say what the code does: tables, routes, links, names and figures are compared."""

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from google.protobuf import json_format
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from PIL import Image
from starlette.routing import Match

from ctscan.doctor.cluster import Cluster
from docs import generate
from serving.card import read_card
from serving.doors import DOORS
from serving.kserve.lifecycle import add_probes
from serving.kserve.routes import v1_routes, v2_routes
from serving.settings import ENVIRONMENT, Settings, read_settings
from transformer.__main__ import DISCLAIMER, V1_EXPLAIN, V1_PREDICT, build_app
from transformer.drift import COLUMNS, HEADER
from transformer.explanation import Explanation
from transformer.prediction import Prediction, output_specs
from transformer.rest import Health, Rooms, rest_routes

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
# Not in the repository: what tools and services leave behind (.gitignore).
LEFT_BEHIND = {
    line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
}
# A path of the API server: whether in a namespace, a resource, the name of one, a part of that one.
# What matches not, its version and its groups, everybody may read.
RESOURCE = re.compile(
    r"/(?:api|apis/[^/]+)/[^/]+(/namespaces/[^/]+)?/([^/]+)(/[^/]+(?:(/log|/proxy).*)?)?"
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(text_of(page)) if kind == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_as_make_docs_writes_them(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert generate.fill(text) == text, "run make docs"


def test_every_table_stands_on_a_page() -> None:
    found = [name for page in PAGES for _, name, _ in generate.MARKED.findall(page.read_text())]
    assert sorted(found) == sorted(generate.TABLES)


def test_a_marked_table_is_replaced_and_the_rest_is_kept() -> None:
    page = "before\n<!-- table: arguments -->\nold\n<!-- end -->\nafter\n"
    filled = generate.fill(page)
    assert filled.startswith("before\n<!-- table: arguments -->\n| argument |")
    assert filled.endswith("|\n<!-- end -->\nafter\n")
    assert "old" not in filled


def test_the_example_slice_is_the_phantom() -> None:
    with Image.open(ROOT / "docs" / "slice.png") as committed:
        np.testing.assert_array_equal(np.asarray(committed), np.asarray(generate.picture()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    broken = []
    for link in links:
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that the headings of a page get on GitHub."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_lists_the_folders_that_there_are() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", text_of("README.md"), re.MULTILINE)
    there = [
        folder.name
        for folder in ROOT.iterdir()
        if folder.is_dir() and folder.name not in LEFT_BEHIND and folder.name[0] not in "._"
        if not folder.name.endswith(".egg-info") and any(folder.iterdir())
    ]
    assert sorted(listed) == sorted(there)


def commands() -> Iterator[tuple[str, str, str]]:
    """Page, method and path of every curl on the pages that goes to the service's own port."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"curl [^\n`]*localhost:8000[^\n`]*", text):
            path = re.search(r"localhost:8000(/[^\s\"]*)", line)
            assert path, line
            sends = re.search(r" (-F|-d|-X POST) ", line)
            yield page.name, "POST" if sends else "GET", path[1]


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The transformer's routes, with nothing behind them."""
    nothing: Any = None
    app = build_app()
    app.include_router(
        rest_routes(
            Rooms(nothing, nothing, nothing, nothing, nothing, Settings(), nothing, nothing)
        )
    )
    app.include_router(v1_routes(nothing, V1_PREDICT, V1_EXPLAIN))
    app.include_router(v2_routes(nothing, nothing))
    add_probes(app, nothing)
    app.add_api_route("/metrics", lambda: None)
    return app


@pytest.mark.parametrize(("page", "method", "path"), sorted(set(commands())))
def test_every_curl_goes_to_a_route(app: FastAPI, page: str, method: str, path: str) -> None:
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    assert Match.FULL in [route.matches(scope)[0] for route in app.routes]


def test_every_documented_call_has_a_curl(app: FastAPI) -> None:
    shown = {path.replace("/ctscan", "/{model_name}") for _, _, path in commands()}
    assert set(app.openapi()["paths"]) - shown == set()


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_variable_at_its_shown_default_changes_nothing(name: str) -> None:
    default = generate.defaults().get(name)
    config = {"CONFIG_PATH": str(ROOT / "configs" / "config.yaml")}
    assert f"| `{name}` |" in text_of("docs/configuration.md")
    if default is None or name == "CONFIG_PATH":
        return
    assert read_settings({**config, name: default}) == read_settings(config)


def test_migration_names_what_the_old_script_had() -> None:
    page = text_of("docs/migration.md")
    old = [*ENVIRONMENT][:5]
    old += ["prediction_error", "system_cpu_percent", "system_memory_percent", "process_rss_bytes"]
    old += ["uvicorn", "invoke api", "docker build", "docker run", "dual_pathway", ".ckpt"]
    assert [name for name in old if name not in page] == []


@pytest.mark.parametrize(
    ("call", "keys"),
    [("/predict", [item.name for item in fields(Prediction)]), ("/health", Health.model_fields)],
)
def test_migration_names_every_key_of_an_answer(call: str, keys: Iterable[str]) -> None:
    (row,) = re.findall(rf"^\| `{call}` \|.*", text_of("docs/migration.md"), re.MULTILINE)
    assert [key for key in keys if f"`{key}`" not in row] == []


def test_the_columns_of_the_drift_log_are_on_both_pages() -> None:
    flowing = " ".join(text_of("docs/migration.md").split())
    assert f"a CSV with the columns `{', '.join(COLUMNS)}`." in flowing
    assert HEADER.decode() in text_of("docs/api.md")


class NotingReader:
    """An API server that knows nothing and notes what it is asked for."""

    where = "nowhere"

    def __init__(self) -> None:
        self.paths: list[str] = []

    def read(self, path: str, **_: str) -> bytes:
        self.paths.append(path)
        return b'{"gitVersion": "v1.34.4", "resources": []}'


def test_the_rights_on_the_doctors_page_are_those_of_its_look_ups() -> None:
    reader = NotingReader()
    for name, look_up in inspect.getmembers(Cluster(reader), inspect.ismethod):
        if not name.startswith("_"):
            look_up(*inspect.signature(look_up).parameters)
    needed = {
        ("get" if found[3] else "list", found[2] + (found[4] or ""), bool(found[1]))
        for found in map(RESOURCE.fullmatch, reader.paths)
        if found
    }
    rows = re.findall(
        r"^\| `(get|list)` \| (.+?) \| (.+?) \|", text_of("docs/doctor.md"), re.MULTILINE
    )
    shown = {
        (verb, resource, where != "everywhere")
        for verb, resources, where in rows
        for resource in re.findall(r"`(.+?)`", resources)
    }
    assert shown == needed


@pytest.mark.parametrize("kind", DOORS, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_table_of_the_api_page(kind: type[Exception]) -> None:
    assert f"| `{kind.__name__}` |" in text_of("docs/api.md")


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_json_on_a_page_can_be_read(page: str) -> None:
    assert [json.loads(block) for block in blocks(page, "json")]


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_the_shown_answer_has_the_fields_of_a_prediction(page: str) -> None:
    answers = [json.loads(block) for block in blocks(page, "json")]
    (shown,) = [it for it in answers if "pred_index" in it and "grid" not in it]
    assert list(shown) == [item.name for item in fields(Prediction)]
    assert shown["probabilities"][shown["pred_class"]] == shown["confidence"]
    assert [*shown["probabilities"]].index(shown["pred_class"]) == shown["pred_index"]


def test_the_shown_explanation_has_its_fields_and_adds_up() -> None:
    answers = [json.loads(block) for block in blocks("docs/api.md", "json")]
    (shown,) = [it for it in answers if "grid" in it]
    assert list(shown) == [item.name for item in fields(Explanation)]
    bias = re.search(r"the weights, (-?[\d.]+) here", text_of("docs/api.md"))
    assert bias
    # Every figure is rounded by half a unit of its fourth decimal at most.
    rounding = 0.5e-4 * (np.size(shown["grid"]) + 2)
    assert np.sum(shown["grid"]) + float(bias[1]) == pytest.approx(shown["logit"], abs=rounding)


def test_the_readme_shows_an_answer_of_the_weights_in_the_repository() -> None:
    (answer,) = blocks("README.md", "json")
    card = read_card(ROOT / "models" / "model.yaml")
    assert json.loads(answer)["model"] == {"name": card.name, "version": card.version}
    assert card.provisional == ("provisional" in text_of("README.md"))


def test_every_answer_shown_is_of_the_weights_in_the_repository() -> None:
    card = read_card(ROOT / "models" / "model.yaml")
    shown = re.findall(r'"(?:model_)?version": "([0-9a-f]{12})"', text_of("docs/api.md"))
    assert len(shown) > 2
    assert set(shown) == {card.version}


def test_the_shown_v2_answer_has_the_outputs() -> None:
    answers = [json.loads(block) for block in blocks("docs/api.md", "json")]
    (shown,) = [it for it in answers if "outputs" in it]
    found = {out["name"]: (out["datatype"], len(out["shape"])) for out in shown["outputs"]}
    specs = output_specs()
    assert found == {name: (spec.datatype, len(spec.shape)) for name, spec in specs.items()}


def test_the_shown_grpc_message_is_one_of_the_protocol() -> None:
    (message,) = [it for it in blocks("docs/api.md", "json") if "bytes_contents" in it]
    request = json_format.Parse(message, pb.ModelInferRequest())
    assert request.inputs[0].contents.bytes_contents[0].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name
)
def test_every_page_says_what_the_service_is_not(page: Path) -> None:
    flowing = " ".join(page.read_text(encoding="utf-8").lower().split())
    assert DISCLAIMER.lower().rstrip(".") in flowing
