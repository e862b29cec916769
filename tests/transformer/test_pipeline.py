import asyncio
from collections import Counter as Counts
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import Counter

from serving.admission import Rate
from serving.card import CLASSES, Card, InputSpec, Window
from serving.errors import (
    DeadlineExceeded,
    InvalidImage,
    Overloaded,
    PredictorUnavailable,
    StaleCard,
    UnsuitableImage,
)
from serving.settings import Limits
from tests.circles import circles
from tests.dicoms import CT
from tests.images import colours, grey, png, uniform_png
from tests.transformer.rooms import GATE, Inline, metrics, request
from training.window import WINDOW
from transformer.client import Answer, PredictorClient
from transformer.drift import DriftLog, DriftRow
from transformer.fair_pool import FairPool
from transformer.metrics import TransformerMetrics
from transformer.pipeline import TRIES_OF_CARDS, Pipeline, Prepared

SMALL = Card("resnet18", InputSpec(64, 64))
WINDOWED = Card("resnet18", InputSpec(64, 64, window=WINDOW))
LARGE = Card("resnet18", InputSpec(72, 72))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
Rows = Sequence[NDArray[np.uint8]]


class FakeClient:
    """Answers each row with logits that say its mean; `serving` are the cards of successive calls,
    as if predictors behind one address took turns."""

    def __init__(self, *serving: Card) -> None:
        self.known = SMALL
        self._serving = list(serving) or [SMALL]
        self.sizes: list[tuple[int, ...]] = []
        self.maps_asked_for: list[bool] = []
        self.gate: asyncio.Event | None = None
        self.rate = Rate()

    async def card(self) -> Card:
        return self.known

    async def infer(self, rows: Rows, card: Card, *, cam: bool = False) -> list[Answer]:
        if self.gate is not None:
            await self.gate.wait()
        served = self._serving.pop(0) if len(self._serving) > 1 else self._serving[0]
        self.sizes.append(rows[0].shape[:2])
        self.maps_asked_for.append(cam)
        if served.input != card.input:
            self.known = served
            raise StaleCard("other weights")
        maps = np.arange(16, dtype=np.float32).reshape(4, 2, 2) if cam else None
        apart = None if served.gate is None else served.gate.feature_distance
        return [
            Answer(np.array([row.mean(), 0, 0, 0], np.float32), served, maps, apart) for row in rows
        ]


class FakeDrift:
    def __init__(self) -> None:
        self.rows: list[DriftRow] = []

    def append(self, row: DriftRow) -> None:
        self.rows.append(row)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def pipeline(
    client: FakeClient,
    threads: Executor,
    drift: FakeDrift | None = None,
    limits: Limits | None = None,
    counted: TransformerMetrics | None = None,
) -> Pipeline:
    return Pipeline(
        cast(PredictorClient, client),
        cast(DriftLog, drift or FakeDrift()),
        counted or metrics(),
        limits or Limits(),
        FairPool(threads, 4),
        lambda: NOON,
    )


FILES = [png(grey(seed)) for seed in range(6)]


async def test_answers_come_in_the_order_of_the_images(threads: ThreadPoolExecutor) -> None:
    made = pipeline(FakeClient(), threads)
    with request():
        together = await made.predict(FILES)
        alone = [(await made.predict([data]))[0] for data in FILES]
    assert [it.confidence for it in together] == [it.confidence for it in alone]
    assert len({it.prediction_id for it in together}) == len(FILES)


@pytest.mark.parametrize("index", [0, 2, 5])
@pytest.mark.parametrize(
    ("data", "kind"), [(b"text", InvalidImage), (uniform_png(), UnsuitableImage)]
)
async def test_a_bad_image_fails_the_call_and_is_named_by_its_index(
    threads: ThreadPoolExecutor, index: int, data: bytes, kind: type[Exception]
) -> None:
    drift = FakeDrift()
    files = [*FILES[:index], data, *FILES[index + 1 :]]
    with request(), pytest.raises(kind, match=rf"^image\[{index}\]: "):
        await pipeline(FakeClient(), threads, drift).predict(files)
    assert drift.rows == []


async def test_a_bad_image_alone_has_no_index(threads: ThreadPoolExecutor) -> None:
    with request(), pytest.raises(InvalidImage) as failed:
        await pipeline(FakeClient(), threads).predict([b"text"])
    assert "image[" not in str(failed.value)


