import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ctscan.__main__ import main
from ctscan.predict import OUTPUTS, TRIES, as_table, columns, flat, image_files, predict_files
from serving.settings import ConfigError

GOOD = {"pred_index": 3, "pred_class": "normal", "confidence": 0.9, "model": {"name": "ctscan"}}
Answer = tuple[int, dict[str, str], bytes]


class Script:
    """A service that gives the answers it was handed, then good ones."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.calls = 0
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                script.calls += 1
                good: Answer = (200, {}, json.dumps(GOOD).encode())
                status, headers, body = script.answers.pop(0) if script.answers else good
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    thread = threading.Thread(target=script.server.serve_forever, args=(0.01,))
    thread.start()
    yield script
    script.server.shutdown()
    thread.join()
    script.server.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were asked to pass; none does."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    return path


def busy(status: int, wait: str) -> Answer:
    return status, {"retry-after": wait}, json.dumps({"detail": "come back"}).encode()


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_when_it_says(
    script: Script,
    waits: list[float],
    file: Path,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    script.answers = [busy(status, "2"), busy(status, "7")]
    assert predict_files([file], script.url, "json", {}) == 0
    assert waits == [2.0, 7.0]
    (row,) = json.loads(capsys.readouterr().out)
    assert row["pred_class"] == "normal"


def test_a_service_that_stays_busy_is_given_up(
    script: Script, waits: list[float], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.answers = [busy(503, "1")] * 20
    assert predict_files([file], script.url, "json", {}) == 1
    assert script.calls == TRIES
    (row,) = json.loads(capsys.readouterr().out)
    assert row["error"] == "come back"


@pytest.mark.parametrize(
    ("wait", "seconds"), [("Wed, 21 Oct 2026 07:28:00 GMT", 1.0), ("86400", 30.0), ("-1", 1.0)]
)
def test_no_wait_is_odd_or_endless(
    script: Script, waits: list[float], file: Path, wait: str, seconds: float
) -> None:
    script.answers = [busy(503, wait)]
    assert predict_files([file], script.url, "json", {}) == 0
    assert waits == [seconds]


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (200, b"[]"), (404, b"no"), (200, b"{}"), (500, b"[1]")]
)
def test_another_service_at_the_address_is_a_failure(
    script: Script, file: Path, capsys: pytest.CaptureFixture[str], status: int, body: bytes
) -> None:
    script.answers = [(status, {}, body)]
    assert predict_files([file], script.url, "json", {}) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert "is this a ctscan service?" in row["error"]


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_detail_that_is_no_text_is_shown(
    script: Script, file: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    detail = [{"loc": ["body", "image"], "msg": "Field required"}]
    script.answers = [(422, {}, json.dumps({"detail": detail}).encode())]
    assert predict_files([file], script.url, output, {}) == 1
    assert "Field required" in capsys.readouterr().out


def test_rows_keep_the_order_of_the_files(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.png").write_bytes(b"pixels")
    assert predict_files([tmp_path], script.url, "json", {}) == 0
    names = [Path(row["file"]).name for row in json.loads(capsys.readouterr().out)]
    assert names == [f"{number:02}.png" for number in range(20)]


def test_a_dicom_file_is_found_whatever_its_name(tmp_path: Path) -> None:
    dicom = bytes(128) + b"DICM"
    for name in ("IM0001", "1.2.840.113619", "a.dcm", "DICOMDIR"):
        (tmp_path / name).write_bytes(dicom)
    for name, data in (("notes", b"xDICM" * 40), ("short", b"DICM"), ("b.DCM", b"pixels")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    found = [it.name for it in image_files(tmp_path)]
    assert found == ["1.2.840.113619", "IM0001", "a.dcm", "b.DCM"]


def test_standard_output_holds_rows_alone(
    script: Script, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict_files([file], script.url, "csv", {})
    header, row = capsys.readouterr().out.splitlines()
    assert header.split(",")[0] == "file"
    assert header.split(",")[-1] == "error"
    assert row.startswith(str(file))


def test_a_name_is_shown_as_it_is(
    script: Script,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert predict_files([Path("[red]x[bold].png")], script.url, "table", {}) == 1
    assert "[red]x[bold].png" in capsys.readouterr().out


def test_an_unreadable_file_is_never_sent(script: Script, tmp_path: Path) -> None:
    assert predict_files([tmp_path / "none.png"], script.url, "json", {}) == 1
    assert script.calls == 0


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ConfigError, match="no image files"):
        predict_files([tmp_path], "http://127.0.0.1:1", "json", {})


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "//localhost:8000",
        "http://host:port",
        "http://host:65536",
        "http://1.2.3.256",
        "http://[::1",
        "http://host:80\n",
    ],
)
def test_a_url_that_is_none_is_one_line(
    file: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(file), "--url", url])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f"argument --url: {url!r} is no address, expected http://host:port")


def test_a_file_named_by_hand_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    assert list(image_files(tmp_path / "scan.dat")) == [tmp_path / "scan.dat"]


def test_nested_objects_become_columns() -> None:
    assert flat({"a": 1, "b": {"c": 2, "d": {"e": 3}}}) == {"a": 1, "b.c": 2, "b.d.e": 3}


def test_columns_are_those_of_all_rows_and_error_last() -> None:
    assert columns([{"file": "x", "error": "y"}, {"file": "z", "new": 1}]) == [
        "file",
        "new",
        "error",
    ]


def test_an_interrupt_is_no_traceback(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ctscan.command.predict_files", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(file)])
    assert ended.value.code == 130


def test_the_table_has_a_line_for_each_reason() -> None:
    row = {"file": "a.png", "pred_class": "normal", "confidence": 0.5, "decision": "abstain"}
    lines = as_table([{**row, "reasons": ["colour", "normal_unvalidated"]}]).splitlines()
    found = [line for line in lines if "colour" in line or "normal_unvalidated" in line]
    assert len(found) == 2
    assert "abstain" in found[0]


def test_a_service_without_a_gate_has_a_table_too() -> None:
    assert "normal" in as_table([{"file": "a.png", "pred_class": "normal", "confidence": 0.5}])
