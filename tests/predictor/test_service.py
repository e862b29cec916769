import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch
from kserve import InferInput, InferRequest, InferResponse
from kserve.protocol.infer_type import RequestedOutput
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from torch import Tensor, nn
from torch.nn import functional

from predictor.distance import distances
from predictor.engine import Engine
from predictor.metrics import PredictorMetrics
from predictor.service import TensorModel
from serving.card import Card, InputSpec
from serving.doors import door_of
from serving.errors import (
    ClientLeft,
    Draining,
    InternalError,
    InvalidRequest,
    InvalidTensor,
    ModelNotLoaded,
    NoActivationMaps,
    ServiceError,
    StaleCard,
    TooLarge,
)
from serving.kserve.lifecycle import Lifecycle
from serving.request import CURRENT, Request
from serving.settings import Limits, Predictor, Settings, Shutdown

Rows = NDArray[np.uint8]
CARD = Card("corners", InputSpec(32, 48))
SETTINGS = Settings(
    limits=Limits(rows=4, queue_rows=64), predictor=Predictor(device="cpu", precision="fp32")
)


class Corners(nn.Module):
    """Logits are the first pixels of a row; the maps, where wanted, its whole first channel."""

    def __init__(self, has_cam: bool = True) -> None:
        super().__init__()
        self.has_cam = has_cam

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = {"logits": x[:, :, 0, 0:2].flatten(1)[:, :4], "features": x[:, 0, 0, :8]}
        return {**outputs, "cam": x[:, :1].repeat(1, 4, 1, 1)} if self.has_cam else outputs


def model_of(
    network: nn.Module | None,
    card: Card = CARD,
    registry: CollectorRegistry | None = None,
    bank: Tensor | None = None,
) -> TensorModel:
    engine = None if network is None else Engine(card, network, SETTINGS.predictor, bank=bank)
    metrics = PredictorMetrics(registry or CollectorRegistry())
    return TensorModel(engine, SETTINGS, metrics, Lifecycle(Shutdown()))


@pytest_asyncio.fixture
async def model() -> AsyncIterator[TensorModel]:
    model = model_of(Corners())
    await model.warm_up()
    yield model
    await model.close()


def random_rows(count: int, channels: int = 3) -> Rows:
    random = np.random.default_rng(count)
    return random.integers(0, 256, (count, 32, 48, channels), np.uint8)


def request_for(
    rows: NDArray[Any],
    *,
    name: str = "image",
    datatype: str = "UINT8",
    shape: list[int] | None = None,
    outputs: tuple[str, ...] = (),
    parameters: Mapping[str, str] | None = None,
    identity: str | None = None,
) -> InferRequest:
    tensor = InferInput(name, shape or list(rows.shape), datatype)
    tensor._raw_data = rows.tobytes()
    return InferRequest(
        "ctscan",
        [tensor],
        request_id=identity,
        parameters=dict(parameters or {}),
        request_outputs=[RequestedOutput(output) for output in outputs],
    )


async def infer(model: TensorModel, request: Any) -> InferResponse:
    CURRENT.set(Request("test", asyncio.get_running_loop().time() + 30))
    return await model.predict(request)


def outputs_of(answer: InferResponse) -> dict[str, NDArray[np.float32]]:
    return {
        item.name: np.frombuffer(item._raw_data, np.float32).reshape(item.shape)
        for item in answer.outputs
    }


def normalised(rows: Rows) -> NDArray[np.float64]:
    wide = np.broadcast_to(rows, (*rows.shape[:3], 3))
    found: NDArray[np.float64] = (wide / 255.0 - np.array(CARD.mean)) / np.array(CARD.std)
    return found.transpose(0, 3, 1, 2)


def expected_logits(rows: Rows) -> NDArray[np.float64]:
    return normalised(rows)[:, :, 0, 0:2].reshape(len(rows), 6)[:, :4]


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("channels", [1, 3])
async def test_logits_alone_answer_by_default(
    model: TensorModel, count: int, channels: int
) -> None:
    rows = random_rows(count, channels)
    answer = await infer(model, request_for(rows))
    assert [(out.name, out.datatype, out.shape) for out in answer.outputs] == [
        ("logits", "FP32", [count, 4])
    ]
    np.testing.assert_allclose(outputs_of(answer)["logits"], expected_logits(rows), atol=1e-5)


async def test_outputs_come_as_asked_for_in_that_order(model: TensorModel) -> None:
    rows = random_rows(2)
    answer = await infer(model, request_for(rows, outputs=("cam", "logits")))
    found = outputs_of(answer)
    assert list(found) == ["cam", "logits"]
    assert found["cam"].shape == (2, 4, 32, 48)
    np.testing.assert_allclose(found["cam"][:, 2], normalised(rows)[:, 0], atol=1e-5)
    np.testing.assert_allclose(found["logits"], expected_logits(rows), atol=1e-5)


