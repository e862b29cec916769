"""Both services as two processes of this machine, started and ended together."""

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import httpx

from ctscan.child import Child
from serving.settings import split_address

POLL_S = 0.1
# Both together must end within ten seconds of a signal.
STOP_S = 8.0
# Both services share the cores here. OpenMP threads that spin while they wait keep each other from
# running: one row was measured at 56-128 ms with spinning threads and 27-32 ms without.
THREADS_SLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}


class StartFailed(RuntimeError):
    """A service did not come up; the text is what it said, as it should be shown."""


class Pair:
    """A predictor on a private Unix socket, and the transformer in front of it.

    Each child holds one end of a pipe as its standard input: when this process is gone, however it
    went, the pipe closes and the child ends itself.
    """

    def __init__(self, environment: Mapping[str, str], http_address: str) -> None:
        self.url = f"http://{reachable(http_address)}"
        self._environment = environment
        self._folder = Path(tempfile.mkdtemp(prefix="ctscan-"))
        self.predictor_http = f"unix:{self._folder / 'http.sock'}"
        self.predictor_grpc = f"unix:{self._folder / 'grpc.sock'}"
        self.children: dict[str, Child] = {}

    def __enter__(self) -> "Pair":
        self._start("predictor", HTTP_ADDRESS=self.predictor_http, GRPC_ADDRESS=self.predictor_grpc)
        self._start(
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
            self.children[name].stop(deadline - time.monotonic())
        shutil.rmtree(self._folder, ignore_errors=True)

    def show_logs(self) -> None:
        """Let both services write to standard error from now on."""
        for child in self.children.values():
            child.show_log()

    def wait_until(self, up: Callable[[httpx.Client], bool], go_on: Callable[[], bool]) -> bool:
        """Poll until the pair is `up`; False as soon as `go_on` says so.

        Raises:
            StartFailed: a process ended first; the text is what it said.
        """
        with httpx.Client(base_url=self.url, timeout=2.0, trust_env=False) as client:
            while go_on():
                if (name := self.ended()) is not None:
                    raise StartFailed(self.children[name].last_words())
                try:
                    if up(client):
                        return True
                except httpx.HTTPError:
                    pass
                time.sleep(POLL_S)
        return False

    def ended(self) -> str | None:
        """The service that is no longer running, or None."""
        for name, child in self.children.items():
            if child.process.poll() is not None:
                return name
        return None

    def _start(self, module: str, **addresses: str) -> None:
        environment = {**THREADS_SLEEP, **self._environment, **addresses, "EXIT_WITH_STDIN": "1"}
        self.children[module] = Child(module, environment)


def reachable(address: str) -> str:
    """Where a client on this machine finds a service that listens on `host:port`."""
    host, port = split_address(address)
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{own}]:{port}" if ":" in own else f"{own}:{port}"


def ready(client: httpx.Client) -> bool:
    """Whether a prediction would succeed."""
    return client.get("/v2/health/ready").status_code == 200


def listening(client: httpx.Client) -> bool:
    """Whether both services answer over HTTP: the model path is the predictor's own word."""
    answer = client.get("/health")
    return answer.status_code == 200 and answer.json()["model_path"] is not None
