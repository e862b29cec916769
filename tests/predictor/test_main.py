import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from predictor import __main__ as program
from predictor.checkpoint import CheckpointError, build_network, weights_sha256
from predictor.engine import EngineError
from serving.card import IMAGENET_MEAN, IMAGENET_STD, Card, CardError, InputSpec, write_card
from serving.settings import ConfigError, Predictor, Process, Settings, read_settings
from tests.environment import inherited

CARD = Card("custom_cnn", InputSpec(32, 32), arguments={"hidden_dims": [4], "fc_hidden": 8})
PATIENCE_S = 120.0


def write_model(folder: Path, value: float | None = None, hidden: int = 4) -> Card:
    """Weights, their card and a configuration; the weights are random, or all one value."""
    torch.manual_seed(0)
    arguments = {**CARD.arguments, "hidden_dims": [hidden]}
    state = build_network(Card("custom_cnn", CARD.input, arguments=arguments)).state_dict()
    if value is not None:
        state["classifier.4.weight"].fill_(value)
    torch.save(state, folder / "model.pt")
    card = Card(
        "custom_cnn",
        CARD.input,
        arguments=CARD.arguments,
        weights_sha256=weights_sha256(folder / "model.pt"),
    )
    write_card(card, folder / "model.yaml")
    (folder / "config.yaml").write_text("predictor: {device: cpu, threads: 1}\n")
    return card


def environment(folder: Path, **changes: str) -> dict[str, str]:
    return {
        "CONFIG_PATH": str(folder / "config.yaml"),
        "MODEL_PATH": str(folder / "model.pt"),
        "HTTP_ADDRESS": f"unix:{folder / 'http'}",
        "GRPC_ADDRESS": f"unix:{folder / 'grpc'}",
        **changes,
    }


class Running:
    """`python -m predictor` on Unix sockets in a folder; one that hangs is killed in the end."""

    def __init__(self, folder: Path, **changes: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "predictor"],
            env={**inherited(), **environment(folder, **changes)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._patience = threading.Timer(PATIENCE_S, self.process.kill)
        self._patience.start()
        transport = httpx.HTTPTransport(uds=str(folder / "http"))
        self.client = httpx.Client(transport=transport, base_url="http://predictor")
        self.written: list[str] = []

    def wait_for(self, message: str) -> None:
        """Until it logs the message."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.written.append(line)
            if json.loads(line)["message"] == message:
                return
        pytest.fail(f"it ended before it said {message!r}: {self.written}")

    def end(self, number: int | None = None) -> int:
        """Its exit status, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        self.client.close()
        self.written += self.process.communicate()[1].splitlines()
        self._patience.cancel()
        return self.process.returncode


@pytest.fixture(scope="module")
def card_and_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Card, Running]]:
    folder = tmp_path_factory.mktemp("p")
    card = write_model(folder)
    running = Running(folder)
    try:
        running.wait_for("serving")
        while running.client.get("/readyz").status_code != 200:
            assert running.process.poll() is None
        yield card, running
    finally:
        running.end(signal.SIGTERM)


@pytest.fixture
def card(card_and_service: tuple[Card, Running]) -> Card:
    return card_and_service[0]


@pytest.fixture
def client(card_and_service: tuple[Card, Running]) -> httpx.Client:
    return card_and_service[1].client


