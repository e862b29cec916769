"""What happens when the predictor or the transformer dies, and when many call at once."""

import io
import itertools
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from serving.phantom import phantom
from tests.contract.doors import assert_problem, image_request, refusal
from tests.contract.load import load
from tests.contract.services import (
    Pair,
    Predictor,
    Process,
    Transformer,
    until,
    write_config,
    write_weights,
)
from tests.contract.slices import probabilities, shares, slice_png
from tests.images import BAD_IMAGES

# The contract's bound from the predictor's return to an answer.
BACK_S = 15.0


def predict(client: httpx.Client, _: int = 0) -> httpx.Response:
    return client.post("/predict", files={"file": SLICE})


SLICE = slice_png(0)


# The predictor absent, killed, back, replaced


def test_the_predictor_may_come_late_die_return_and_be_replaced(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.yaml")
    sockets = tmp_path / "s"
    transformer = Transformer(
        config, tmp_path, f"unix:{sockets}/http.sock", f"unix:{sockets}/grpc.sock"
    )

    def predictor(name: str, **weights: Any) -> Predictor:
        folder = tmp_path / name
        path, card = write_weights(folder, **weights)
        made = Predictor(path, config, folder / "log", sockets=folder)
        versions[name] = card.version
        return made

    def switch_to(name: str) -> None:
        fresh = tmp_path / f"to-{name}"
        fresh.symlink_to(tmp_path / name)
        fresh.replace(sockets)

    versions: dict[str, str] = {}
    first = predictor("first")
    # Other answers for the same input, and then another input altogether.
    second = predictor("second", temperature=2.0)
    third = predictor("third", image_size=96, seed=5)
    # Started now, but found only once the link leads to them.
    started: list[Process] = [transformer, first]
    for process in started:
        process.start()
    transformer.wait_ready("/livez")
    with transformer.client() as client:
        assert_nothing_works_and_everybody_knows(transformer, client)
        try:
            first.wait_ready()
            switch_to("first")
            transformer.wait_ready()
            hot = predict(client).json()
            assert hot["model"]["version"] == versions["first"]

            with load(transformer.url, predict) as answered:
                answered.wait_for(8)
                first.kill()
                until(lambda: 503 in answered.statuses(), "a request fails")
                until(lambda: not client.get("/health").json()["ok"], "health tells")
                assert_nothing_works_and_everybody_knows(transformer, client)
                started += [second, third]
                second.start()
                third.start()
                switch_to("second")
                second.wait_ready()
                back = time.monotonic()
                until(lambda: predict(client).status_code == 200, "predictions succeed again")
                assert time.monotonic() - back < BACK_S
            assert answered.statuses() == {200, 503}
            assert_cooled(hot, predict(client).json(), versions["second"])
            assert client.get("/health").json()["model_version"] == versions["second"]

            third.wait_ready()
            with load(transformer.url, predict) as answered:
                answered.wait_for(8)
                switch_to("third")
                assert second.stop() == 0
                until(
                    lambda: predict(client).json()["model"]["version"] == versions["third"],
                    "the new weights answer",
                )
                answered.wait_for(8)
            assert answered.statuses() == {200}
            assert answered.broken == 0
        finally:
            statuses = [process.stop() for process in started]
        assert statuses == [0, -signal.SIGKILL, 0, 0]


def assert_nothing_works_and_everybody_knows(
    transformer: Transformer, client: httpx.Client
) -> None:
    answer = predict(client)
    assert assert_problem(answer, 503)["type"].endswith(":predictor-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    said = client.get("/health")
    assert said.status_code == 200
    assert said.json()["ok"] is False
    assert client.get("/readyz").status_code == 200
    assert_problem(client.get("/v2/models/ctscan/ready"), 503)
    assert_problem(client.get("/v2/health/ready"), 503)
    with grpc.insecure_channel(transformer.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        error = refusal(channel, image_request([SLICE]))
        assert error.code() == grpc.StatusCode.UNAVAILABLE


def assert_cooled(hot: dict[str, Any], cool: dict[str, Any], version: str) -> None:
    """The same logits at temperature 2: labels and temperature come from the new card."""
    assert cool["model"]["version"] == version
    expected = shares(np.log([probabilities(hot)]), 2.0)[0]
    assert probabilities(cool) == pytest.approx(expected.tolist(), abs=1e-5)


# Many at once


def test_many_at_once_good_and_bad_get_their_own_answers(pair: Pair) -> None:
    bad = itertools.cycle(BAD_IMAGES.values())
    files = [next(bad)[0] if number % 10 == 9 else small_slice(number) for number in range(200)]

    def answer(data: bytes) -> tuple[int, Any]:
        said = client.post("/predict", files={"file": data})
        body = said.json()
        return said.status_code, body.get("probabilities", body.get("detail"))

    with pair.transformer.client() as client, ThreadPoolExecutor(32) as threads:
        alone = [answer(data) for data in files]
        together = list(threads.map(answer, files))
    assert [status for status, _ in together] == [status for status, _ in alone]
    assert sum(status == 200 for status, _ in together) == 180
    distinct = {tuple(np.round(list(said.values()), 5)) for status, said in alone if status == 200}
    assert len(distinct) > 150
    for (status, said), (_, expected) in zip(together, alone, strict=True):
        assert said == (pytest.approx(expected, abs=1e-6) if status == 200 else expected)


def small_slice(number: int) -> bytes:
    """A slice of its own, cut out and turned: quicker than painting each."""
    turned = np.rot90(BASE[number % 20], number // 20 % 4)[: 90 - number // 80 * 8]
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(turned)).save(target, "PNG")
    return target.getvalue()


BASE = [phantom(seed, 90, 90) for seed in range(20)]


# The transformer killed


def test_no_feedback_is_lost_that_was_answered(tmp_path: Path) -> None:
    nobody = f"unix:{tmp_path}/none.sock"
    config = write_config(tmp_path / "config.yaml")
    transformer = Transformer(config, tmp_path, nobody, nobody)
    transformer.start()
    transformer.wait_ready("/livez")

    def correct(client: httpx.Client, number: int) -> httpx.Response:
        pixels = np.full((64, 64), number // 256 % 256, np.uint8)
        pixels[:32] = number % 256
        pixels[0, :32] = 255 - pixels[0, 0]
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        form = {
            "predicted_class": "normal",
            "is_correct": "true",
            "comment": f"number {number}",
        }
        return client.post("/feedback", files={"file": file.getvalue()}, data=form)

    with load(transformer.url, correct, threads=6) as answered:
        answered.wait_for(30)
        transformer.kill()
        until(lambda: answered.broken, "requests fail")
    kept = [(number, answer.json()) for number, answer in answered.answers]
    assert answered.statuses() == {200}
    for number, said in kept:
        path = Path(said["saved_to"])
        with Image.open(path) as image:
            assert image.size == (64, 64)
            image.load()
        events = json.loads(path.with_suffix(".json").read_text())
        assert f"number {number}" in [event["comment"] for event in events]
    for path in transformer.feedback.rglob("image-*.png"):
        with Image.open(path) as image:
            image.load()
