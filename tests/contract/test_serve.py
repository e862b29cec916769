"""`ctscan serve`: it ends in good order whoever ends it, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
import torch

from tests.contract.services import (
    READY_S,
    ROOT,
    Process,
    answers,
    free_address,
    until,
    write_config,
    write_weights,
)
from tests.contract.slices import slice_png

# The contract's bound from the signal to the end.
ENDS_S = 10.0


class Served(Process):
    """`ctscan serve` on free ports; its children are known by the pid in their parent's list."""

    def __init__(self, folder: Path, **more: str) -> None:
        folder.mkdir(exist_ok=True)
        self.http, self.grpc = free_address(), free_address()
        self.url = f"http://{self.http}"
        environment = {
            "CONFIG_PATH": str(folder / "config.yaml"),
            "MODEL_PATH": str(folder / "model.pt"),
            "FEEDBACK_DIR": str(folder / "feedback"),
            "DRIFT_CURRENT_PATH": str(folder / "drift.csv"),
            "HTTP_ADDRESS": self.http,
            "GRPC_ADDRESS": self.grpc,
            "TMPDIR": str(folder),
            **more,
        }
        if not (folder / "config.yaml").exists():
            write_config(folder / "config.yaml")
        super().__init__(["ctscan", "serve"], environment, folder / "serve.log")

    def children(self) -> dict[str, psutil.Process]:
        """Both services by name."""
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.pid).children():
            with suppress(psutil.NoSuchProcess):
                # Empty for a moment where it becomes another program.
                found |= dict.fromkeys(child.cmdline()[-1:], child)
        return found

    def wait_children(self) -> dict[str, psutil.Process]:
        until(lambda: {"predictor", "transformer"} <= set(self.children()), "both started", self)
        return self.children()

    def wait_welcome(self) -> None:
        until(lambda: "Research use only" in self.text(), "serve says that it is ready", self)


def assert_gone(children: Mapping[str, psutil.Process]) -> None:
    _, left = psutil.wait_procs(children.values(), timeout=READY_S)
    for child in left:
        child.kill()
    assert left == []


