"""Servers as processes of this machine: started, waited for, watched, ended."""

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import psutil

POLL_S = 0.02
READY_S = 120.0
STOP_S = 15.0


class Server:
    """One server and whatever processes it starts; its output goes to a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        ready: Callable[[], bool],
        log: Path,
    ) -> None:
        self.name = name
        self.ready_s = 0.0
        self._command = command
        self._environment = environment
        self._ready = ready
        self._log = log

    def __enter__(self) -> "Server":
        """Start it and wait until it is ready; `ready_s` is how long that took."""
        start = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self._ready():
            took = time.perf_counter() - start
            if self._process.poll() is not None or took > READY_S:
                self.stop()
                words = self._log.read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"{self.name} did not start: {words[-2000:]}")
            time.sleep(POLL_S)
        self.ready_s = time.perf_counter() - start
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run inside the block alone: some servers poll, at a tenth of a core and more."""
        for process in _family(self.pid):
            process.resume()
        yield
        for process in _family(self.pid):
            process.suspend()

    def stop(self) -> None:
        """Ask it to end; what has not ended then is killed, its workers too."""
        family = _family(self.pid) if self._process.poll() is None else []
        for process in family:
            process.resume()
        if family:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(address: str, path: str, timeout_s: float = 2.0) -> bool:
    """Whether `GET path` at `host:port` answers 200 now."""
    client = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        client.request("GET", path)
        return client.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


def resident_mb(*pids: int) -> float:
    """Resident memory of processes and all that they started, in MB (10^6 bytes)."""
    return sum(process.memory_info().rss for process in _family(*pids)) / 1e6


def cpu_seconds(*pids: int) -> float:
    """CPU time that processes and all that they started have used so far."""
    return sum(sum(process.cpu_times()[:2]) for process in _family(*pids))


def _family(*pids: int) -> list[psutil.Process]:
    heads = [psutil.Process(pid) for pid in pids]
    return [*heads, *(child for head in heads for child in head.children(recursive=True))]
