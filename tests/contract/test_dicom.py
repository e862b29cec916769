"""A DICOM slice through every door, and no trace of its header behind any of them."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from serving.settings import Limits
from tests.contract.doors import IMAGE_ERRORS, assert_problem, image_request, infer, refusal
from tests.contract.services import Pair
from tests.dicoms import BAD_DICOMS, CT, SECRET, changed, compressed, jpeg_2000
from training.window import WINDOW
from transformer.decode import decode

FILES = {"uncompressed": CT, "jpeg-2000": compressed(JPEG2000Lossless, jpeg_2000())}
FORM = {"predicted_class": "normal", "is_correct": "true"}


@pytest.fixture(scope="module")
def channel(pair: Pair) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(pair.transformer.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """What the card's window makes of the slice."""
    return decode(CT, Limits(), WINDOW).image


def as_png(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize("name", FILES)
def test_every_door_answers_as_for_the_picture_of_the_slice(
    rest: httpx.Client, channel: grpc.Channel, picture: Image.Image, name: str
) -> None:
    data = FILES[name]
    encoded = base64.b64encode(data).decode()
    expected = rest.post("/predict", files={"file": as_png(picture)}).json()["probabilities"]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [encoded]}
    v2 = rest.post("/v2/models/ctscan/infer", json={"inputs": [tensor]}).json()["outputs"]
    v1 = rest.post("/v1/models/ctscan:predict", json={"instances": [{"b64": encoded}]}).json()
    over_grpc = infer(channel, image_request([data], outputs=[{"name": "probabilities"}]))
    batch = rest.post("/predict/batch", files=[("files", data), ("files", b"text")]).json()
    answers = [
        list(rest.post("/predict", files={"file": data}).json()["probabilities"].values()),
        list(batch[0]["probabilities"].values()),
        list(v1["predictions"][0]["probabilities"].values()),
        next(it["data"] for it in v2 if it["name"] == "probabilities"),
        np.frombuffer(over_grpc.raw_output_contents[0], np.float32).tolist(),
    ]
    for answer in answers:
        assert answer == pytest.approx(list(expected.values()), abs=1e-5)


def test_an_explanation_is_given_and_drawn(explaining: Pair) -> None:
    with explaining.transformer.client() as client:
        said = client.post("/explain", files={"file": CT})
        drawn = client.post("/explain", files={"file": CT}, headers={"accept": "image/png"})
    assert np.shape(said.json()["grid"]) == (3, 3)
    assert drawn.content.startswith(b"\x89PNG")


def test_feedback_stores_the_picture_and_nothing_of_the_header(
    pair: Pair, rest: httpx.Client, picture: Image.Image
) -> None:
    answer = rest.post("/feedback", files={"file": CT}, data=FORM)
    assert answer.status_code == 200
    saved = Path(answer.json()["saved_to"])
    with Image.open(saved) as stored:
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(picture)[..., 0])
        assert stored.info == {}
    (event,) = json.loads(saved.with_suffix(".json").read_text())
    assert set(event) == {"time", *FORM, "correct_class", "prediction_id", "comment"}


@pytest.mark.parametrize(
    "name", ["mr", "localizer", "enhanced", "no-slope", "deflated", "truncated", "huge-header"]
)
def test_what_is_no_ct_slice_is_refused_by_name(
    rest: httpx.Client, channel: grpc.Channel, name: str
) -> None:
    data, kind, words = BAD_DICOMS[name]
    status, code = IMAGE_ERRORS[kind]
    problem = assert_problem(rest.post("/predict", files={"file": data}), status)
    error = refusal(channel, image_request([data]))
    assert error.code() == code
    assert problem["detail"] == error.details()
    assert words in problem["detail"] or name == "mr"


def test_no_log_and_no_folder_knows_the_patient(pair: Pair, rest: httpx.Client) -> None:
    assert SECRET.encode() in CT
    for data in (CT, changed(Modality="MR"), CT[:20_000], CT.replace(b"ISO_IR 100", b"ISO_IR Doe")):
        rest.post("/predict", files={"file": ("Doe.dcm", data)})
        rest.post("/feedback", files={"file": ("Doe.dcm", data)}, data=FORM)
    stored = [path.read_bytes() for path in pair.transformer.feedback.rglob("*.*")]
    assert stored
    assert not [data for data in stored if b"Doe" in data]
    assert "Doe" not in pair.logs()


def test_the_formats_that_openapi_names_include_it(rest: httpx.Client) -> None:
    assert "WEBP, DICOM" in rest.get("/openapi.json").text
