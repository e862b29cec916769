"""One service as a child process, with small programs in its place."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ctscan.child import KEPT_LINES, Child

Start = Callable[[str], Child]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def started(program: str) -> Child:
        (tmp_path / "program.py").write_text(program)
        return Child("program", {**os.environ, "PYTHONPATH": str(tmp_path)})

    return started


def ended(child: Child) -> Child:
    child.process.wait(30)
    return child


def test_the_one_line_for_people_is_what_is_shown_of_a_failed_start(start: Start) -> None:
    child = ended(
        start(
            "import sys\n"
            'print(\'{"level": "INFO"}\', file=sys.stderr)\n'
            "print('ctscan predictor: no weights', file=sys.stderr)\n"
            'print(\'{"level": "INFO"}\', file=sys.stderr)\n'
        )
    )
    assert child.last_words() == "ctscan predictor: no weights"
    child.stop(1)


def test_a_crash_shows_all_that_was_said(start: Start) -> None:
    child = ended(start("import sys\nprint('before', file=sys.stderr)\n1 / 0\n"))
    assert child.last_words().startswith("before\nTraceback")
    child.stop(1)


def test_the_log_is_held_back_and_then_passed_on(
    start: Start, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    child = start(
        "import sys\n"
        "print('early', file=sys.stderr, flush=True)\n"
        "sys.stdin.read()\n"
        "print('late', file=sys.stderr)\n"
    )
    while not child._lines:
        assert child.process.poll() is None
    assert capfdbinary.readouterr().err == b""
    child.show_log()
    assert capfdbinary.readouterr().err == b"early\n"
    assert child.process.stdin is not None
    child.process.stdin.close()
    ended(child).stop(1)
    assert capfdbinary.readouterr().err == b"late\n"


def test_what_is_held_back_is_bounded(start: Start) -> None:
    child = ended(start("import sys\nfor n in range(1000): print(n, file=sys.stderr)\n"))
    lines = child.last_words().splitlines()
    assert len(lines) == KEPT_LINES
    assert lines[-1] == "999"
    child.stop(1)


def test_a_child_that_will_not_end_is_ended_by_force(start: Start) -> None:
    child = start(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', file=sys.stderr, flush=True)\n"
        "time.sleep(600)\n"
    )
    while not child._lines:
        assert child.process.poll() is None
    child.stop(0.0)
    assert child.process.returncode == -9


def test_a_child_ends_with_its_parents_pipe(start: Start) -> None:
    child = start("import sys\nsys.stdin.read()\n")
    assert child.process.stdin is not None
    child.process.stdin.close()
    assert ended(child).process.returncode == 0
    child.stop(1)


def test_a_log_that_nobody_takes_holds_up_no_service(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        child = start("import sys\nfor _ in range(5000):\n    print('x' * 50, file=sys.stderr)\n")
        child.show_log()
        assert ended(child).process.returncode == 0
        child.stop(1)
        with suppress(OSError):
            full.close()
