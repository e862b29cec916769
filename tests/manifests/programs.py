"""Programs that judge manifests: kubectl renders them, promtool reads the rules in them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

WHERE_FROM = {
    "kubectl": "kubernetes.io/docs/tasks/tools says how to get it",
    "promtool": "Debian and Ubuntu have it in the package prometheus",
}


def run(program: str, *arguments: str, folder: Path) -> str:
    """What the program prints; where it finds something wrong, the test fails.

    Where there is no such program the test is skipped, but in continuous integration it fails.
    """
    found = shutil.which(program)
    if found is None:
        reason = f"no {program} here: {WHERE_FROM[program]}"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run([found, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
