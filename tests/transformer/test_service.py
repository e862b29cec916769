import base64
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any, cast

import numpy as np
import pytest
from kserve import InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput

from serving.card import CLASSES, Card, InputSpec
from serving.errors import (
    DeadlineExceeded,
    InvalidField,
    InvalidRequest,
    InvalidTensor,
    TooLarge,
)
from serving.settings import Limits
from serving.tensors import join_bytes
from tests.transformer.rooms import EVIDENCE, Inline
from tests.transformer.rooms import request as under_way
from transformer.explanation import Explanation, explain_from
from transformer.fair_pool import FairPool
from transformer.pipeline import Pipeline
from transformer.prediction import Prediction, output_specs, predict_from
from transformer.service import LARGE_TEXT, ImageModel

CARD = Card("resnet18", InputSpec(64, 64))


class FakePipeline:
    """The class is the first byte of the image."""

    async def predict(self, images: Sequence[bytes], place: str = "") -> list[Prediction]:
        eye = np.eye(4, dtype=np.float32) * 9
        return [predict_from(eye[data[0]], CARD, EVIDENCE, f"id-{data[0]}") for data in images]

    async def explain(
        self, images: Sequence[bytes], classes: Sequence[str | None], place: str
    ) -> list[Explanation]:
        maps = np.ones((4, 2, 2), np.float32)
        said = zip(await self.predict(images), classes, strict=True)
        return [explain_from(it, maps[:, 0, 0], maps, wanted) for it, wanted in said]


async def ready() -> bool:
    return True


class Stuck(Executor):
    """Threads that never come to the job."""

    def submit(self, job: Any, /, *_: Any, **__: Any) -> "Future[Any]":
        return Future()


def model(threads: Executor | None = None) -> ImageModel:
    pool = FairPool(threads or Inline(), 1)
    return ImageModel(cast(Pipeline, FakePipeline()), pool, Limits(rows=3), ready)


def request(*images: bytes, outputs: Sequence[str] = (), **changes: Any) -> InferRequest:
    tensor = InferInput("image", [len(images)], "BYTES")
    tensor._raw_data = join_bytes(images)
    wanted = [RequestedOutput(name) for name in outputs]
    return InferRequest("ctscan", [tensor], request_outputs=wanted, **changes)


async def test_a_v2_answer_holds_every_output_row_by_row() -> None:
    answer = await model().predict(request(b"\2", b"\0", request_id="mine"))
    assert (answer.id, answer.model_version) == ("mine", CARD.version)
    assert [output.name for output in answer.outputs] == list(output_specs())
    found = {output.name: output.as_numpy() for output in answer.outputs}
    assert found["pred_index"].tolist() == [2, 0]
    assert found["pred_class"].tolist() == [CLASSES[2].encode(), CLASSES[0].encode()]
    assert found["probabilities"].shape == (2, 4)
    assert found["probabilities"].argmax(1).tolist() == [2, 0]
    assert found["prediction_id"].tolist() == [b"id-2", b"id-0"]


async def test_outputs_come_as_they_were_asked_for() -> None:
    answer = await model().predict(request(b"\1", outputs=["probabilities", "pred_index"]))
    assert [output.name for output in answer.outputs] == ["probabilities", "pred_index"]
    with pytest.raises(InvalidTensor, match="'nothing' is unknown"):
        await model().predict(request(b"\1", outputs=["nothing"]))


async def test_a_request_without_an_id_is_given_one() -> None:
    one, other = [await model().predict(request(b"\1")) for _ in range(2)]
    assert one.id
    assert one.id != other.id


async def test_rows_are_limited_on_both_doors() -> None:
    instances = [{"b64": base64.b64encode(b"\1").decode()}] * 4
    with pytest.raises(TooLarge, match="at most 3"):
        await model().predict(request(*[b"\1"] * 4))
    with pytest.raises(TooLarge, match="at most 3"):
        await model().predict({"instances": instances})
    assert len((await model().predict({"instances": instances[:3]}))["predictions"]) == 3


