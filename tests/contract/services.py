"""The two services as real processes, and small weights for them."""

import hashlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import torch
import yaml

from ctscan import predict
from predictor.distance import bank_of
from predictor.networks import NETWORKS
from serving.card import Card, Gate, InputSpec, write_card
from serving.settings import Limits
from tests.contract.slices import row_of, slice_png
from tests.environment import inherited
from training.window import WINDOW
from transformer.decode import decode
from transformer.gate import grey_profile
from transformer.statistics import summarise

ROOT = Path(__file__).parents[2]
# Generous: only a hang reaches it.
READY_S = 300.0
STOP_S = 20.0


class Process:
    """A program of this repository; its output goes to `log`, which outlives restarts."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._arguments = arguments
        self.environment = dict(environment)
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                cwd=ROOT,
                env={**inherited(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process in good order, so that its coverage is written; its exit status."""
        assert self._process is not None
        if self.running:
            self._process.send_signal(number)
        return self._process.wait(STOP_S)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")


def until(true: Callable[[], object], what: str, process: Process | None = None) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + READY_S
    while not true():
        assert process is None or process.running, f"ended: {process and process.text()}"
        assert time.monotonic() < deadline, f"{what}: not within {READY_S} s"
        time.sleep(0.05)


def connectable(address: str) -> bool:
    """Whether something listens on a Unix socket. (httpx leaks a socket where nothing does.)"""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(address.removeprefix("unix:")) == 0


def answers(client: httpx.Client, path: str, status: int = 200) -> bool:
    """Whether `path` answers with this status now."""
    try:
        return client.get(path).status_code == status
    except httpx.HTTPError:
        return False


class Predictor(Process):
    """A predictor, on free ports or on Unix sockets in `sockets`."""

    def __init__(
        self, weights: Path, config: Path, log: Path, sockets: Path | None = None, **more: str
    ) -> None:
        if sockets is None:
            self.http_address, self.grpc_address = free_address(), free_address()
        else:
            self.http_address = f"unix:{sockets / 'http.sock'}"
            self.grpc_address = f"unix:{sockets / 'grpc.sock'}"
        environment = {
            "CONFIG_PATH": str(config),
            "MODEL_PATH": str(weights),
            "HTTP_ADDRESS": self.http_address,
            "GRPC_ADDRESS": self.grpc_address,
            **more,
        }
        super().__init__(["predictor"], environment, log)

    def client(self) -> httpx.Client:
        if self.http_address.startswith("unix:"):
            transport = httpx.HTTPTransport(uds=self.http_address.removeprefix("unix:"))
            return httpx.Client(transport=transport, base_url="http://predictor")
        return httpx.Client(base_url=f"http://{self.http_address}", trust_env=False)

    def wait_ready(self, path: str = "/readyz") -> None:
        if self.http_address.startswith("unix:"):
            until(lambda: connectable(self.http_address), "the predictor listens", self)
        with self.client() as client:
            until(lambda: answers(client, path), f"{path} answers 200", self)


class Transformer(Process):
    """A transformer on free ports, before the predictor at the given addresses."""

    def __init__(
        self, config: Path, folder: Path, predictor_http: str, predictor_grpc: str, **more: str
    ) -> None:
        http, self.grpc_address = free_address(), free_address()
        self.url = f"http://{http}"
        self.feedback = folder / "feedback"
        self.drift = folder / "drift" / "current.csv"
        environment = {
            "CONFIG_PATH": str(config),
            "FEEDBACK_DIR": str(self.feedback),
            "DRIFT_CURRENT_PATH": str(self.drift),
            "HTTP_ADDRESS": http,
            "GRPC_ADDRESS": self.grpc_address,
            "PREDICTOR_HTTP_ADDRESS": predictor_http,
            "PREDICTOR_GRPC_ADDRESS": predictor_grpc,
            **more,
        }
        super().__init__(["transformer"], environment, folder / "transformer.log")

    def client(self, timeout: float = 30.0) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    def wait_ready(self, path: str = "/v2/health/ready") -> None:
        with self.client() as client:
            until(lambda: answers(client, path), f"{path} answers 200", self)


@dataclass(frozen=True)
class Pair:
    """Both services and the weights they serve."""

    predictor: Predictor
    transformer: Transformer
    card: Card
    weights: Path

    @property
    def url(self) -> str:
        return self.transformer.url

    def logs(self) -> str:
        return self.predictor.text() + self.transformer.text()


GIVEN: set[str] = set()


def free_address() -> str:
    """A loopback address that was free a moment ago, another one each time."""
    while (address := predict.free_address()) in GIVEN:
        pass
    GIVEN.add(address)
    return address


def write_config(path: Path, **sections: Mapping[str, Any]) -> Path:
    """A configuration of defaults and the given sections."""
    path.write_text(yaml.safe_dump({"predictor": {"threads": 1}, **sections}), encoding="utf-8")
    return path


def write_weights(
    folder: Path, *, seed: int = 1, image_size: int = 64, temperature: float = 1.0
) -> tuple[Path, Card]:
    """Random weights of a small network whose answers differ from image to image."""
    torch.manual_seed(seed)
    arguments = {"hidden_dims": [8, 16], "fc_hidden": 16}
    network = NETWORKS["custom_cnn"](image_size=image_size, **arguments)
    state = network.state_dict()
    state["classifier.4.weight"] *= 12
    spec = InputSpec(image_size, image_size, window=WINDOW)
    card = Card("custom_cnn", spec, arguments=arguments, temperature=temperature)
    return _written(folder, state, card)


def write_weights_with_maps(folder: Path) -> tuple[Path, Card]:
    """Random weights of a network that has class activation maps, of 3 x 3 cells, and a gate.

    The gate knows one slice, `slice_png(0)`; any other is far from it.
    """
    torch.manual_seed(1)
    network = NETWORKS["resnet18"]().eval()
    known = slice_png(0)
    profile = grey_profile(summarise(decode(known, Limits())).histogram)
    gate = Gate((tuple(profile.tolist()),), (), 20.0, 40.0, margin=0.0, feature_distance=1e-4)
    spec = InputSpec(96, 96, window=WINDOW)
    card = Card("resnet18", spec, temperature=2.0, gate=gate)
    row = torch.from_numpy(row_of(known, 96)).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (card.mean, card.std))
    with torch.inference_mode():
        bank = bank_of(network((row - mean) / std)["features"])
    return _written(folder, {"state_dict": network.state_dict(), "bank": bank}, card)


def _written(folder: Path, state: Mapping[str, Any], card: Card) -> tuple[Path, Card]:
    weights = folder / "model.pt"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    card = replace(card, weights_sha256=digest)
    write_card(card, folder / "model.yaml")
    return weights, card
