import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from serving.logs import JsonLines, configure_logs
from serving.request import CURRENT, Request

LIBRARIES = (
    *("kserve", "kserve.trace", "uvicorn", "uvicorn.error", "uvicorn.access"),
    *("py.warnings", "python_multipart"),
)
OURS = ("serving", "predictor", "transformer")


def line(**fields: object) -> dict[str, object]:
    record = logging.makeLogRecord({"name": "serving.x", "levelname": "INFO", **fields})
    written = JsonLines("predictor").format(record)
    assert "\n" not in written
    parsed: dict[str, object] = json.loads(written)
    return parsed


def test_a_record_is_one_json_object_with_time_level_service_and_logger() -> None:
    parsed = line(msg="took %d ms", args=(5,), created=0.25)
    assert parsed == {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "INFO",
        "service": "predictor",
        "logger": "serving.x",
        "message": "took 5 ms",
    }


def test_a_message_of_several_lines_stays_one_line() -> None:
    assert line(msg='first\nsecond "quoted" ü')["message"] == 'first\nsecond "quoted" ü'


def test_what_extra_adds_is_kept_and_what_is_no_json_becomes_text() -> None:
    parsed = line(msg="request", status=413, at=["a.py:1"], path=ValueError)
    assert (parsed["status"], parsed["at"]) == (413, ["a.py:1"])
    assert parsed["path"] == "<class 'ValueError'>"


def test_a_record_names_the_request_it_belongs_to() -> None:
    assert "request_id" not in line(msg="x")
    token = CURRENT.set(Request("abc", 0.0))
    try:
        assert line(msg="x")["request_id"] == "abc"
    finally:
        CURRENT.reset(token)


def test_an_exception_is_kept_by_the_name_of_its_type_alone() -> None:
    error = ValueError("scan of Jane Doe")
    parsed = line(msg="failed", exc_info=(ValueError, error, None))
    assert parsed["exception"] == "ValueError"
    assert "Jane" not in str(parsed)


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    named = [logging.getLogger(name) for name in (*LIBRARIES, *OURS)]
    before = [(item, item.level, item.handlers[:], item.propagate) for item in named]
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for item, its_level, its_handlers, propagate in before:
        item.setLevel(its_level)
        item.handlers[:] = its_handlers
        item.propagate = propagate


@pytest.mark.usefixtures("_logging_restored")
def test_everything_speaks_through_one_handler_and_libraries_only_when_it_matters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger("uvicorn.access").addHandler(logging.StreamHandler())
    configure_logs("transformer", "INFO")
    logging.getLogger("transformer.rest").debug("not asked for")
    logging.getLogger("transformer.rest").info("ours")
    logging.getLogger("uvicorn.access").info("GET /readyz 200")
    logging.getLogger("uvicorn.error").error("theirs")
    logging.getLogger("kserve.trace").info("preprocess_ms: 1")
    logging.getLogger("kserve").error("text of an exception")
    logging.getLogger("python_multipart.multipart").warning("Expected boundary character")
    logging.getLogger("httpx").info("GET http://predictor/card")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [json.loads(text) for text in captured.err.splitlines()]
    assert [(item["message"], item["service"]) for item in lines] == [
        ("ours", "transformer"),
        ("theirs", "transformer"),
    ]


@pytest.mark.usefixtures("_logging_restored")
def test_debug_shows_our_own_debug_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("predictor", "DEBUG")
    logging.getLogger("predictor.engine").debug("warm")
    logging.getLogger("asyncio").debug("noise")
    assert [json.loads(text)["message"] for text in capsys.readouterr().err.splitlines()] == [
        "warm"
    ]
