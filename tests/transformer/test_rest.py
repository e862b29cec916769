import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.datastructures import UploadFile

from serving.byte_budget import ByteBudget
from serving.card import CLASSES, Card, InputSpec
from serving.errors import ClientLeft, InvalidImage
from serving.http_door import install_http_door
from serving.kserve.lifecycle import Lifecycle
from serving.kserve.statuses import SDK_ERRORS, translate
from serving.request import Request as CurrentRequest
from serving.request import current_request
from serving.settings import Limits, Process, Settings, Shutdown
from tests.circles import circles
from tests.images import BAD_IMAGES, grey, png
from tests.transformer.rooms import EVIDENCE, metrics
from transformer.client import PredictorClient, Status
from transformer.decode import Slice, decode
from transformer.explanation import Explanation, explain_from
from transformer.fair_pool import FairPool
from transformer.feedback import Correction, FeedbackStore, Saved
from transformer.metrics import TransformerMetrics
from transformer.pipeline import Pipeline
from transformer.prediction import Prediction, predict_from
from transformer.rest import Rooms, prefers_png, rest_routes

CARD = Card("resnet18", InputSpec(64, 64))
IMAGE = png(grey())


class FakePipeline:
    """Fails as it is told, else says the first class."""

    async def predict(self, images: Sequence[bytes]) -> list[Prediction]:
        if images[0] == b"bug":
            raise ZeroDivisionError("secret")
        if images[0] == b"bad":
            raise InvalidImage("no image")
        if images[0] == b"gone":
            raise ClientLeft("the client left")
        return [
            predict_from(np.array([9, 0, 0, 0], np.float32), CARD, EVIDENCE, "id") for _ in images
        ]

    async def decode(self, data: bytes) -> Slice:
        return decode(data, Limits())

    async def explain(
        self, images: Sequence[bytes], classes: Sequence[str | None]
    ) -> list[Explanation]:
        logits, maps = np.array([9, 0, 0, 0], np.float32), np.ones((4, 2, 3), np.float32)
        said = await self.predict(images)
        return [
            explain_from(it, logits, maps, wanted) for it, wanted in zip(said, classes, strict=True)
        ]

    async def draw(self, image: bytes, wanted: str | None) -> bytes:
        return f"picture of {wanted}".encode()


class FakeClient:
    answer = Status("cpu", True, "models/model.pt", True, CARD.version)

    async def status(self) -> Status:
        return self.answer


