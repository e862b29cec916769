"""`ctscan predict`: files through a service, as a table, JSON or CSV."""

import csv
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ctscan.pair import Pair, ready
from serving.listen import bind
from serving.settings import ConfigError, read_settings

OUTPUTS = ("table", "json", "csv")
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm", ".dicom"}
# The four letters that make a file DICOM, and where they stand.
DICOM, DICOM_AT = b"DICM", 128
DICOM_INDEX = "DICOMDIR"
AT_A_TIME = 8
TRIES = 5
LONGEST_WAIT_S = 30.0
# Columns of a table that no terminal shows: wide enough that nothing is broken into lines.
WIDE = 1000

Row = dict[str, Any]


def predict_files(
    paths: Sequence[Path], url: str | None, output: str, environment: Mapping[str, str]
) -> int:
    """Classify every file and print one row for each; 1 if any failed, else 0.

    Raises:
        ConfigError: there is nothing to classify, or no service can be started.
        StartFailed: a process ended before it was ready.
    """
    files = [file for path in paths for file in image_files(path)]
    if not files:
        raise ConfigError("no image files found in the given paths")
    with service(url, environment) as base_url:
        rows = classify(files, base_url)
    print(RENDER[output](rows), end="")
    return 1 if any("error" in row for row in rows) else 0


def image_files(path: Path) -> list[Path]:
    """The file itself, or every image below a folder, in order."""
    if path.is_dir():
        return sorted(it for it in path.rglob("*") if is_image_file(it))
    return [path]


def is_image_file(path: Path) -> bool:
    """Whether a file has an image's suffix or begins like DICOM, whose names often have none."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file() or path.name == DICOM_INDEX:
        return False
    try:
        with path.open("rb") as file:
            return file.read(DICOM_AT + len(DICOM))[DICOM_AT:] == DICOM
    except OSError:
        return False


@contextmanager
def service(url: str | None, environment: Mapping[str, str]) -> Iterator[str]:
    """The address of the running service, or of one that lives as long as the block."""
    if url is not None:
        yield url
        return
    http, grpc = free_address(), free_address()
    # A service beside this one may be writing where the environment says.
    with tempfile.TemporaryDirectory(prefix="ctscan-") as folder:
        own = {
            **environment,
            "HTTP_ADDRESS": http,
            "GRPC_ADDRESS": grpc,
            "LOAD_MODEL": "1",
            "FEEDBACK_DIR": f"{folder}/feedback",
            "DRIFT_CURRENT_PATH": f"{folder}/drift.csv",
        }
        read_settings(own)
        with Pair(own, http) as pair:
            pair.wait_until(ready, lambda: True)
            yield pair.url


def free_address() -> str:
    """A loopback address that was free a moment ago."""
    listener = bind("127.0.0.1:0")
    host, port = listener.getsockname()
    listener.close()
    return f"{host}:{port}"


def classify(files: Sequence[Path], base_url: str) -> list[Row]:
    """One row for each file, in order; the bar is drawn on standard error."""
    with (
        httpx.Client(base_url=base_url, timeout=60.0, trust_env=False) as client,
        ThreadPoolExecutor(AT_A_TIME) as threads,
        Progress(console=Console(file=sys.stderr), transient=True) as progress,
    ):
        bar = progress.add_task("classifying", total=len(files))
        rows = []
        for row in threads.map(lambda file: classify_one(client, file), files):
            rows.append(row)
            progress.advance(bar)
    return rows


def classify_one(client: httpx.Client, file: Path) -> Row:
    """The service's answer for one file, flat; a failure has the key `error`."""
    try:
        data = file.read_bytes()
    except OSError as error:
        return {"file": str(file), "error": f"cannot be read: {error.strerror}"}
    for attempt in range(TRIES):
        try:
            answer = client.post("/predict", files={"file": ("image", data)})
        except httpx.HTTPError as error:
            return {"file": str(file), "error": f"no answer: {type(error).__name__}"}
        wait = answer.headers.get("retry-after")
        if wait is None or attempt == TRIES - 1:
            break
        # The other form that HTTP permits is a date.
        time.sleep(min(float(wait), LONGEST_WAIT_S) if wait.isdigit() else 1.0)
    return {"file": str(file), **flat(body_of(answer))}


def body_of(answer: httpx.Response) -> Row:
    """The prediction, or what went wrong."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    if answer.status_code == 200 and "pred_class" in body:
        return body
    said = body.get("detail", f"status {answer.status_code}, is this a ctscan service?")
    # Another service's detail may be a list of objects, FastAPI's for one.
    return {"error": said if isinstance(said, str) else json.dumps(said)}


def flat(values: Mapping[str, Any], prefix: str = "") -> Row:
    """Nested objects as dotted keys, so that a new field is a new column by itself."""
    row: Row = {}
    for key, value in values.items():
        if isinstance(value, dict):
            row.update(flat(value, f"{prefix}{key}."))
        else:
            row[prefix + key] = value
    return row


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps(rows, indent=2) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: as_cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def as_cell(value: object) -> object:
    """A list as one cell of a table, joined by semicolons; anything else as it is."""
    return ";".join(map(str, value)) if isinstance(value, list) else value


def as_table(rows: Sequence[Row]) -> str:
    table = Table("file", "class", "confidence", "decision", "reasons or problem")
    for row in rows:
        share = f"{row['confidence']:.1%}" if "confidence" in row else ""
        why = row.get("error", "\n".join(row.get("reasons", [])))
        cells = (row["file"], row.get("pred_class", ""), share, row.get("decision", ""), why)
        # Without markup: a file may be called [red].png.
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(file=io.StringIO(), width=None if sys.stdout.isatty() else WIDE)
    console.print(table)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def columns(rows: Sequence[Row]) -> list[str]:
    """Every key that occurs, in order of first sight; `error` always last."""
    seen = dict.fromkeys(key for row in rows for key in row)
    seen.pop("error", None)
    return [*seen, "error"]


RENDER = {"table": as_table, "json": as_json, "csv": as_csv}
