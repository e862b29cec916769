"""The drift log: one CSV row a prediction, written by a thread beside the request path.

Rows wait in a bounded queue and are written twice a second at most. What cannot be written is
dropped and counted; a request never waits and never fails because of it.
"""

import csv
import errno
import io
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from serving.settings import Drift
from transformer.gate import Evidence
from transformer.prediction import Prediction

logger = logging.getLogger(__name__)

WRITE_EVERY_S = 0.5
COMPLAIN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class DriftRow:
    """One prediction; the fields are the columns, in their order."""

    timestamp: str
    mean: float
    std: float
    min: float
    max: float
    p01: float
    p50: float
    p99: float
    height: int
    width: int
    pred_index: int
    pred_class: str
    pred_conf: float
    decision: str
    reasons: str
    distance: float | None

    @classmethod
    def of(cls, evidence: Evidence, prediction: Prediction, timestamp: datetime) -> "DriftRow":
        """The row of one prediction; its reasons are joined by semicolons, which need no quotes."""
        left_out = ("histogram", "colour_share")
        measured = vars(evidence.statistics).items()
        return cls(
            timestamp=timestamp.astimezone(UTC).isoformat(timespec="milliseconds"),
            pred_index=prediction.pred_index,
            pred_class=prediction.pred_class,
            pred_conf=prediction.confidence,
            decision=prediction.decision,
            reasons=";".join(prediction.reasons),
            distance=evidence.distance,
            **{key: value for key, value in measured if key not in left_out},
        )


# For the rows of the last second on a volume that hangs: drain and grace are over by then, and
# Kubernetes ends the pod soon after.
LAST_ROWS_S = 5.0

COLUMNS = tuple(column.name for column in fields(DriftRow))
HEADER = (",".join(COLUMNS) + "\n").encode()


class DriftLog:
    """Appends rows to `path`; `on_dropped` is called with the number of rows that were lost."""

    def __init__(
        self,
        path: Path,
        settings: Drift,
        *,
        on_dropped: Callable[[int], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._path = path
        self._settings = settings
        self._on_dropped = on_dropped
        self._clock = clock
        self._complained_at = datetime.min.replace(tzinfo=UTC)
        self._rows: list[DriftRow] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def append(self, row: DriftRow) -> None:
        """Hand a row over; dropped and counted when the queue is full or the log is closed."""
        with self._changed:
            accepted = len(self._rows) < self._settings.queue_rows and not self._closing.is_set()
            if accepted:
                self._rows.append(row)
                # The thread sleeps only while nothing waits; one wake-up serves a whole batch.
                if len(self._rows) == 1:
                    self._changed.notify()
        if not accepted:
            self._on_dropped(1)

    def close(self, timeout_s: float) -> None:
        """Write what waits and end the thread, within `timeout_s` seconds."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(lambda: self._rows or self._closing.is_set())
            self._closing.wait(WRITE_EVERY_S)
            with self._changed:
                # Read under the lock: once it is set no further row is taken in.
                closing = self._closing.is_set()
                rows, self._rows = self._rows, []
            if rows:
                self._write(rows)

    def _write(self, rows: Sequence[DriftRow]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(astuple(row) for row in rows)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _append(self._path, text.getvalue().encode(), self._settings)
        except OSError as error:
            if self._clock() - self._complained_at >= COMPLAIN_EVERY:
                self._complained_at = self._clock()
                logger.error("drift log %s cannot be written: %s", self._path, error.strerror)
            self._on_dropped(len(rows))


def _append(path: Path, block: bytes, settings: Drift) -> None:
    """Append whole lines. The file is opened for each batch: it may have been moved meanwhile."""
    size = _repair(path, settings.keep_files)
    if size > len(HEADER) and size + len(block) > settings.rotate_bytes:
        _rotate(path, settings.keep_files)
        size = 0
    if size == 0:
        block = HEADER + block
    with path.open("ab", buffering=0) as file:
        written = file.write(block)
        if written != len(block):
            file.truncate(size)
            raise OSError(errno.ENOSPC, "the disk is full")


def _repair(path: Path, keep_files: int) -> int:
    """Cut off a line that a crash tore, move away a file of other columns; the size left."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        first = file.readline(len(HEADER))
        if first == HEADER:
            return _cut_torn_line(file)
        if HEADER.startswith(first):
            file.truncate(0)
            return 0
    _rotate(path, keep_files)
    return 0


def _cut_torn_line(file: io.BufferedRandom) -> int:
    end = position = file.seek(0, io.SEEK_END)
    while True:
        position = max(0, position - 4096)
        file.seek(position)
        newline = file.read(4096).rfind(b"\n")
        # The header ends in one, so there is always a newline to find.
        if newline >= 0:
            whole = position + newline + 1
            if whole < end:
                file.truncate(whole)
            return whole


def _rotate(path: Path, keep_files: int) -> None:
    """Rename `path` to `path.1` and so on; the oldest is overwritten."""
    if keep_files == 0:
        path.unlink()
        return
    names = [path, *(path.with_name(f"{path.name}.{number + 1}") for number in range(keep_files))]
    for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
        if newer.exists():
            newer.replace(older)