class House:
    """An app with our routes, and the rooms behind them."""

    def __init__(self, folder: Path, threads: ThreadPoolExecutor) -> None:
        self.client = FakeClient()
        self.metrics: TransformerMetrics = metrics()
        self.lifecycle = Lifecycle(Shutdown())
        limits = Limits(file_bytes=20_000, batch_files=3, comment_chars=10)
        settings = Settings(limits=limits, process=Process(config_path=Path("c.yaml")))
        self.app = FastAPI()
        self.store = FeedbackStore(folder, lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self.images = ByteBudget(1_000_000, print, "images to be stored")
        rooms = Rooms(
            cast(Pipeline, FakePipeline()),
            cast(PredictorClient, self.client),
            self.store,
            self.metrics,
            self.lifecycle,
            settings,
            FairPool(threads, 2),
            self.images,
        )
        self.app.include_router(rest_routes(rooms))
        install_http_door(
            self.app, limits, translate, SDK_ERRORS, ByteBudget(Limits().bodies_bytes, print)
        )

    def count(self, name: str, **labels: str) -> float:
        counted = self.metrics
        for family in (counted.feedback, counted.feedback_failed, counted.prediction_error):
            for metric in family.collect():
                for sample in metric.samples:
                    if sample.name == name and sample.labels == labels:
                        return float(sample.value)
        return 0.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ThreadPoolExecutor(2) as threads:
        yield House(tmp_path / "feedback", threads)


@pytest.fixture
async def rest(house: House) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(house.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


def form(correct: bool = True, **more: str) -> dict[str, str]:
    return {"predicted_class": CLASSES[0], "is_correct": str(correct).lower(), **more}


async def test_a_batch_has_a_problem_in_the_place_of_a_bad_file(rest: httpx.AsyncClient) -> None:
    files = [("files", data) for data in (IMAGE, b"bad", b"bug")]
    answer = await rest.post("/predict/batch", files=files)
    good, bad, bug = answer.json()
    assert answer.status_code == 200
    assert good["pred_class"] == CLASSES[0]
    assert (bad["status"], bad["error"]) == (400, "no image")
    assert bug["status"] == 500
    assert "secret" not in answer.text


async def test_a_bad_file_of_a_batch_is_gone_with_its_request(
    rest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def predict(self: object, images: Sequence[bytes]) -> list[Prediction]:
        error = InvalidImage("under a name")
        raise error

    monkeypatch.setattr(FakePipeline, "predict", predict)
    with circles() as found:
        await rest.post("/predict/batch", files=[("files", b"bad")])
    assert not any(isinstance(it, UploadFile) for it in found)


async def test_a_batch_has_a_limit(rest: httpx.AsyncClient) -> None:
    answer = await rest.post("/predict/batch", files=[("files", IMAGE)] * 4)
    assert answer.status_code == 413
    assert "at most 3" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("form", "explained"),
    [({}, CLASSES[0]), ({"class": ""}, CLASSES[0]), ({"class": "normal"}, "normal")],
)
async def test_an_explanation_is_of_the_class_in_the_form(
    rest: httpx.AsyncClient, form: dict[str, str], explained: str
) -> None:
    answer = await rest.post("/explain", files={"file": IMAGE}, data=form)
    said = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert said["explained_class"] == explained
    assert said["pred_class"] == CLASSES[0]
    assert said["grid"] == [[pytest.approx(1 / 6)] * 3] * 2


async def test_who_prefers_png_gets_one(rest: httpx.AsyncClient) -> None:
    form, headers = {"class": CLASSES[1]}, {"accept": "image/png"}
    answer = await rest.post("/explain", files={"file": IMAGE}, data=form, headers=headers)
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == f"picture of {CLASSES[1]}".encode()


@pytest.mark.parametrize("accept", ["image/png", "*/*"])
async def test_an_unknown_class_is_a_problem_whatever_is_accepted(
    rest: httpx.AsyncClient, accept: str
) -> None:
    headers = {"accept": accept}
    answer = await rest.post(
        "/explain", files={"file": IMAGE}, data={"class": "cat"}, headers=headers
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert [item["field"] for item in answer.json()["errors"]] == ["class"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("image/*", False),
        ("image/png", True),
        ("Image/PNG ; q=0.5", True),
        ("image/png, */*;q=0.8", True),
        ("application/json, image/png", False),
        ("application/json;q=0.9, image/png", True),
        ("application/json, image/png;q=0.9", False),
        ("image/png;q=0", False),
        ("image/png;q=0.001;other=1", True),
        ("image/png;q=lots", True),
        ("image/pngx,,;", False),
    ],
)
def test_a_picture_comes_where_it_is_ranked_above_json(accept: str, expected: bool) -> None:
    assert prefers_png(accept) is expected


@pytest.mark.parametrize("path", ["/predict", "/explain", "/feedback"])
async def test_a_file_over_its_limit_is_refused(rest: httpx.AsyncClient, path: str) -> None:
    answer = await rest.post(path, files={"file": bytes(20_001)}, data=form())
    assert answer.status_code == 413


async def test_a_correction_counts_once_however_often_it_comes(
    house: House, rest: httpx.AsyncClient
) -> None:
    data = form(False, correct_class=CLASSES[3])
    saved = [
        (await rest.post("/feedback", files={"file": IMAGE}, data=data)).json() for _ in range(3)
    ]
    assert len({item["saved_to"] for item in saved}) == 1
    assert {item["class"] for item in saved} == {CLASSES[3]}
    assert house.count("ctscan_feedback_total", label=CLASSES[3], agreement="wrong") == 1
    assert house.count("prediction_error_total") == 1


async def test_a_correction_that_the_folder_does_not_take_is_counted(
    house: House, rest: httpx.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "feedback").mkdir()
    (tmp_path / "feedback" / CLASSES[0]).write_text("a file where the folder should be")
    answer = await rest.post("/feedback", files={"file": IMAGE}, data=form())
    assert answer.status_code == 503
    assert house.count("ctscan_feedback_failed_total") == 1
    assert house.count("ctscan_feedback_total", label=CLASSES[0], agreement="correct") == 0


async def test_a_confirmation_is_no_prediction_error(house: House, rest: httpx.AsyncClient) -> None:
    await rest.post("/feedback", files={"file": IMAGE}, data=form())
    assert house.count("ctscan_feedback_total", label=CLASSES[0], agreement="correct") == 1
    assert house.count("prediction_error_total") == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (form(comment="c" * 11), 400),
        (form(False), 400),
        (form(True, correct_class=CLASSES[1]), 422),
        ({}, 400),
    ],
)
async def test_a_wrong_form_stores_nothing(
    house: House, rest: httpx.AsyncClient, tmp_path: Path, data: dict[str, str], status: int
) -> None:
    answer = await rest.post("/feedback", files={"file": IMAGE}, data=data)
    assert answer.status_code == status
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("name", ["text", "png-truncated", "png-huge-header"])
async def test_feedback_on_a_bad_image_stores_nothing(
    rest: httpx.AsyncClient, tmp_path: Path, name: str
) -> None:
    answer = await rest.post("/feedback", files={"file": BAD_IMAGES[name][0]}, data=form())
    assert 400 <= answer.status_code < 500
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("ready", [False, True])
async def test_health_is_ok_when_a_prediction_would_succeed(
    house: House, rest: httpx.AsyncClient, ready: bool, draining: bool
) -> None:
    house.client.answer = Status("cuda", True, "w.pt", ready, "v1")
    house.lifecycle.draining = draining
    answer = await rest.get("/health")
    assert answer.status_code == 200
    assert list(answer.json().items())[:5] == [
        ("ok", ready and not draining),
        ("device", "cuda"),
        ("model_loaded", True),
        ("config_path", "c.yaml"),
        ("model_path", "w.pt"),
    ]


