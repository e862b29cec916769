"""`ctscan serve`: both services, until a signal ends them or one of them dies."""

import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from ctscan.pair import POLL_S, Pair, listening, ready
from serving.listen import require_free
from serving.settings import ConfigError, read_settings, split_address

EXAMPLE = Path("docs/slice.png")


def serve(environment: Mapping[str, str]) -> int | str:
    """Serve until SIGINT or SIGTERM (exit status 0), or until a process dies (the reason).

    Raises:
        ConfigError: the configuration is wrong or an address is taken.
        StartFailed: a process ended before it was ready.
    """
    settings = read_settings(environment)
    process = settings.process
    require_port(process.http_address)
    for address in (process.http_address, process.grpc_address):
        require_free(address)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    up = ready if process.load_model else listening
    with Pair(environment, process.http_address) as pair:
        if pair.wait_until(up, lambda: not stop.is_set()):
            print(welcome(pair, process.grpc_address, process.load_model), flush=True)
        pair.show_logs()
        while not stop.wait(POLL_S):
            if (name := pair.ended()) is not None:
                status = pair.children[name].process.returncode
                return f"ctscan: the {name} ended with status {status}"
    return 0


def require_port(address: str) -> None:
    """Refuse a REST address that the welcome could not tell anybody.

    Raises:
        ConfigError: it is a Unix socket, or the system would choose the port.
    """
    if address.startswith("unix:") or split_address(address)[1] == 0:
        raise ConfigError(
            f"the REST address is {address!r}: serve needs host:port with a port above 0"
        )


def welcome(pair: Pair, grpc_address: str, loaded: bool) -> str:
    """What to do next, ready to paste."""
    example = EXAMPLE if EXAMPLE.is_file() else Path("slice.png")
    state = "ready" if loaded else "serving without weights (LOAD_MODEL=0)"
    return "\n".join(
        (
            f"ctscan is {state}: {pair.url} (docs: {pair.url}/docs), gRPC on {grpc_address}",
            f"predictor: {pair.predictor_grpc}",
            f"try it:  curl -F file=@{example} {pair.url}/predict",
            "Research use only, not a medical device.",
        )
    )
