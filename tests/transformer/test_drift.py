import csv
import logging
import resource
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from serving.settings import Drift
from transformer import drift
from transformer.drift import COLUMNS, DriftLog, DriftRow
from transformer.gate import Evidence
from transformer.prediction import ModelVersion, Prediction
from transformer.statistics import Statistics

OLD_HEADER = "timestamp,mean,std,min,max,p01,p50,p99,height,width,pred_index,pred_class,pred_conf\n"
HEADER = OLD_HEADER[:-1] + ",decision,reasons,distance\n"
STATISTICS = Statistics(
    mean=70.25,
    std=60.5,
    min=0.0,
    max=255.0,
    p01=1.0,
    p50=64.5,
    p99=231.75,
    height=512,
    width=400,
    histogram=(0,) * 256,
    colour_share=0.0,
)
PREDICTION = Prediction(
    pred_index=3,
    pred_class="normal",
    confidence=0.875,
    probabilities={},
    decision="abstain",
    reasons=["far_from_training", "normal_unvalidated"],
    prediction_id="5f0c7c1e2d3b4a59",
    model=ModelVersion("ctscan", "0f3a9c1d2b4e"),
)
NOON = datetime(2026, 3, 1, 13, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))


def row(number: int = 3) -> DriftRow:
    evidence = Evidence(STATISTICS, distance=0.25)
    return DriftRow.of(evidence, replace(PREDICTION, pred_index=number), NOON)


class Dropped:
    """Counts what is dropped and lets a test wait for it."""

    def __init__(self) -> None:
        self.rows = 0
        self.happened = threading.Event()

    def __call__(self, rows: int) -> None:
        self.rows += rows
        self.happened.set()

    def wait(self) -> None:
        assert self.happened.wait(10)
        self.happened.clear()


Open = Callable[..., DriftLog]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "drift" / "current.csv"


@pytest.fixture
def dropped() -> Dropped:
    return Dropped()


