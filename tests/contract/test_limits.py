"""A transformer with small limits before predictors that do as they are told."""

import base64
import contextlib
import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from serving.card import CLASSES, InputSpec
from tests.contract.doors import assert_problem, image_request, refusal
from tests.contract.fake_predictor import FakePredictor, quarters
from tests.contract.load import load
from tests.contract.services import Transformer, until, write_config
from tests.contract.slices import probabilities, row_of, shares, slice_png
from tests.images import colours, padded, png
from tests.transformer.rooms import GATE

SLICE = slice_png(0)


def predict(client: httpx.Client, _: int = 0) -> httpx.Response:
    return client.post("/predict", files={"file": SLICE})


@pytest.fixture(scope="module")
def staged(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Transformer, FakePredictor, FakePredictor]]:
    """A transformer with small limits before two fake predictors, which it calls in turn."""
    folder = tmp_path_factory.mktemp("staged")
    config = write_config(
        folder / "config.yaml",
        limits={"file_bytes": 30_000, "body_bytes": 80_000, "rows": 4, "queue_rows": 6},
    )
    with FakePredictor() as one, FakePredictor() as other:
        both = f"ipv4:{one.grpc_address},{other.grpc_address}"
        transformer = Transformer(config, folder, one.http_address, both)
        # A folder in the place of the file: no drift row can be written.
        transformer.drift.mkdir(parents=True)
        transformer.start()
        transformer.wait_ready()
        yield transformer, one, other
        assert transformer.stop() == 0


Staged = tuple[Transformer, FakePredictor, FakePredictor]


@pytest.fixture
def fakes(staged: Staged) -> Iterator[Staged]:
    yield staged
    for fake in staged[1:]:
        fake.__dict__.update(card=staged[2].original, version=None)


@contextlib.contextmanager
def held(fakes: Sequence[FakePredictor]) -> Iterator[None]:
    """Nothing is answered until the block ends."""
    for fake in fakes:
        fake.gate.clear()
    try:
        yield
    finally:
        for fake in fakes:
            fake.gate.set()


def test_the_fake_answers_what_its_logits_say(fakes: Staged) -> None:
    with fakes[0].client() as client:
        said = predict(client).json()
    expected = shares(quarters(row_of(SLICE)[np.newaxis]))[0].tolist()
    assert probabilities(said) == pytest.approx(expected, abs=1e-6)


def test_a_slow_predictor_meets_the_deadline_of_each_door(fakes: Staged) -> None:
    transformer, *both = fakes
    with held(both):
        with transformer.client() as client:
            headers = {"X-Request-Timeout-Ms": "200"}
            answer = client.post("/predict", files={"file": SLICE}, headers=headers)
            assert_problem(answer, 504)
        with grpc.insecure_channel(transformer.grpc_address) as channel:
            error = refusal(channel, image_request([SLICE]), timeout=0.2)
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    with transformer.client() as client:
        headers = {"X-Request-Timeout-Ms": "20000"}
        fine = client.post("/predict", files={"file": SLICE}, headers=headers)
        assert fine.status_code == 200


def test_more_requests_than_fit_are_told_to_come_back(fakes: Staged) -> None:
    transformer, *both = fakes
    with transformer.client() as client, ThreadPoolExecutor(16) as threads:
        with held(both):
            answers = [threads.submit(predict, client) for _ in range(16)]
            until(lambda: sum(answer.done() for answer in answers) == 10, "the rest is refused")
            for answer in (it.result() for it in answers if it.done()):
                assert_problem(answer, 429)
                assert int(answer.headers["retry-after"]) > 0
        assert sorted(it.result().status_code for it in answers) == [200] * 6 + [429] * 10
        assert predict(client).status_code == 200