async def test_health_of_an_absent_predictor_is_no_guess(
    house: House, rest: httpx.AsyncClient
) -> None:
    house.client.answer = Status()
    said: dict[str, Any] = (await rest.get("/health")).json()
    assert (said["ok"], said["device"], said["model_loaded"]) == (False, None, False)


async def test_files_of_a_batch_are_predicted_at_the_same_time(
    house: House, rest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = asyncio.Barrier(3)

    async def predict(_: FakePipeline, images: Sequence[bytes]) -> list[Prediction]:
        async with asyncio.timeout(10), together:
            return [predict_from(np.zeros(4, np.float32), CARD, EVIDENCE, "id")]

    monkeypatch.setattr(FakePipeline, "predict", predict)
    answer = await rest.post("/predict/batch", files=[("files", io.BytesIO(IMAGE))] * 3)
    assert [item["prediction_id"] for item in answer.json()] == ["id"] * 3


@pytest.mark.parametrize("path", ["/predict", "/explain", "/feedback"])
async def test_two_files_where_one_is_asked_for_are_refused(
    rest: httpx.AsyncClient, path: str
) -> None:
    files = [("file", io.BytesIO(IMAGE)), ("file", io.BytesIO(IMAGE))]
    answer = await rest.post(path, files=files, data=form())
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "file"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *(("/feedback", name) for name in form(correct_class="", comment="", prediction_id="")),
        ("/explain", "class"),
        ("/predict", "more"),
    ],
)
async def test_a_field_that_comes_twice_is_refused(
    rest: httpx.AsyncClient, tmp_path: Path, path: str, field: str
) -> None:
    data = {**form(), field: [CLASSES[0], CLASSES[1]]}
    answer = await rest.post(path, files={"file": IMAGE}, data=data)
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"{field}: expected once, as only one would count"
    assert [item["field"] for item in answer.json()["errors"]] == [field]
    assert not list(tmp_path.rglob("*.png"))


async def test_no_more_of_a_long_name_comes_back_than_is_of_use(rest: httpx.AsyncClient) -> None:
    answer = await rest.post("/predict", files={"file": IMAGE}, data={"x" * 2000: ["a", "b"]})
    assert answer.status_code == 400
    assert len(answer.content) < 1000


async def test_a_store_that_hangs_is_left_at_the_deadline(
    rest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(FeedbackStore, "save", lambda *_: hanging.wait(30))
    headers = {"X-Request-Timeout-Ms": "100"}
    answer = await rest.post("/feedback", files={"file": IMAGE}, data=form(), headers=headers)
    hanging.set()
    assert answer.status_code == 504


async def test_a_correction_that_is_being_written_counts_when_nobody_waits_any_more(
    house: House, rest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, written, save = asyncio.get_running_loop(), threading.Event(), house.store.save
    asking: list[CurrentRequest] = []

    async def decode_for(pipeline: FakePipeline, data: bytes) -> Slice:
        asking.append(current_request())
        return decode(data, Limits())

    def slow(image: Image.Image, correction: Correction) -> Saved:
        loop.call_soon_threadsafe(asking[0].depart)
        written.wait(30)
        return save(image, correction)

    monkeypatch.setattr(FakePipeline, "decode", decode_for)
    monkeypatch.setattr(house.store, "save", slow)
    answer = await rest.post("/feedback", files={"file": IMAGE}, data=form())
    assert answer.status_code == 499
    written.set()
    counted = {"label": CLASSES[0], "agreement": "correct"}
    async with asyncio.timeout(30):
        while house.count("ctscan_feedback_total", **counted) == 0:
            await asyncio.sleep(0)


async def test_a_batch_whose_client_left_is_no_success(rest: httpx.AsyncClient) -> None:
    files = [("files", io.BytesIO(data)) for data in (IMAGE, b"gone")]
    assert (await rest.post("/predict/batch", files=files)).status_code == 499


async def test_images_that_wait_for_a_slow_volume_are_bounded_in_bytes(
    house: House, rest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, threads = threading.Event(), set()

    def save(image: Image.Image, correction: Correction) -> Saved:
        threads.add(threading.get_ident())
        free.wait(30)
        return Saved(Path("somewhere.png"), correction.label, True)

    monkeypatch.setattr(house.store, "save", save)
    own = decode(IMAGE, Limits()).nbytes
    house.images.take(1_000_000 - own)
    first = asyncio.create_task(rest.post("/feedback", files={"file": IMAGE}, data=form()))
    while house.images.held < 1_000_000:
        await asyncio.sleep(0)
    refused = await rest.post("/feedback", files={"file": IMAGE}, data=form())
    assert refused.status_code == 429
    assert "images to be stored of 1000000 bytes are held" in refused.json()["detail"]
    free.set()
    assert (await first).status_code == 200
    assert house.images.held == 1_000_000 - own
    assert threading.get_ident() not in threads