async def test_each_prediction_is_a_drift_row(threads: ThreadPoolExecutor) -> None:
    drift = FakeDrift()
    with request():
        said = await pipeline(FakeClient(), threads, drift).predict([png(colours()), FILES[0]])
    assert [row.pred_class for row in drift.rows] == [item.pred_class for item in said]
    assert [row.pred_conf for row in drift.rows] == [item.confidence for item in said]
    assert [row.timestamp for row in drift.rows] == ["2026-01-01T12:00:00.000+00:00"] * 2
    assert drift.rows[0].mean != drift.rows[1].mean


async def test_each_prediction_is_judged_recorded_and_counted(
    threads: ThreadPoolExecutor,
) -> None:
    drift, counted = FakeDrift(), metrics()
    gated = replace(SMALL, gate=replace(GATE, feature_distance=0.3))
    made = pipeline(FakeClient(gated), threads, drift, counted=counted)
    with request():
        said = await made.predict([FILES[0], png(colours()), FILES[0]])
    assert [item.decision for item in said] == ["accept", "abstain", "accept"]
    assert "colour" in said[1].reasons
    assert [row.decision for row in drift.rows] == [item.decision for item in said]
    assert [row.reasons for row in drift.rows] == [";".join(item.reasons) for item in said]
    assert [row.distance for row in drift.rows] == [0.3] * 3
    assert samples(counted.decisions) == {"accept": 2, "abstain": 1}
    assert samples(counted.gate_reasons) == dict.fromkeys(said[1].reasons, 1)


async def test_that_a_slice_was_dicom_reaches_the_gate(threads: ThreadPoolExecutor) -> None:
    client = FakeClient(WINDOWED)
    client.known = WINDOWED
    with request():
        (said,) = await pipeline(client, threads).predict([CT])
        (explained,) = await pipeline(client, threads).explain([CT], [None])
    assert said.reasons == ["source_unvalidated", "gate_unavailable"]
    assert explained.reasons == said.reasons


async def test_rows_are_prepared_anew_for_other_weights(threads: ThreadPoolExecutor) -> None:
    client = FakeClient(LARGE)
    with request():
        (said,) = await pipeline(client, threads).predict(FILES[:1])
    assert client.sizes == [(64, 64), (72, 72)]
    assert said.model.version == LARGE.version


@pytest.mark.parametrize(
    "turns", [[LARGE, SMALL, LARGE], [LARGE, SMALL, SMALL, SMALL], [LARGE, SMALL, LARGE, LARGE]]
)
async def test_predictors_of_two_inputs_in_turn_lose_no_request(
    threads: ThreadPoolExecutor, turns: list[Card]
) -> None:
    client = FakeClient(*turns)
    with request():
        (said,) = await pipeline(client, threads).predict(FILES[:1])
    assert said.model.version in (SMALL.version, LARGE.version)


async def test_images_of_a_stale_card_are_gone_with_their_request(
    threads: ThreadPoolExecutor,
) -> None:
    with circles() as found, request():
        await pipeline(FakeClient(LARGE), threads).predict(FILES[:1])
    assert not any(isinstance(it, Prepared) for it in found)


async def test_weights_that_change_for_ever_are_given_up(threads: ThreadPoolExecutor) -> None:
    changing = [Card("resnet18", InputSpec(80 + size, 64)) for size in range(40)]
    client = FakeClient(*changing)
    with request(), pytest.raises(StaleCard):
        await pipeline(client, threads).predict(FILES[:1])
    assert len(client.sizes) == sum(TRIES_OF_CARDS)