async def test_distances_come_row_by_row_where_there_is_a_bank() -> None:
    bank = functional.normalize(torch.randn(20, 8), dim=1)
    model = model_of(Corners(), bank=bank)
    await model.warm_up()
    rows = random_rows(3)
    answer = await infer(model, request_for(rows, outputs=("logits", "distance")))
    assert [(out.name, out.datatype, out.shape) for out in answer.outputs] == [
        ("logits", "FP32", [3, 4]),
        ("distance", "FP32", [3]),
    ]
    features = torch.from_numpy(normalised(rows)[:, 0, 0, :8].copy())
    np.testing.assert_allclose(outputs_of(answer)["distance"], distances(features, bank), atol=1e-5)
    assert model.get_output_types()[-1] == {"name": "distance", "datatype": "FP32", "shape": [-1]}
    assert list(outputs_of(await infer(model, request_for(rows)))) == ["logits"]
    await model.close()


async def test_a_caller_by_another_card_that_has_a_bank_is_told_to_read_this_one(
    model: TensorModel,
) -> None:
    other = {"card_version": "000000000000", "input_digest": CARD.input.digest}
    request = request_for(random_rows(1), outputs=("logits", "distance"), parameters=other)
    with pytest.raises(StaleCard, match="offer no distance") as caught:
        await infer(model, request)
    assert caught.value.card is not None
    assert Card.from_dict(caught.value.card).version == CARD.version


@pytest.mark.parametrize("parameters", [{}, {"card_version": CARD.version}])
async def test_a_distance_is_refused_by_name_where_there_is_no_bank(
    model: TensorModel, parameters: dict[str, str]
) -> None:
    with pytest.raises(InvalidTensor, match="'distance' is unknown"):
        await infer(
            model, request_for(random_rows(1), outputs=("distance",), parameters=parameters)
        )


async def test_an_unknown_output_is_refused_by_name(model: TensorModel) -> None:
    with pytest.raises(InvalidTensor, match=r"'labels' is unknown.*'logits', 'cam'"):
        await infer(model, request_for(random_rows(1), outputs=("labels",)))


async def test_maps_are_refused_where_the_network_has_none() -> None:
    model = model_of(Corners(has_cam=False))
    await model.warm_up()
    for outputs in (("cam",), ("logits", "cam")):
        with pytest.raises(NoActivationMaps, match="corners has no class activation maps"):
            await infer(model, request_for(random_rows(1), outputs=outputs))
    assert [output["name"] for output in model.get_output_types()] == ["logits"]
    await model.close()


