"""Logs as JSON lines on standard error, each with the id of the request it belongs to."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from serving.request import CURRENT

_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request_id and what `extra` adds.

    An exception is kept as the name of its type: its text can quote what a client sent.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = CURRENT.get()
        if request is not None:
            line["request_id"] = request.id
        line.update({key: val for key, val in record.__dict__.items() if key not in _STANDARD})
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line, default=str)


def configure_logs(service: str, level: str) -> None:
    """Send every logger of this process through one handler; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("serving", "predictor", "transformer"):
        logging.getLogger(name).setLevel(level)
    for name in ("kserve", "kserve.trace", "uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.WARNING)
    # Deprecations inside libraries are for our tests, not for operators.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    # The SDK writes its own trace of every failed call, with the text of the exception.
    logging.getLogger("kserve").setLevel(logging.CRITICAL)
    # Its warnings are about bodies that clients get an answer for.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