def test_a_client_that_leaves_does_no_harm(fakes: Staged) -> None:
    transformer, *both = fakes
    host, port = transformer.url.removeprefix("http://").split(":")
    body = b"--e\r\n" + b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body += SLICE + b"\r\n--e--\r\n"
    head = (
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=e\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    calls = one_call_more(both)

    def failed() -> list[str]:
        with transformer.client() as asking:
            lines = asking.get("/metrics").text.splitlines()
        return [line for line in lines if 'status="5xx"' in line]

    failed_before, gone = failed(), transformer.text().count('"status": 499')
    with held(both):
        for part in (head, head + body[:50], head + body):
            with socket.create_connection((host, int(port))) as sending:
                sending.sendall(part)
                if part == head + body:
                    until(calls, "the request is under way")
        # Two in the middle of their bodies or before them, one that did not wait for its answer.
        until(
            lambda: transformer.text().count('"status": 499') == gone + 3, "all three are noticed"
        )
        assert failed() == failed_before
        with grpc.insecure_channel(transformer.grpc_address) as channel:
            before = one_call_more(both)
            call = GRPCInferenceServiceStub(channel).ModelInfer.future(image_request([SLICE]))
            until(before, "the call is under way")
            call.cancel()
    with transformer.client() as client:
        until(lambda: "ctscan_queue_rows 0.0" in client.get("/metrics").text, "the queue is empty")
        assert predict(client).status_code == 200
    assert "unexpected" not in transformer.text()


def one_call_more(fakes: Sequence[FakePredictor]) -> Callable[[], bool]:
    known = sum(fake.calls for fake in fakes)
    return lambda: sum(fake.calls for fake in fakes) > known


def test_predictors_of_two_inputs_side_by_side_lose_no_request(fakes: Staged) -> None:
    transformer, one, _ = fakes
    one.be(input=InputSpec(96, 96), weights_sha256="1" * 64)
    with load(transformer.url, predict, threads=3) as answered:
        answered.wait_for(40)
    assert answered.statuses() == {200}
    versions = {answer.json()["model"]["version"] for _, answer in answered.answers}
    assert versions <= {fakes[1].card.version, fakes[2].card.version}


def test_predictors_with_and_without_a_bank_side_by_side_lose_no_request(fakes: Staged) -> None:
    transformer, one, _ = fakes
    one.be(gate=replace(GATE, feature_distance=0.3), weights_sha256="1" * 64)
    with load(transformer.url, predict, threads=3) as answered:
        answered.wait_for(40)
    assert answered.statuses() == {200}
    versions = {answer.json()["model"]["version"] for _, answer in answered.answers}
    assert versions <= {fakes[1].card.version, fakes[2].card.version}


def test_an_answer_of_weights_without_a_card_is_no_crash(fakes: Staged) -> None:
    transformer, *both = fakes
    for fake in both:
        fake.version = "unheard-of"
    with transformer.client() as client:
        assert_problem(predict(client), 503)
        for fake in both:
            fake.version = None
        assert predict(client).status_code == 200


@pytest.mark.parametrize(("size", "status"), [(30_000, 200), (30_001, 413)])
def test_a_file_just_under_and_just_over_its_limit(fakes: Staged, size: int, status: int) -> None:
    data = padded(png(colours()), size)
    with fakes[0].client() as client:
        answer = client.post("/predict", files={"file": data})
        assert answer.status_code == status
    with grpc.insecure_channel(fakes[0].grpc_address) as channel:
        if status == 413:
            error = refusal(channel, image_request([data]))
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(("size", "status"), [(80_000, 400), (80_001, 413)])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("expect", [False, True])
def test_a_body_just_under_and_just_over_its_limit(
    fakes: Staged, size: int, status: int, chunked: bool, expect: bool
) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, size, 8000):
            yield bytes(min(8000, size - start))

    headers = {"Expect": "100-continue"} if expect else {}
    with fakes[0].client() as client:
        answer = client.post(
            "/v1/models/ctscan:predict",
            content=pieces() if chunked else bytes(size),
            headers=headers,
        )
        assert_problem(answer, status)


def test_a_grpc_message_over_the_limit_is_refused(fakes: Staged) -> None:
    with grpc.insecure_channel(fakes[0].grpc_address) as channel:
        error = refusal(channel, image_request([bytes(200_000)]))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(("rows", "status"), [(4, 200), (5, 413)])
def test_as_many_rows_as_the_limit_says(fakes: Staged, rows: int, status: int) -> None:
    instances = [{"b64": base64.b64encode(SLICE).decode()}] * rows
    with fakes[0].client() as client:
        answer = client.post("/v1/models/ctscan:predict", json={"instances": instances})
        assert answer.status_code == status


# Storage


def correct(client: httpx.Client, label: str, image: bytes = SLICE) -> httpx.Response:
    form = {"predicted_class": label, "is_correct": "true"}
    return client.post("/feedback", files={"file": image}, data=form)


def test_predictions_go_on_while_the_drift_log_cannot_be_written(fakes: Staged) -> None:
    with fakes[0].client() as client:
        predict(client)
        until(lambda: dropped(client) == predicted(client) > 0, "the rows before are given up")
        known = dropped(client)
        assert [predict(client).status_code for _ in range(3)] == [200] * 3
        until(lambda: dropped(client) == known + 3, "three more rows are given up")
    assert "cannot be written" in fakes[0].text()


def dropped(client: httpx.Client) -> float:
    return metric(client, "ctscan_drift_dropped_total ")


def predicted(client: httpx.Client) -> float:
    return metric(client, "ctscan_predictions_total{")


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_a_file_in_the_place_of_the_folder_is_a_storage_problem(fakes: Staged) -> None:
    folder = fakes[0].feedback / "normal"
    folder.parent.mkdir(exist_ok=True)
    folder.write_bytes(b"in the way")
    try:
        with fakes[0].client() as client:
            answer = correct(client, "normal")
            assert assert_problem(answer, 503)["type"].endswith(":storage-failed")
            assert int(answer.headers["retry-after"]) > 0
            assert predict(client).status_code == 200
            assert correct(client, "adenocarcinoma").status_code == 200
    finally:
        folder.unlink()


@pytest.fixture
def full_disk(fakes: Staged) -> Iterator[Path]:
    """The folder of one class on a disk of its own, that has a few bytes left."""
    folder = fakes[0].feedback / CLASSES[1]
    folder.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if not made or made.returncode:
        pytest.skip("a disk can only be filled where this process may mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing_half_written(fakes: Staged, full_disk: Path) -> None:
    with (full_disk / "filler").open("wb", buffering=0) as filler:
        with contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            filler.write(bytes(4096))
    with fakes[0].client() as client:
        answer = correct(client, CLASSES[1])
        assert assert_problem(answer, 503)["type"].endswith(":storage-failed")
        assert os.listdir(full_disk) == ["filler"]
        (full_disk / "filler").unlink()
        saved = correct(client, CLASSES[1])
        assert saved.status_code == 200
        assert Path(saved.json()["saved_to"]).is_file()