@pytest.mark.parametrize(
    ("request_of", "error", "said"),
    [
        (lambda: request_for(random_rows(1), name="pixels"), InvalidTensor, "expected the one in"),
        (lambda: request_for(random_rows(1), datatype="FP32"), InvalidTensor, "expected UINT8"),
        (lambda: request_for(random_rows(1)[0]), InvalidTensor, r"expected \[-1, 32, 48, -1\]"),
        (
            lambda: request_for(random_rows(1).transpose(0, 2, 1, 3)),
            InvalidTensor,
            r"shape is \[1, 48, 32, 3\]",
        ),
        (lambda: request_for(random_rows(0)), InvalidTensor, r"shape is \[0, 32, 48, 3\]"),
        (lambda: request_for(random_rows(1, 2)), InvalidTensor, r"has 2 channels.*\[1, 3\]"),
        (lambda: request_for(random_rows(1, 4)), InvalidTensor, r"has 4 channels.*\[1, 3\]"),
        (lambda: request_for(random_rows(5)), TooLarge, "has 5 rows, at most 4"),
        (
            lambda: request_for(random_rows(1), shape=[2, 32, 48, 3]),
            InvalidTensor,
            "has 4608 bytes.*needs 9216",
        ),
        (lambda: {"instances": [[1.0]]}, InvalidRequest, "send images to the transformer"),
    ],
    ids=[
        *("name", "datatype", "no-batch", "turned", "no-rows", "two-channels", "alpha"),
        *("many-rows", "lying-shape", "v1"),
    ],
)
async def test_what_is_no_batch_of_rows_is_refused(
    model: TensorModel, request_of: Callable[[], Any], error: type[ServiceError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        await infer(model, request_of())
    assert type(caught.value) is error
    assert (await infer(model, request_for(random_rows(1)))).outputs


async def test_a_grey_network_takes_one_channel_alone() -> None:
    card = replace(CARD, input=InputSpec(32, 48, channels=1), mean=(0.5,), std=(0.5,))
    model = model_of(nn.Sequential(nn.Flatten(), FirstFour()), card)
    await model.warm_up()
    assert (await infer(model, request_for(random_rows(1, 1)))).outputs
    with pytest.raises(InvalidTensor, match=r"has 3 channels, expected one of \[1\]"):
        await infer(model, request_for(random_rows(1, 3)))
    await model.close()


class FirstFour(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": x[:, :4]}


@pytest.mark.parametrize("nested", [True, False])
async def test_rows_may_come_as_a_json_list(model: TensorModel, nested: bool) -> None:
    rows = random_rows(2)
    values = rows.tolist() if nested else rows.ravel().tolist()
    tensor = InferInput("image", list(rows.shape), "UINT8", values)
    answer = await infer(model, InferRequest("ctscan", [tensor]))
    np.testing.assert_allclose(outputs_of(answer)["logits"], expected_logits(rows), atol=1e-5)


@pytest.mark.parametrize("bad", [256, -1, 0.5])
async def test_json_values_that_are_no_bytes_are_refused(model: TensorModel, bad: float) -> None:
    values = random_rows(1).ravel().tolist()
    tensor = InferInput("image", [1, 32, 48, 3], "UINT8", [bad, *values[1:]])
    with pytest.raises(InvalidTensor, match="values that are no UINT8"):
        await infer(model, InferRequest("ctscan", [tensor]))


async def test_an_answer_names_its_request_and_the_version_of_its_card(model: TensorModel) -> None:
    answer = await infer(model, request_for(random_rows(1), identity="slice-7"))
    assert (answer.id, answer.model_name) == ("slice-7", "ctscan")
    assert answer.model_version == CARD.version
    unnamed = [await infer(model, request_for(random_rows(1))) for _ in range(2)]
    assert len({item.id for item in unnamed} - {None, ""}) == 2


async def test_rows_for_another_input_are_refused_with_the_card(model: TensorModel) -> None:
    other = replace(CARD.input, height=64).digest
    request = request_for(random_rows(1), parameters={"input_digest": other})
    with pytest.raises(StaleCard, match=f"{other}.*{CARD.input.digest}") as caught:
        await infer(model, request)
    assert caught.value.card is not None
    assert Card.from_dict(caught.value.card).version == CARD.version


@pytest.mark.parametrize(
    ("parameters", "attached"),
    [
        ({}, False),
        ({"card_version": CARD.version}, False),
        ({"card_version": "000000000000"}, True),
        ({"card_version": "000000000000", "input_digest": CARD.input.digest}, True),
    ],
)
async def test_a_caller_with_another_card_is_given_this_one(
    model: TensorModel, parameters: dict[str, str], attached: bool
) -> None:
    answer = await infer(model, request_for(random_rows(1), parameters=parameters))
    assert ("card" in (answer.parameters or {})) is attached
    if attached:
        assert Card.from_dict(json.loads(answer.parameters["card"])).version == CARD.version


async def test_grey_and_colour_rows_wait_together_and_run_apart() -> None:
    shapes: list[set[int]] = []

    class Recording(Engine):
        def run(self, rows: Any) -> Any:
            shapes.append({row.shape[-1] for row in rows})
            return super().run(rows)

    engine = Recording(CARD, Corners(), replace(SETTINGS.predictor, in_flight=1))
    metrics = PredictorMetrics(CollectorRegistry())
    model = TensorModel(engine, SETTINGS, metrics, Lifecycle(Shutdown()))
    await model.warm_up()
    shapes.clear()
    batches = [random_rows(count, channels) for count in (1, 2, 3) for channels in (1, 3)]
    answers = await asyncio.gather(*(infer(model, request_for(rows)) for rows in batches))
    for rows, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(outputs_of(answer)["logits"], expected_logits(rows), atol=1e-5)
    # The first is under way alone; the other five make one batch of each kind.
    assert shapes == [{1}, {3}, {1}]
    await model.close()


async def test_a_batch_is_one_pass_on_each_core_so_that_nothing_waits_for_passes_in_turns() -> None:
    lengths: list[int] = []

    class Recording(Engine):
        def run(self, rows: Any) -> Any:
            lengths.append(len(rows))
            return super().run(rows)

    engine = Recording(CARD, Corners(), replace(SETTINGS.predictor, threads=1))
    metrics = PredictorMetrics(CollectorRegistry())
    model = TensorModel(engine, SETTINGS, metrics, Lifecycle(Shutdown()))
    await model.warm_up()
    lengths.clear()
    await asyncio.gather(*(infer(model, request_for(random_rows(4))) for _ in range(6)))
    # The first is under way alone, twenty rows wait meanwhile.
    assert lengths == [4, 8, 8, 4]
    await model.close()


async def test_before_warm_up_requests_are_told_to_come_back() -> None:
    registry = CollectorRegistry()
    model = model_of(Corners(), registry=registry)
    with pytest.raises(ModelNotLoaded, match="warming up") as caught:
        await infer(model, request_for(random_rows(1)))
    assert door_of(caught.value).status == 503
    assert caught.value.retry_after_s is not None
    assert not await model.healthy()
    said = model.card_answer()
    assert (said["model_loaded"], said["ready"], said["precision"]) == (True, False, None)

    await model.warm_up()
    assert await model.healthy()
    assert (await infer(model, request_for(random_rows(1)))).outputs
    said = model.card_answer()
    assert (said["model_loaded"], said["ready"], said["precision"]) == (True, True, "fp32")
    assert (said["version"], said["device"]) == (CARD.version, "cpu")
    assert Card.from_dict(said["card"]) == CARD
    assert said["model_path"] == "models/model.pt"
    assert said["config_path"] == "configs/config.yaml"
    assert model.engine_room is not None
    assert said["batch_rows"] == model.engine_room.most_rows
    labels = {
        "version": CARD.version,
        "architecture": "corners",
        "device": "cpu",
        "precision": "fp32",
        "engine": model.engine_room.way.name,
    }
    assert registry.get_sample_value("ctscan_model_info", labels) == 1
    assert registry.get_sample_value("ctscan_stage_seconds_count", {"stage": "compute"}) == 1
    await model.close()


async def test_a_warm_up_that_is_under_way_is_waited_for_and_not_made_again() -> None:
    engine = Engine(CARD, Corners(), SETTINGS.predictor)
    engine.warm_up()
    model = TensorModel(
        engine, SETTINGS, PredictorMetrics(CollectorRegistry()), Lifecycle(Shutdown())
    )
    before = engine.way, engine._network
    warmed: Future[None] = Future()
    warming = asyncio.create_task(model.warm_up(warmed))
    await asyncio.sleep(0)
    assert not await model.healthy()
    warmed.set_result(None)
    await warming
    assert await model.healthy()
    assert (engine.way, engine._network) == before
    await model.close()


async def test_without_weights_it_says_so_and_answers_nothing() -> None:
    model = model_of(None)
    await model.warm_up()
    assert not await model.healthy()
    with pytest.raises(ModelNotLoaded, match="LOAD_MODEL=0") as caught:
        await infer(model, request_for(random_rows(1)))
    assert door_of(caught.value).status == 503
    said = model.card_answer()
    assert (said["model_loaded"], said["ready"]) == (False, False)
    assert [said[key] for key in ("version", "device", "precision", "card")] == [None] * 4
    assert said["model_path"] == "models/model.pt"
    assert model.get_input_types() == []
    assert [output["name"] for output in model.get_output_types()] == ["logits"]
    await model.close()


async def test_while_draining_it_is_not_ready_and_still_answers() -> None:
    lifecycle = Lifecycle(Shutdown())
    engine = Engine(CARD, Corners(), SETTINGS.predictor)
    model = TensorModel(engine, SETTINGS, PredictorMetrics(CollectorRegistry()), lifecycle)
    await model.warm_up()
    lifecycle.stop()
    assert not await model.healthy()
    assert model.card_answer()["ready"] is False
    assert model.card_answer()["model_loaded"] is True
    assert (await infer(model, request_for(random_rows(1)))).outputs
    await model.close()
    with pytest.raises(Draining):
        await infer(model, request_for(random_rows(1)))


async def test_metadata_has_the_real_shapes(model: TensorModel) -> None:
    assert model.get_input_types() == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, 32, 48, -1]}
    ]
    assert model.get_output_types() == [
        {"name": "logits", "datatype": "FP32", "shape": [-1, 4]},
        {"name": "cam", "datatype": "FP32", "shape": [-1, 4, -1, -1]},
    ]


async def test_rows_whose_client_left_are_not_run(
    model: TensorModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.batcher, "in_flight", 0)
    waiting = Request("test", asyncio.get_running_loop().time() + 3600)
    CURRENT.set(waiting)
    asking = asyncio.ensure_future(model.predict(request_for(random_rows(2))))
    while not model.batcher.rows:
        await asyncio.sleep(0)
    waiting.depart()
    with pytest.raises(ClientLeft):
        await asking
    assert model.batcher.rows == 0


async def test_a_forward_pass_that_fails_is_an_internal_error_and_the_next_one_runs(
    model: TensorModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(rows: Any) -> Any:
        raise torch.OutOfMemoryError("tried to allocate 3 GiB for patient.png")

    with monkeypatch.context() as broken:
        broken.setattr(model.engine_room, "run", run)
        with pytest.raises(InternalError) as caught:
            await infer(model, request_for(random_rows(1)))
    assert "patient" not in caught.value.detail
    assert (await infer(model, request_for(random_rows(1)))).outputs
