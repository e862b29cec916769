"""`ctscan predict`, against a running service and with a pair of its own."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tests.contract.services import ROOT, Pair, free_address, write_config, write_weights
from tests.environment import inherited


@pytest.fixture
def folder(tmp_path: Path, slices: list[bytes]) -> Path:
    """Two slices, one of them deeper down, a text file, and an image that is none."""
    (tmp_path / "study" / "deeper").mkdir(parents=True)
    (tmp_path / "study" / "a.png").write_bytes(slices[0])
    (tmp_path / "study" / "deeper" / "b.PNG").write_bytes(slices[1])
    (tmp_path / "study" / "notes.txt").write_text("no image")
    return tmp_path / "study"


def predict(
    *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ctscan", "predict", *map(str, arguments)],
        cwd=ROOT,
        env={**inherited(), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_folder_as_json(pair: Pair, folder: Path) -> None:
    done = predict(folder, "--url", pair.url, "--output", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["file"] for row in rows] == [
        str(folder / "a.png"),
        str(folder / "deeper" / "b.PNG"),
    ]
    for row in rows:
        assert row["model.version"] == pair.card.version
        assert row["confidence"] == row[f"probabilities.{row['pred_class']}"]


def test_a_bad_file_fails_alone_and_shows_in_the_exit_status(pair: Pair, folder: Path) -> None:
    (folder / "c.png").write_bytes(b"no image")
    done = predict(
        folder, folder / "notes.txt", folder / "none.png", "--url", pair.url, "--output", "csv"
    )
    assert done.returncode == 1
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [bool(row["error"]) for row in rows] == [False, True, False, True, True]
    assert [bool(row["pred_class"]) for row in rows] == [True, False, True, False, False]
    assert "no image of a known format" in rows[1]["error"]
    assert "cannot be read" in rows[4]["error"]


def test_a_table_for_people(pair: Pair, folder: Path) -> None:
    done = predict(folder / "a.png", "--url", f"{pair.url}/")
    assert done.returncode == 0
    assert "a.png" in done.stdout
    assert "carcinoma" in done.stdout or "normal" in done.stdout
    assert "%" in done.stdout
    assert "classifying" not in done.stdout


def test_nobody_at_the_address(folder: Path) -> None:
    done = predict(folder / "a.png", "--url", f"http://{free_address()}", "--output", "json")
    assert done.returncode == 1
    assert "no answer" in json.loads(done.stdout)[0]["error"]
    assert "Traceback" not in done.stderr


def test_a_pair_of_its_own_is_started_and_stopped(tmp_path: Path, folder: Path) -> None:
    weights, card = write_weights(tmp_path / "models")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {
        "TMPDIR": str(temporary),
        "CONFIG_PATH": str(write_config(tmp_path / "config.yaml")),
        "MODEL_PATH": str(weights),
        "FEEDBACK_DIR": str(tmp_path / "feedback"),
        "DRIFT_CURRENT_PATH": str(tmp_path / "drift.csv"),
        "LOAD_MODEL": "0",
    }
    done = predict(folder, "--output", "json", environment=environment)
    assert done.returncode == 0, done.stderr
    assert {row["model.version"] for row in json.loads(done.stdout)} == {card.version}
    assert '"message"' not in done.stderr
    # They may be those of a service beside it.
    assert not (tmp_path / "drift.csv").exists()
    assert not (tmp_path / "feedback").exists()
    assert [path.name for path in temporary.iterdir()] == []
    assert not [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("MODEL_PATH") == str(weights)
    ]


def test_a_pair_of_its_own_that_cannot_start_is_one_line(tmp_path: Path, folder: Path) -> None:
    environment = {"CONFIG_PATH": str(tmp_path / "none.yaml")}
    done = predict(folder, environment=environment)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("ctscan: ")
    assert "none.yaml" in line