@pytest.mark.parametrize(("size", "jobs"), [(3, 0), (LARGE_TEXT * 3 // 4 + 3, 1)])
async def test_much_base64_is_decoded_beside_the_event_loop(size: int, jobs: int) -> None:
    text = base64.b64encode(b"\1" * size).decode()
    in_json = InferInput("image", [1], "BYTES", [text])
    for body in ({"instances": [{"b64": text}]}, InferRequest("ctscan", [in_json])):
        threads = Inline()
        with under_way(5):
            await model(threads).predict(body)
        assert threads.jobs == jobs


@pytest.mark.looptime
async def test_base64_that_waits_for_a_thread_does_so_until_its_deadline() -> None:
    text = base64.b64encode(b"\1" * LARGE_TEXT).decode()
    with under_way(5), pytest.raises(DeadlineExceeded):
        await model(Stuck()).predict({"instances": [{"b64": text}]})


async def test_raw_images_are_no_text_to_be_decoded() -> None:
    threads = Inline()
    await model(threads).predict(request(b"\1" * LARGE_TEXT))
    assert threads.jobs == 0


async def test_much_that_is_no_base64_is_named() -> None:
    with under_way(5), pytest.raises(InvalidField, match=r"instances\[1\]\.b64"):
        await model().predict({"instances": [{"b64": "AQ=="}, {"b64": "!" * LARGE_TEXT}]})


@pytest.mark.parametrize("body", [[], "text", None, 7])
async def test_a_v1_body_is_an_object(body: Any) -> None:
    for verb in (model().predict, model().explain):
        with pytest.raises(InvalidRequest):
            await verb(body)


@pytest.mark.parametrize(
    ("instances", "field"),
    [
        (None, "instances"),
        ([], "instances"),
        ("text", "instances"),
        ([{"b64": "AQ=="}, "text"], "instances[1]"),
        ([{"b64": "AQ==", "key": 1}], "instances[0]"),
        ([{"b64": "AQ=="}, {"b64": "!"}], "instances[1].b64"),
        ([{"b64": 1}], "instances[0].b64"),
    ],
)
async def test_the_wrong_v1_instance_is_named(instances: Any, field: str) -> None:
    with pytest.raises(InvalidField) as failed:
        await model().predict({"instances": instances})
    assert [item.field for item in failed.value.fields] == [field]


async def test_v1_explains_each_instance_with_its_class() -> None:
    instances: list[dict[str, Any]] = [
        {"b64": "AQ=="},
        {"b64": "Ag==", "class": "normal"},
        {"b64": "AA==", "class": None},
    ]
    said = (await model().explain({"instances": instances}))["predictions"]
    assert [it.pred_class for it in said] == [CLASSES[1], CLASSES[2], CLASSES[0]]
    assert [it.explained_class for it in said] == [CLASSES[1], "normal", CLASSES[0]]


async def test_explanations_are_limited_in_rows() -> None:
    with pytest.raises(TooLarge, match="at most 3"):
        await model().explain({"instances": [{"b64": "AQ=="}] * 4})


@pytest.mark.parametrize(
    ("instance", "field"),
    [
        ({"b64": "AQ==", "class": "cat"}, "instances[1].class"),
        ({"b64": "AQ==", "class": 3}, "instances[1].class"),
        ({"b64": "!", "class": "normal"}, "instances[1].b64"),
        ({"class": "normal"}, "instances[1]"),
        ({"b64": "AQ==", "key": 1}, "instances[1]"),
    ],
)
async def test_the_wrong_instance_to_explain_is_named(instance: Any, field: str) -> None:
    with pytest.raises(InvalidField) as failed:
        await model().explain({"instances": [{"b64": "AQ=="}, instance]})
    assert [item.field for item in failed.value.fields] == [field]


async def test_a_class_is_no_part_of_a_prediction() -> None:
    with pytest.raises(InvalidField, match=r'expected \{"b64": "..."\}$'):
        await model().predict({"instances": [{"b64": "AQ==", "class": "normal"}]})


async def test_metadata_and_health_are_the_models_own() -> None:
    assert model().get_input_types() == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert [item["name"] for item in model().get_output_types()] == list(output_specs())
    assert await model().healthy()
