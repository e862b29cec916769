"""Rules of the house that neither the linter nor import-linter can state."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("serving", "predictor", "transformer", "training", "ctscan")
JUNK_ROOMS = {"utils", "util", "helpers", "helper", "common", "misc"}


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def _environment_lines(source: str) -> list[int]:
    """Lines that mention the process's environment, however `os` was imported."""
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.ImportFrom) and names & {alias.name for alias in node.names})
    ]


def test_only_settings_and_mains_look_at_the_environment() -> None:
    settings = ROOT / "serving" / "settings.py"
    sources = list(_sources())
    assert settings in sources
    readers = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources
        if path != settings and path.name != "__main__.py"
        for line in _environment_lines(path.read_text(encoding="utf-8"))
    ]
    assert readers == []


@pytest.mark.parametrize(
    "source",
    ["import os\nos.environ['PORT']", "import os as o\no.getenv('PORT')", "from os import environ"],
)
def test_every_way_to_the_environment_is_seen(source: str) -> None:
    assert _environment_lines(source)


def test_no_file_or_folder_is_a_junk_room() -> None:
    folders = (*PACKAGES, "tests", "benchmarks", "docs")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    assert Path(__file__) in paths
    assert [path for path in paths if path.stem.lower() in JUNK_ROOMS] == []


@pytest.mark.parametrize(
    ("program", "libraries"),
    [
        ("transformer.__main__", ["torch", "pandas", "kubernetes", "rich"]),
        ("ctscan.__main__", ["torch"]),
        ("ctscan.command", ["kubernetes"]),
        ("predictor.server", ["PIL", "pandas", "kubernetes", "rich"]),
        # Half a second of imports that nobody needs, and a second while the engine warms up.
        ("predictor.__main__", ["torch._meta_registrations", "kserve"]),
    ],
)
def test_a_program_starts_without_the_libraries_of_others(
    program: str, libraries: list[str]
) -> None:
    # A process of its own, for what a third library pulls in counts as well.
    question = f"import sys, {program}; print([it for it in {libraries!r} if it in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", question], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["[]"]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_help_lists_every_target_that_is_called_by_name() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (phony,) = re.findall(r"^\.PHONY:(.*)$", text, re.MULTILINE)
    answer = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make (\S+) +\S", answer.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())
