"""One service as a process of this machine, and its log."""

import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

# Lines of a service's log that are kept for the day it ends unexpectedly.
KEPT_LINES = 200


class Child:
    """One service and its log, which is held back until `show_log`."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C in a terminal reaches the whole group: the order of ending is ours to keep.
            start_new_session=True,
        )
        self._lines: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._shown = False
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def show_log(self) -> None:
        """Pass on what was held back and everything that comes."""
        with self._lock:
            self._shown = True
            self._pass_on(*self._lines)

    def last_words(self) -> str:
        """Why the service ended: its one line for people, or all that it wrote."""
        self._reader.join()
        text = b"".join(self._lines).decode(errors="replace").rstrip()
        said = [line for line in text.splitlines() if line.startswith("ctscan ")]
        return said[-1] if said else text

    def stop(self, seconds: float) -> None:
        """End the service, by force where it takes longer than so many seconds."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(max(0.1, seconds))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._lock:
                self._lines.append(line)
                if self._shown:
                    self._pass_on(line)

    def _pass_on(self, *lines: bytes) -> None:
        # Nobody reads them, or the disk is full: a service must not stand still for its log.
        with suppress(OSError):
            sys.stderr.buffer.writelines(lines)
            sys.stderr.buffer.flush()