def test_it_says_what_it_runs(card: Card, client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    said = client.get("/card").json()
    assert Card.from_dict(said["card"]) == card
    assert said["version"] == card.version
    assert (said["device"], said["precision"]) == ("cpu", "fp32")
    assert (said["model_loaded"], said["ready"]) == (True, True)
    assert said["model_path"].endswith("model.pt")
    assert said["config_path"].endswith("config.yaml")


def test_v2_metadata_has_the_shapes_of_the_card(client: httpx.Client) -> None:
    metadata = client.get("/v2/models/ctscan").json()
    assert metadata["name"] == "ctscan"
    (image,) = metadata["inputs"]
    assert (image["name"], image["datatype"]) == ("image", "UINT8")
    assert image["shape"] == [-1, 32, 32, -1]
    assert [(out["name"], out["shape"]) for out in metadata["outputs"]] == [("logits", [-1, 4])]
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2/models/ctscan/ready").status_code == 200


def test_rows_over_rest_get_the_logits_of_these_weights(card: Card, client: httpx.Client) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    torch.manual_seed(0)
    network = build_network(card).eval()
    plain = (rows / 255.0 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    with torch.inference_mode():
        images = torch.from_numpy(plain.transpose(0, 3, 1, 2)).float()
        expected = network(images)["logits"].numpy()

    tensor = {"name": "image", "datatype": "UINT8", "shape": list(rows.shape)}
    body = {"id": "7", "inputs": [{**tensor, "data": rows.ravel().tolist()}]}
    answer = client.post("/v2/models/ctscan/infer", json=body).json()
    assert (answer["id"], answer["model_version"]) == ("7", card.version)
    assert answer["outputs"][0]["shape"] == [2, 4]
    found = np.array(answer["outputs"][0]["data"]).reshape(2, 4)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_metrics_are_ours_and_those_of_http_and_process(card: Card, client: httpx.Client) -> None:
    text = client.get("/metrics").text
    samples = [item for family in text_string_to_metric_families(text) for item in family.samples]
    names = {item.name for item in samples}
    assert names >= {
        *("ctscan_stage_seconds_bucket", "ctscan_batch_rows_bucket", "ctscan_queue_rows"),
        *("http_requests_total", "http_request_duration_seconds_bucket"),
        *("system_cpu_percent", "system_memory_percent", "process_rss_bytes"),
    }
    (model,) = [item.labels for item in samples if item.name == "ctscan_model_info"]
    assert model.pop("engine") in ("eager fp32", "packed fp32")
    assert model == {
        "version": card.version,
        "architecture": "custom_cnn",
        "device": "cpu",
        "precision": "fp32",
    }


def test_started_without_weights_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.pt").unlink()
    running = Running(tmp_path, LOAD_MODEL="0")
    running.wait_for("serving")
    said = running.client.get("/card").json()
    ready = running.client.get("/readyz")
    assert running.end(signal.SIGINT) == 0
    assert (said["model_loaded"], said["ready"], said["version"]) == (False, False, None)
    assert (ready.status_code, ready.json()["status"]) == (503, 503)


def test_sigterm_ends_it_with_status_0_even_while_its_doors_open(tmp_path: Path) -> None:
    write_model(tmp_path)
    running = Running(tmp_path)
    running.wait_for("serving")
    assert running.end(signal.SIGTERM) == 0
    messages = [json.loads(line)["message"] for line in running.written]
    assert messages[-1] == "stopped"
    assert {"serving", "engine chosen", "draining"} <= set(messages)


@pytest.mark.parametrize(
    ("value", "hidden", "said"),
    [
        (float("nan"), 4, "custom_cnn on cpu gives logits that are no numbers"),
        (None, 8, "do not fit custom_cnn"),
    ],
    ids=["warm-up", "misfit"],
)
def test_weights_that_cannot_be_used_are_one_line_and_status_1(
    value: float | None, hidden: int, said: str, tmp_path: Path
) -> None:
    write_model(tmp_path, value, hidden)
    running = Running(tmp_path, LOG_LEVEL="ERROR")
    assert running.end() == 1
    assert len(running.written) == 1
    assert running.written[0].startswith("ctscan predictor: ")
    assert said in running.written[0]


def ended(monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, str]) -> str:
    """What `main` ends with, in this process and without touching its logs."""
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["predictor"])
    monkeypatch.setattr(program, "configure_logs", lambda service, level: None)
    with pytest.raises(SystemExit) as caught:
        program.main()
    # A text is what Python prints, with status 1.
    assert isinstance(caught.value.code, str)
    return caught.value.code


def test_a_missing_configuration_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ended(monkeypatch, environment(tmp_path))
    assert said.startswith("ctscan predictor: configuration ")
    assert "config.yaml does not exist" in said
    assert "\n" not in said


@pytest.mark.parametrize("kind", [ConfigError, CardError, CheckpointError, EngineError])
def test_every_reason_not_to_start_is_one_line(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path)

    def start(settings: Settings) -> None:
        raise kind("this is why")

    monkeypatch.setattr(program, "start", start)
    assert ended(monkeypatch, environment(tmp_path)) == "ctscan predictor: this is why"


@pytest.mark.parametrize(
    ("given", "http", "grpc"),
    [
        ({}, "127.0.0.1:9000", "127.0.0.1:9001"),
        ({"HTTP_ADDRESS": "", "GRPC_ADDRESS": ""}, "127.0.0.1:9000", "127.0.0.1:9001"),
        ({"HTTP_ADDRESS": "unix:/a", "GRPC_ADDRESS": "unix:/b"}, "unix:/a", "unix:/b"),
    ],
)
def test_it_listens_on_ports_of_its_own_unless_it_is_told_others(
    given: Mapping[str, str],
    http: str,
    grpc: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "config.yaml").touch()
    told: list[Process] = []

    def read(environment: Mapping[str, str]) -> Settings:
        told.append(read_settings(environment).process)
        raise ConfigError("read")

    monkeypatch.setattr(program, "read_settings", read)
    for name in program.ADDRESSES:
        monkeypatch.delenv(name, raising=False)
    ended(monkeypatch, {"CONFIG_PATH": str(tmp_path / "config.yaml"), **given})
    (process,) = told
    assert (process.http_address, process.grpc_address) == (http, grpc)


def test_missing_weights_are_said_by_their_path(tmp_path: Path) -> None:
    process = Process(model_path=tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r"none\.pt do not exist: set MODEL_PATH"):
        program.load_engine(Settings(process=process))


@pytest.mark.parametrize("threads_wanted", [1, 2])
def test_the_engine_may_be_loaded_twice_with_the_same_threads(
    threads_wanted: int, tmp_path: Path
) -> None:
    card = write_model(tmp_path)
    settings = Settings(
        predictor=Predictor(device="cpu", threads=threads_wanted),
        process=Process(model_path=tmp_path / "model.pt"),
    )
    engines = [program.load_engine(settings) for _ in range(2)]
    assert torch.get_num_threads() == threads_wanted
    assert [engine.card for engine in engines] == [card, card]