@pytest.fixture
def open_log(path: Path, dropped: Dropped, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Starts logs that write at once, and ends them after the test."""
    monkeypatch.setattr(drift, "WRITE_EVERY_S", 0.0)
    logs: list[DriftLog] = []

    def make(
        settings: Drift | None = None, clock: Callable[[], datetime] = lambda: NOON
    ) -> DriftLog:
        log = DriftLog(path, settings or Drift(), on_dropped=dropped, clock=clock)
        logs.append(log)
        log.start()
        return log

    yield make
    for log in logs:
        log.close(timeout_s=10)


def write(log: DriftLog, *numbers: int) -> None:
    """Append rows and wait until they are written."""
    for number in numbers:
        log.append(row(number))
    log.close(timeout_s=10)


def numbers(path: Path) -> list[int]:
    with path.open(newline="") as file:
        return [int(line["pred_index"]) for line in csv.DictReader(file)]


def test_a_row_is_the_statistics_and_the_prediction_in_utc(open_log: Open, path: Path) -> None:
    write(open_log(), 3)
    assert path.read_text() == HEADER + (
        "2026-03-01T12:00:00.250+00:00,70.25,60.5,0.0,255.0,1.0,64.5,231.75,512,400,3,normal,0.875,"
        "abstain,far_from_training;normal_unvalidated,0.25\n"
    )


def test_what_was_not_measured_and_no_reasons_are_empty(open_log: Open, path: Path) -> None:
    log = open_log()
    log.append(DriftRow.of(Evidence(STATISTICS), replace(PREDICTION, reasons=[]), NOON))
    log.close(timeout_s=10)
    assert path.read_text().endswith(",abstain,,\n")


def test_a_row_reaches_the_file_without_a_further_call(
    open_log: Open, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    written = threading.Event()
    real = drift._append

    def append(path: Path, block: bytes, settings: Drift) -> None:
        real(path, block, settings)
        written.set()

    monkeypatch.setattr(drift, "_append", append)
    open_log().append(row(7))
    assert written.wait(10)
    assert numbers(path) == [7]


def test_rows_are_on_disk_within_a_second() -> None:
    assert drift.WRITE_EVERY_S <= 0.5


def test_closing_writes_what_waits_in_order(open_log: Open, path: Path, dropped: Dropped) -> None:
    write(open_log(), *range(500))
    assert numbers(path) == list(range(500))
    assert dropped.rows == 0


def test_rows_of_many_threads_all_arrive(open_log: Open, path: Path) -> None:
    log = open_log()

    def append_many() -> None:
        for number in range(100):
            log.append(row(number))

    threads = [threading.Thread(target=append_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close(timeout_s=10)
    assert sorted(numbers(path)) == sorted(list(range(100)) * 8)


def test_a_full_queue_drops_the_row_and_counts_it(path: Path, dropped: Dropped) -> None:
    log = DriftLog(path, Drift(queue_rows=2), on_dropped=dropped, clock=lambda: NOON)
    for number in range(5):
        log.append(row(number))
    assert dropped.rows == 3
    log.start()
    log.close(timeout_s=10)
    assert numbers(path) == [0, 1]


def test_a_row_after_closing_is_counted_as_dropped(open_log: Open, dropped: Dropped) -> None:
    log = open_log()
    write(log, 1)
    log.append(row(2))
    assert dropped.rows == 1


def test_a_second_start_appends_under_the_same_header(open_log: Open, path: Path) -> None:
    write(open_log(), 1)
    write(open_log(), 2)
    assert path.read_text().count("timestamp") == 1
    assert numbers(path) == [1, 2]


@pytest.mark.parametrize("whole", [0, 1, 400])
@pytest.mark.parametrize("torn", [1, 50, 20_000])
def test_a_torn_last_line_is_cut_off(open_log: Open, path: Path, whole: int, torn: int) -> None:
    path.parent.mkdir()
    line = "2026-03-01T12:00:00.250+00:00," + "1.0," * 7 + "512,400,9,normal,0.875,accept,,0.1\n"
    path.write_text(HEADER + line * whole + "9" * torn)
    write(open_log(), 1)
    assert numbers(path) == [9] * whole + [1]
    assert path.read_text().startswith(HEADER + line * whole + "2026")


@pytest.mark.parametrize("start", ["", "timest", HEADER[:-1]])
def test_a_torn_header_is_written_anew(open_log: Open, path: Path, start: str) -> None:
    path.parent.mkdir()
    path.write_text(start)
    write(open_log(), 1)
    assert path.read_text().startswith(HEADER)
    assert numbers(path) == [1]


def test_a_file_of_other_columns_is_kept_beside(open_log: Open, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("timestamp,mean\n2024,1.0\n")
    write(open_log(), 1)
    assert numbers(path) == [1]
    assert path.with_name("current.csv.1").read_text() == "timestamp,mean\n2024,1.0\n"


def test_a_file_from_before_there_were_decisions_is_kept_beside(open_log: Open, path: Path) -> None:
    path.parent.mkdir()
    old = OLD_HEADER + "2026-03-01T12:00:00.250+00:00," + "1.0," * 7 + "512,400,9,normal,0.875\n"
    path.write_text(old)
    write(open_log(), 1)
    assert path.read_text().startswith(HEADER)
    assert numbers(path) == [1]
    assert path.with_name("current.csv.1").read_text() == old


@pytest.mark.parametrize("keep_files", [0, 1, 3])
def test_the_log_rotates_by_size_and_keeps_so_many_files(
    open_log: Open, path: Path, keep_files: int
) -> None:
    one_row = len(HEADER) + 180
    for number in range(6):
        write(open_log(Drift(rotate_bytes=one_row, keep_files=keep_files)), number)
    rotated = [path.with_name(f"current.csv.{older}") for older in range(1, keep_files + 1)]
    assert sorted(path.parent.iterdir()) == sorted([path, *rotated])
    assert [numbers(file) for file in [path, *rotated]] == [
        [5 - age] for age in range(keep_files + 1)
    ]


def test_a_row_that_still_fits_does_not_rotate(open_log: Open, path: Path) -> None:
    write(open_log(), 1)
    size = path.stat().st_size
    just_two = 2 * size - len(HEADER)
    write(open_log(Drift(rotate_bytes=just_two)), 2)
    assert numbers(path) == [1, 2]
    write(open_log(Drift(rotate_bytes=just_two)), 3)
    assert numbers(path) == [3]


def test_a_log_moved_away_by_somebody_is_begun_anew(
    open_log: Open, path: Path, tmp_path: Path
) -> None:
    write(open_log(), 1)
    path.rename(tmp_path / "taken.csv")
    write(open_log(), 2)
    assert path.read_text().startswith(HEADER)
    assert numbers(path) == [2]


def test_an_unwritable_log_drops_counts_and_works_again_later(
    open_log: Open, path: Path, dropped: Dropped
) -> None:
    path.parent.write_text("a file in place of the folder")
    log = open_log()
    log.append(row(1))
    dropped.wait()
    path.parent.unlink()
    write(log, 2)
    assert dropped.rows == 1
    assert numbers(path) == [2]


def test_an_unwritable_log_is_complained_of_once_a_minute(
    open_log: Open, path: Path, dropped: Dropped, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir(parents=True)
    now = NOON
    log = open_log(clock=lambda: now)
    with caplog.at_level(logging.ERROR):
        for seconds in (0, 30, 29, 1, 59):
            now += timedelta(seconds=seconds)
            log.append(row())
            dropped.wait()
        log.close(timeout_s=10)
    assert dropped.rows == 5
    assert len(caplog.messages) == 2
    assert "current.csv cannot be written" in caplog.messages[0]


def test_a_disk_that_fills_up_leaves_only_whole_lines(
    open_log: Open, path: Path, dropped: Dropped
) -> None:
    write(open_log(), *range(3000))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 30, limits[1]))
    try:
        write(open_log(), 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert dropped.rows == 1
    assert path.read_bytes() == before
    write(open_log(), 2)
    assert numbers(path) == [*range(3000), 2]


def test_columns_stand_in_the_order_that_readers_know() -> None:
    assert ",".join(COLUMNS) + "\n" == HEADER
