"""The examples of the pages, run as they stand against running services."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.services import ROOT, Pair
from tests.test_docs import blocks

PAGE = "docs/api.md"
TIMEOUT_S = 120.0


def called(example: str) -> str:
    """A name for an example: the addresses in it."""
    return re.sub(r"\W+", "-", " ".join(re.findall(r"localhost:\S+", example)))[:60]


def at_running_services(example: str, pair: Pair) -> str:
    """The example with the addresses of these services in place of the default ones."""
    addresses = {
        "localhost:8000": pair.url.removeprefix("http://"),
        "localhost:8001": pair.transformer.grpc_address,
        "localhost:9000": pair.predictor.http_address,
        "localhost:9001": pair.predictor.grpc_address,
    }
    for default, address in addresses.items():
        example = example.replace(default, address)
    return example


def run(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


@pytest.mark.parametrize("example", blocks(PAGE, "sh"), ids=called)
def test_a_shell_example_runs(example: str, explaining: Pair) -> None:
    # Every curl fails the example where the service answers with an error.
    script = at_running_services(example, explaining).replace("curl ", "curl -sSf ")
    done = run(["bash", "-euo", "pipefail", "-c", script])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize("example", blocks(PAGE, "python"), ids=called)
def test_a_python_example_runs(example: str, explaining: Pair, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(at_running_services(example, explaining), encoding="utf-8")
    done = run([sys.executable, str(program)])
    assert done.returncode == 0, done.stderr
    assert done.stdout
