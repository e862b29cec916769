"""Prometheus' own checks of rules and expressions, as `promtool` makes them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def promtool(*arguments: str, folder: Path) -> str:
    """What promtool prints; a check that it does not pass fails the test."""
    program = shutil.which("promtool")
    if program is None:
        reason = "no promtool here: Debian and Ubuntu have it in the package prometheus"
        # In continuous integration the rules may not go untested.
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
