"""Explanations, through both services: exact, of the class that was asked for, and silent."""

import base64
import csv
import io
import re
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from serving.card import CLASSES
from tests.contract.doors import assert_problem
from tests.contract.services import Pair, until
from tests.contract.slices import slice_png
from tests.images import uniform_png

V1 = "/v1/models/ctscan:explain"


@pytest.fixture
def client(explaining: Pair) -> Iterator[httpx.Client]:
    with explaining.transformer.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def bias(explaining: Pair) -> list[float]:
    """The constants of the classes' logits, from the weights themselves."""
    state = torch.load(explaining.weights, weights_only=True)["state_dict"]
    values: list[float] = state["backbone.fc.bias"].tolist()
    return values


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("wanted", CLASSES)
def test_the_cells_add_up_to_the_logit_but_for_the_bias(
    client: httpx.Client, bias: list[float], slices: list[bytes], wanted: str, seed: int
) -> None:
    answer = client.post("/explain", files={"file": slices[seed]}, data={"class": wanted})
    said = answer.json()
    assert answer.status_code == 200
    assert said["explained_class"] == wanted
    assert np.shape(said["grid"]) == (3, 3)
    assert np.ptp(said["grid"]) > 1e-4
    total = np.sum(said["grid"]) + bias[CLASSES.index(wanted)]
    assert total == pytest.approx(said["logit"], abs=1e-4)


def test_logits_of_explanations_are_those_of_the_prediction(
    client: httpx.Client, explaining: Pair, slices: list[bytes]
) -> None:
    file = {"file": slices[0]}
    predicted = client.post("/predict", files=file).json()
    said = [client.post("/explain", files=file, data={"class": it}).json() for it in CLASSES]
    powers = np.exp([it["logit"] / explaining.card.temperature for it in said])
    for one in said:
        assert list(one)[: len(predicted)] == list(predicted)
        assert one["pred_class"] == predicted["pred_class"]
        assert list(one["probabilities"].values()) == pytest.approx(powers / powers.sum())
    default = client.post("/explain", files=file).json()
    assert default["explained_class"] == predicted["pred_class"]
    assert default["method"] == "class activation map"


def test_v1_explains_each_image_with_its_class(client: httpx.Client, slices: list[bytes]) -> None:
    alone = [
        client.post("/explain", files={"file": slices[0]}).json(),
        client.post("/explain", files={"file": slices[1]}, data={"class": "normal"}).json(),
    ]
    encoded = [base64.b64encode(png).decode() for png in slices[:2]]
    instances = [{"b64": encoded[0]}, {"b64": encoded[1], "class": "normal"}]
    answer = client.post(V1, json={"instances": instances})
    assert answer.status_code == 200
    for said, expected in zip(answer.json()["predictions"], alone, strict=True):
        assert list(said) == list(expected)
        assert said["explained_class"] == expected["explained_class"]
        np.testing.assert_allclose(said["grid"], expected["grid"], atol=1e-4)


def test_who_accepts_a_picture_gets_one(client: httpx.Client, slices: list[bytes]) -> None:
    headers = {"accept": "image/png"}
    answer = client.post("/explain", files={"file": slices[0]}, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.width == 512
        assert picture.height > 512
        assert len(set(picture.convert("RGB").resize((64, 64)).get_flattened_data())) > 100


def test_an_explanation_leaves_no_row_and_counts_as_itself(
    client: httpx.Client, explaining: Pair
) -> None:
    def counts(name: str) -> float:
        found = re.findall(
            rf"^{name}(?:\{{.*\}})? (\S+)$", client.get("/metrics").text, re.MULTILINE
        )
        return sum(map(float, found))

    names = ("ctscan_predictions_total", "ctscan_confidence_count", "ctscan_input_grey_mean_count")
    before = [counts(name) for name in names]
    explained = counts("ctscan_explanations_total")
    # Heights that no other test sends; the prediction comes last and is the first to be logged.
    file = {"file": slice_png(1, 83)}
    client.post("/explain", files=file)
    client.post("/explain", files=file, headers={"accept": "image/png"})
    client.post(V1, json={"instances": [{"b64": base64.b64encode(file["file"]).decode()}]})
    assert [counts(name) for name in names] == before
    assert counts("ctscan_explanations_total") == explained + 3
    client.post("/predict", files={"file": slice_png(1, 84)})

    def heights() -> list[str]:
        path = explaining.transformer.drift
        lines = path.read_text().splitlines() if path.exists() else []
        return [row["height"] for row in csv.DictReader(lines)]

    until(lambda: "84" in heights(), "a drift row of the prediction")
    assert "83" not in heights()


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
@pytest.mark.parametrize(
    ("file", "form", "status"),
    [
        (b"text", {}, 400),
        (uniform_png(), {}, 422),
        (slice_png(0), {"class": "cat"}, 400),
    ],
    ids=["no-image", "no-contrast", "no-class"],
)
def test_what_cannot_be_explained_is_a_problem_in_json(
    client: httpx.Client, file: bytes, form: dict[str, str], status: int, accept: str
) -> None:
    headers = {"accept": accept}
    assert_problem(
        client.post("/explain", files={"file": file}, data=form, headers=headers), status
    )


def test_a_wrong_class_in_v1_is_named_by_its_place(
    client: httpx.Client, slices: list[bytes]
) -> None:
    encoded = base64.b64encode(slices[0]).decode()
    instances = [{"b64": encoded}, {"b64": encoded, "class": "cat"}]
    body = assert_problem(client.post(V1, json={"instances": instances}), 400)
    assert [item["field"] for item in body["errors"]] == ["instances[1].class"]


def test_a_bad_image_in_v1_is_named_by_its_place(client: httpx.Client, slices: list[bytes]) -> None:
    encoded = [base64.b64encode(data).decode() for data in (slices[0], b"text")]
    body = assert_problem(client.post(V1, json={"instances": [{"b64": it} for it in encoded]}), 400)
    assert body["detail"].startswith("instances[1].b64: ")


def test_a_deadline_holds_for_explanations(client: httpx.Client, slices: list[bytes]) -> None:
    headers = {"x-request-timeout-ms": "1"}
    assert_problem(client.post("/explain", files={"file": slices[0]}, headers=headers), 504)


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_a_network_without_maps_says_so_and_still_predicts(
    rest: httpx.Client, slices: list[bytes], accept: str
) -> None:
    headers = {"accept": accept}
    answers = [rest.post("/explain", files={"file": slices[0]}, headers=headers)]
    instance = {"b64": base64.b64encode(slices[0]).decode()}
    answers.append(rest.post(V1, json={"instances": [instance]}))
    for answer in answers:
        body = assert_problem(answer, 501)
        assert body["type"] == "urn:ctscan:error:no-activation-maps"
        assert "custom_cnn has no class activation maps" in body["detail"]
        assert "retry-after" not in answer.headers
    assert rest.post("/predict", files={"file": slices[0]}).status_code == 200