async def test_more_rows_than_fit_are_refused_and_the_others_are_not_harmed(
    threads: ThreadPoolExecutor,
) -> None:
    client = FakeClient()
    client.gate = asyncio.Event()
    made = pipeline(client, threads, limits=Limits(queue_rows=4))
    with request():
        first = asyncio.create_task(made.predict(FILES[:3]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await made.predict(FILES[:2])
        client.gate.set()
        assert len(await first) == 3
        assert len(await made.predict(FILES[:4])) == 4


async def test_what_cannot_be_taken_is_refused_before_its_body_is_there(
    threads: ThreadPoolExecutor,
) -> None:
    client, counted = FakeClient(), metrics()
    client.gate = asyncio.Event()
    made = pipeline(client, threads, limits=Limits(queue_rows=1), counted=counted)
    with request():
        made.require_room()
        first = asyncio.create_task(made.predict(FILES[:1]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            made.require_room()
        client.gate.set()
        await first
        made.require_room()
    assert shed(counted) == {"queue_full": 1}


@pytest.mark.looptime
async def test_a_deadline_that_cannot_be_met_at_the_predictors_rate_is_refused_at_once() -> None:
    client, counted = FakeClient(), metrics()
    client.gate = asyncio.Event()
    now = asyncio.get_running_loop().time()
    for second in (-2, -1, 0):
        client.rate.finished(2, 100, now + second)
    made = pipeline(client, Inline(), counted=counted)
    with request(600):
        waiting = [asyncio.create_task(made.predict(FILES[:1])) for _ in range(20)]
        await asyncio.sleep(0.1)
    with request(5), pytest.raises(Overloaded, match="past the deadline"):
        await made.predict(FILES[:1])
    with request(30):
        made.require_room()
    client.gate.set()
    await asyncio.gather(*waiting)
    assert shed(counted) == {"no_time": 1}


class Slow(Executor):
    """Two threads that take a tenth of a second of the loop's clock for each job."""

    def __init__(self) -> None:
        self._free_at = [0.0, 0.0]

    def submit(self, job: Any, /, *_: Any, **__: Any) -> "Future[Any]":
        loop, future = asyncio.get_running_loop(), Future[Any]()
        end = max(loop.time(), self._free_at.pop(0)) + 0.1
        self._free_at = sorted([*self._free_at, end])
        loop.call_at(end, lambda: future.set_result(job()))
        return future


@pytest.mark.looptime
async def test_more_than_can_be_decoded_is_refused_so_that_the_rest_is_answered() -> None:
    counted, answered = metrics(), Counts[str]()
    made = pipeline(FakeClient(), Slow(), counted=counted)

    async def one(second: int) -> None:
        with request(5):
            try:
                await made.predict(FILES[:1])
                answered["in time" if second >= 30 else "early"] += 1
            except (Overloaded, DeadlineExceeded) as error:
                answered[type(error).__name__] += 1

    tasks = []
    for place in range(40 * 26):  # 26 images a second for 40 s, where 20 can be decoded
        tasks.append(asyncio.create_task(one(place // 26)))
        await asyncio.sleep(1 / 26)
    await asyncio.gather(*tasks)
    assert answered["in time"] > 0.9 * 10 * 20
    assert shed(counted)["no_time"] == answered["Overloaded"] > 0


async def test_a_deadline_that_passes_ends_the_wait_and_frees_the_rows(
    threads: ThreadPoolExecutor,
) -> None:
    client = FakeClient()
    client.gate = asyncio.Event()
    made = pipeline(client, threads, limits=Limits(queue_rows=1))
    with request(0.05), pytest.raises(DeadlineExceeded):
        # A second bound, so that without the first the test fails instead of hanging.
        await asyncio.wait_for(made.predict(FILES[:1]), 20)
    client.gate.set()
    with request():
        assert len(await made.predict(FILES[:1])) == 1


async def test_an_absent_predictor_is_said_as_it_is(threads: ThreadPoolExecutor) -> None:
    class Absent(FakeClient):
        async def card(self) -> Card:
            raise PredictorUnavailable("nobody there")

    counted = metrics()
    made = pipeline(Absent(), threads, counted=counted)
    with request(), pytest.raises(PredictorUnavailable, match="nobody there"):
        await made.predict(FILES[:1])
    assert shed(counted) == {"no_predictor": 1}


def shed(counted: TransformerMetrics) -> dict[str, float]:
    """Requests that were not run, by reason."""
    return samples(counted.batches._shed)


# DICOM


async def test_a_dicom_slice_is_shown_in_the_window_of_the_card(
    threads: ThreadPoolExecutor,
) -> None:
    client, drift = FakeClient(WINDOWED), FakeDrift()
    client.known = WINDOWED
    made = pipeline(client, threads, drift)
    with request():
        ct_slice = await made.decode(CT)
        (said,) = await made.predict([CT])
        assert (await made.draw(CT, None)).startswith(b"\x89PNG")
    assert ct_slice.is_dicom
    assert drift.rows[0].mean == np.asarray(ct_slice.image).mean()
    assert said.model.version == WINDOWED.version


async def test_weights_of_another_window_see_the_slice_in_theirs(
    threads: ThreadPoolExecutor,
) -> None:
    other = Card("resnet18", InputSpec(64, 64, window=Window(40, 400)))
    means = []
    for card in (WINDOWED, other):
        client, drift = FakeClient(card), FakeDrift()
        client.known = WINDOWED
        with request():
            await pipeline(client, threads, drift).predict([CT])
        means.append(drift.rows[0].mean)
    assert means[0] != means[1]


async def test_without_a_window_a_dicom_slice_is_refused_by_every_call(
    threads: ThreadPoolExecutor,
) -> None:
    made = pipeline(FakeClient(), threads)
    with request():
        for call in (made.predict([CT]), made.draw(CT, None), made.decode(CT)):
            with pytest.raises(UnsuitableImage, match="no CT window"):
                await call


async def test_an_image_alone_needs_no_predictor_to_be_decoded(
    threads: ThreadPoolExecutor,
) -> None:
    class Absent(FakeClient):
        async def card(self) -> Card:
            raise PredictorUnavailable("nobody there")

    made = pipeline(Absent(), threads)
    with request():
        assert not (await made.decode(FILES[0])).is_dicom
        with pytest.raises(PredictorUnavailable):
            await made.decode(CT)


# Explanations


async def test_an_explanation_has_the_prediction_and_the_class_beside_its_image(
    threads: ThreadPoolExecutor,
) -> None:
    made = pipeline(FakeClient(), threads)
    with request():
        predicted = await made.predict(FILES[:3])
        said = await made.explain(FILES[:3], [None, "normal", CLASSES[1]])
    assert [it.explained_class for it in said] == [CLASSES[0], "normal", CLASSES[1]]
    assert [it.probabilities for it in said] == [it.probabilities for it in predicted]
    assert [it.grid[0][0] for it in said] == [0 / 4, 12 / 4, 4 / 4]
    assert len({it.prediction_id for it in said}) == 3


async def test_maps_are_asked_for_when_explaining_alone(threads: ThreadPoolExecutor) -> None:
    client = FakeClient()
    made = pipeline(client, threads)
    with request():
        await made.predict(FILES[:1])
        await made.explain(FILES[:1], [None])
        await made.draw(FILES[0], None)
    assert client.maps_asked_for == [False, True, True]


async def test_an_explanation_counts_as_itself_and_as_no_prediction(
    threads: ThreadPoolExecutor,
) -> None:
    drift, counted = FakeDrift(), metrics()
    made = pipeline(FakeClient(), threads, drift, counted=counted)
    with request():
        await made.explain(FILES[:2], ["normal", None])
        await made.draw(FILES[0], "normal")
    assert drift.rows == []
    assert samples(counted.explanations) == {"normal": 2, CLASSES[0]: 1}
    assert samples(counted.predictions) == {}
    for silent in (counted.confidence, counted.grey_mean, counted.grey_std):
        (family,) = silent.collect()
        assert [it.value for it in family.samples if it.name.endswith("_count")] == [0]


def samples(counter: Counter) -> dict[str, float]:
    """The totals of a counter with one label, by its value, without those that stand at 0."""
    (family,) = counter.collect()
    totals = [it for it in family.samples if it.name.endswith("_total") and it.value]
    return {next(iter(it.labels.values())): it.value for it in totals}


@pytest.mark.parametrize(
    ("data", "kind"), [(b"text", InvalidImage), (uniform_png(), UnsuitableImage)]
)
async def test_what_cannot_be_classified_is_not_explained(
    threads: ThreadPoolExecutor, data: bytes, kind: type[Exception]
) -> None:
    counted = metrics()
    made = pipeline(FakeClient(), threads, counted=counted)
    with request():
        with pytest.raises(kind, match=r"^instances\[1\]: "):
            await made.explain([FILES[0], data], [None, None], "instances[{}]")
        with pytest.raises(kind):
            await made.draw(data, None)
    assert samples(counted.explanations) == {}


async def test_explanations_are_prepared_anew_for_other_weights(
    threads: ThreadPoolExecutor,
) -> None:
    client = FakeClient(LARGE)
    with request():
        (said,) = await pipeline(client, threads).explain(FILES[:1], [None])
    assert client.sizes == [(64, 64), (72, 72)]
    assert client.maps_asked_for == [True, True]
    assert said.model.version == LARGE.version


async def test_explanations_are_admitted_and_timed_as_predictions_are(
    threads: ThreadPoolExecutor,
) -> None:
    client = FakeClient()
    client.gate = asyncio.Event()
    made = pipeline(client, threads, limits=Limits(queue_rows=1))
    with request(0.05):
        waiting = asyncio.create_task(made.draw(FILES[0], None))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await made.explain(FILES[:1], [None])
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(waiting, 20)
    client.gate.set()
    with request():
        assert len(await made.explain(FILES[:1], [None])) == 1
