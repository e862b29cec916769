"""The command from the shell."""

import os
import subprocess
import sys
from pathlib import Path


def test_an_interrupt_while_it_is_still_importing_is_no_traceback(tmp_path: Path) -> None:
    # A shell starts what runs in its background with the signal ignored, and that is inherited.
    (tmp_path / "httpx.py").write_text(
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "ctscan", "serve"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