def half_a_request(url: str) -> tuple[socket.socket, bytes]:
    """A connection with the first half of a prediction request sent, and the other half."""
    body = b'--e\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body += slice_png(0) + b"\r\n--e--\r\n"
    head = (
        "POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=e\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(head.encode() + body[:500])
    return connection, body[500:]


def test_two_pairs_serve_side_by_side_and_end_in_good_order(tmp_path: Path) -> None:
    one, other = Served(tmp_path / "one"), Served(tmp_path / "other")
    _, card = write_weights(tmp_path / "one", seed=1)
    _, other_card = write_weights(tmp_path / "other", seed=2)
    # As in a shell's background job, where SIGINT is ignored from the start.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        one.start()
    finally:
        signal.signal(signal.SIGINT, before)
    other.start()
    try:
        for served, version in ((one, card.version), (other, other_card.version)):
            served.wait_welcome()
            answer = httpx.post(f"{served.url}/predict", files={"file": slice_png(0)})
            assert answer.json()["model"]["version"] == version
            assert "curl -F file=@" in served.text()
            assert f"{served.url}/predict" in served.text()
            assert served.grpc in served.text()
        assert_a_request_under_way_is_answered_when_interrupted(one)
        assert_children_end_when_serve_is_killed(other)
    finally:
        for served in (one, other):
            if served.running:
                served.stop()


def assert_a_request_under_way_is_answered_when_interrupted(served: Served) -> None:
    children = served.children()
    connection, rest = half_a_request(served.url)
    with connection:
        # Two in one batch, so that the server has read the first half.
        assert httpx.get(f"{served.url}/livez").status_code == 200
        began = time.monotonic()
        os.kill(served.pid, signal.SIGINT)
        with httpx.Client(base_url=served.url) as client:
            until(lambda: not answers(client, "/readyz"), "it drains")
        connection.sendall(rest)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"pred_class" in answer
    assert served.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < ENDS_S
    assert_gone(children)
    left = [path.name for path in served.log.parent.iterdir() if path.name.startswith("ctscan-")]
    assert left == []


def assert_children_end_when_serve_is_killed(served: Served) -> None:
    children = served.children()
    assert set(children) == {"predictor", "transformer"}
    served.kill()
    assert_gone(children)


def test_sigterm_while_starting_ends_both(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.start()
    children = served.wait_children()
    began = time.monotonic()
    assert served.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < ENDS_S
    assert_gone(children)


def free_ports(host: str) -> list[str]:
    """Two ports that were free a moment ago."""
    with (
        socket.create_server((host, 0), family=socket.AF_INET6) as one,
        socket.create_server((host, 0), family=socket.AF_INET6) as other,
    ):
        return [str(it.getsockname()[1]) for it in (one, other)]


def test_both_doors_are_served_over_ipv6(tmp_path: Path) -> None:
    try:
        http, grpc_port = free_ports("::1")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    # An empty address counts as none, so that HOST is what says where.
    own = {"HOST": "::1", "PORT": http, "GRPC_PORT": grpc_port}
    served = Served(tmp_path, LOAD_MODEL="0", HTTP_ADDRESS="", GRPC_ADDRESS="", **own)
    served.start()
    try:
        served.wait_welcome()
        assert f"http://[::1]:{http}/predict" in served.text()
        # What it waits for: the predictor's own words have arrived.
        health = httpx.get(f"http://[::1]:{http}/health").json()
        assert (health["model_loaded"], health["model_path"]) == (
            False,
            served.environment["MODEL_PATH"],
        )
        with grpc.insecure_channel(f"[::1]:{grpc_port}") as channel:
            grpc.channel_ready_future(channel).result(READY_S)
        assert served.stop() == 0
    finally:
        if served.running:
            served.kill()


@pytest.mark.parametrize("victim", ["predictor", "transformer"])
def test_when_one_service_dies_the_other_is_not_left_behind(tmp_path: Path, victim: str) -> None:
    # Without weights: killed before it is up, or when it says that it serves.
    served = Served(tmp_path, LOAD_MODEL="0")
    served.start()
    children = served.wait_children()
    if victim == "predictor":
        served.wait_welcome()
        assert "without weights" in served.text()
    children[victim].kill()
    until(lambda: not served.running, "serve ends")
    assert served.stop() != 0
    assert_gone(children)
    assert "Traceback" not in served.text()


def run_serve(served: Served) -> tuple[int, list[str]]:
    """Exit status and what a person sees of a start that fails."""
    served.start()
    until(lambda: not served.running, "serve ends")
    # A service left behind would still have the folder's sockets open.
    assert not [it for it in psutil.process_iter(["environ"]) if belongs_to(it, served)]
    return served.stop(), served.text().splitlines()


def belongs_to(process: psutil.Process, served: Served) -> bool:
    environment = process.info["environ"] or {}
    return environment.get("TMPDIR") == served.environment["TMPDIR"]


@pytest.mark.parametrize("door", ["HTTP_ADDRESS", "GRPC_ADDRESS"])
def test_a_taken_port_is_one_line(tmp_path: Path, door: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, lines = run_serve(Served(tmp_path, **{door: address}))
    assert status == 1
    assert len(lines) == 1
    assert address in lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: {rows: many}", "limits"),
        ("limits: {rwos: 3}", "rwos"),
        ("limits: {rows: -1}", "limits.rows"),
        ("limit: {rows: 3}", "limits"),
        ("[1, 2]", "mapping"),
        ("{", "cannot be read"),
        ("predictor: {precision: fp8}", "fp8"),
        ("defaults: [{model: nothing}]", "nothing.yaml"),
    ],
)
def test_an_invalid_configuration_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    status, lines = run_serve(Served(tmp_path))
    assert status == 1
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_ADDRESS", "127.0.0.1:0"),
        ("HTTP_ADDRESS", "unix:/nowhere/http.sock"),
        ("HTTP_ADDRESS", "unix:8000"),
    ],
)
def test_an_address_that_nobody_could_be_told_is_one_line(
    tmp_path: Path, name: str, value: str
) -> None:
    status, lines = run_serve(Served(tmp_path, **{name: value}))
    assert status == 1
    assert lines == [
        f"ctscan: the REST address is {value!r}: serve needs host:port with a port above 0"
    ]


def test_a_missing_configuration_is_one_line(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.yaml")
    status, lines = run_serve(Served(tmp_path, CONFIG_PATH=missing))
    assert status == 1
    assert len(lines) == 1
    assert missing in lines[0]


def test_weights_that_are_missing_or_do_not_fit_are_one_line(tmp_path: Path) -> None:
    missing, misfit = Served(tmp_path / "missing"), Served(tmp_path / "misfit")
    weights, _ = write_weights(tmp_path / "misfit")
    torch.save({"other": torch.zeros(3)}, weights)
    card = weights.with_suffix(".yaml")
    lines = card.read_text().splitlines(keepends=True)
    card.write_text("".join(line for line in lines if "sha256" not in line))
    misfit.start()
    status, said = run_serve(missing)
    assert status == 1
    assert len(said) == 1
    assert str(tmp_path / "missing" / "model.pt") in said[0]
    until(lambda: not misfit.running, "serve ends")
    assert misfit.stop() == 1
    (line,) = misfit.text().splitlines()
    assert "do not fit" in line


def test_the_command_without_a_command_says_what_there_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ctscan"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "serve" in done.stderr
    assert "predict" in done.stderr
