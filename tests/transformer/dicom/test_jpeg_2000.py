import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serving.errors import InvalidImage
from tests.dicoms import UNSIGNED, jpeg_2000, precincts
from transformer.dicom import jpeg_2000 as room
from transformer.dicom.jpeg_2000 import PROGRAM, decode_apart


def test_samples_come_back_as_they_were() -> None:
    decoded = decode_apart(jpeg_2000(), UNSIGNED.size * 2)
    np.testing.assert_array_equal(np.frombuffer(decoded, "<u2"), UNSIGNED.ravel())


def test_another_size_than_expected_is_refused() -> None:
    with pytest.raises(InvalidImage, match="cannot be decoded"):
        decode_apart(jpeg_2000(), UNSIGNED.size)


def test_what_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LIMIT_S", 0.001)
    with pytest.raises(InvalidImage, match="too long"):
        decode_apart(jpeg_2000(), UNSIGNED.size * 2)


def test_a_process_that_dies_is_an_invalid_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "crash.py"
    program.write_text("import os; os.kill(os.getpid(), 9)")
    monkeypatch.setattr(room, "PROGRAM", program)
    with pytest.raises(InvalidImage, match="cannot be decoded"):
        decode_apart(jpeg_2000(), UNSIGNED.size * 2)


def test_the_system_bounds_memory_and_time() -> None:
    question = (
        "import resource, runpy, sys; main = runpy.run_path(sys.argv[1])['main']\n"
        "try: main()\n"
        "except Exception: print(*[resource.getrlimit(it)[0] >> 20 for it in (9,)],"
        " resource.getrlimit(0)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", question, str(PROGRAM)],
        input=b"none",
        capture_output=True,
        check=True,
    )
    assert done.stdout.split() == [b"384", b"5"]


def test_a_small_file_that_asks_for_gigabytes_gets_none() -> None:
    with pytest.raises(InvalidImage, match="more memory than any slice"):
        decode_apart(precincts(), 2048 * 2048 * 2)
