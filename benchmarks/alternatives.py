"""The peers as servers: how each is started, when it is ready and what is sent to it."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.request import Target, kserve_v1, predict
from benchmarks.servers import Server, answers, free_port, resident_mb

PYTHON = Path(".venv-peers/bin/python")


@dataclass(frozen=True)
class Peer:
    """`arguments` follow `python -m`; `{port}` in them is where it shall listen."""

    key: str
    name: str
    arguments: Sequence[str]
    ready_path: str
    target: Callable[[str, Sequence[bytes]], Target] = predict


SCRIPT = Peer("script", "FastAPI script", ("benchmarks.peers.fastapi_script", "{port}"), "/health")
OTHERS = (
    Peer("litserve", "LitServe", ("benchmarks.peers.litserve_server", "{port}"), "/health"),
    Peer(
        "bentoml",
        "BentoML",
        ("bentoml", "serve", "benchmarks.peers.bentoml_service:Classifier", "--port", "{port}"),
        "/readyz",
    ),
    Peer(
        "kserve",
        "KServe custom model",
        ("benchmarks.peers.kserve_model", "{port}"),
        "/v2/health/ready",
        kserve_v1,
    ),
)


@dataclass(frozen=True)
class Started:
    """A peer that runs, and is paused outside `awake`."""

    server: Server
    url: str
    ready_s: float
    rss_mb: float


@contextmanager
def start(peer: Peer, weights: Path, folder: Path) -> Iterator[Started]:
    """The peer as a server; its files go to `folder`. Leaves it paused."""
    port = str(free_port())
    address = f"127.0.0.1:{port}"
    environment = {
        **os.environ,
        "MODEL_PATH": str(weights),
        "DRIFT_CURRENT_PATH": str(folder / f"{peer.key}.csv"),
        "PYTHONPATH": ".",
        # It would tell its makers that it was started.
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(folder / "bentoml"),
    }
    # The service's own choice, which peers as they come do not have.
    environment.pop("OMP_WAIT_POLICY", None)
    command = [str(PYTHON), "-m", *(text.format(port=port) for text in peer.arguments)]
    server = Server(
        peer.name,
        command,
        environment,
        lambda: answers(address, peer.ready_path),
        folder / f"{peer.key}.log",
    )
    with server:
        memory = resident_mb(server.pid)
        with server.awake():
            pass
        yield Started(server, f"http://{address}", server.ready_s, memory)
