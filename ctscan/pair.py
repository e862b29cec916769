"""Both services as two processes of this machine, started and ended together."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import httpx

from serving.listen import split_address

POLL_S = 0.1
# Both together must end within ten seconds of a signal.
STOP_S = 8.0


class StartFailed(RuntimeError):
    """A service did not come up; it has already said why, or the text does."""


class Pair:
    """A predictor on a private Unix socket, and the transformer in front of it.

    Each child holds one end of a pipe as its standard input: when this process is gone, however it
    went, the pipe closes and the child ends itself.
    """

    def __init__(self, environment: Mapping[str, str], http_address: str) -> None:
        host, port = split_address(http_address)
        self.url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        self._environment = environment
        self._folder = Path(tempfile.mkdtemp(prefix="ctscan-"))
        self.predictor_http = f"unix:{self._folder / 'http.sock'}"
        self.predictor_grpc = f"unix:{self._folder / 'grpc.sock'}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Pair":
        self.processes["predictor"] = self._start(
            "predictor", HTTP_ADDRESS=self.predictor_http, GRPC_ADDRESS=self.predictor_grpc
        )
        self.processes["transformer"] = self._start(
            "transformer",
            PREDICTOR_HTTP_ADDRESS=self.predictor_http,
            PREDICTOR_GRPC_ADDRESS=self.predictor_grpc,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the transformer first, so that what it has under way is still answered."""
        deadline = time.monotonic() + STOP_S
        for name in ("transformer", "predictor"):
            process = self.processes[name]
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def wait_until(self, path: str, go_on: Callable[[], bool]) -> bool:
        """Poll `path` until it answers 200; False as soon as `go_on` says so.

        Raises:
            StartFailed: a process ended first; it has said why itself.
        """
        with httpx.Client(base_url=self.url, timeout=2.0, trust_env=False) as client:
            while go_on():
                if self.ended():
                    raise StartFailed
                try:
                    if client.get(path).status_code == 200:
                        return True
                except httpx.HTTPError:
                    pass
                time.sleep(POLL_S)
        return False

    def ended(self) -> str | None:
        """The service that is no longer running, with its status, or None."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                return f"the {name} ended with status {process.returncode}"
        return None

    def _start(self, module: str, **addresses: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", module],
            env={**os.environ, **self._environment, **addresses, "EXIT_WITH_STDIN": "1"},
            stdin=subprocess.PIPE,
            # Ctrl-C in a terminal reaches the whole group: the order of ending is ours to keep.
            start_new_session=True,
        )
