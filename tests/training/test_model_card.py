import dataclasses
import re
from typing import Any

import pytest

from serving.card import Card, InputSpec, Window
from tests.training.answers import drawn
from training.evaluation import Evaluation
from training.evaluation_page import points, with_interval
from training.model_card import Extras, model_card
from training.outcomes import AS_IS

CARD = Card(
    "efficientnet_lite0",
    InputSpec(224, 224),
    temperature=1.31,
    weights_sha256="ab" * 32,
    about={
        "training_data": "Some slices",
        "train_images": {"normal": 3},
        "augmentations": ["crop", "gamma"],
    },
)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return Evaluation(drawn([AS_IS, "jpeg_80", "table", "lungs_blanked"]), 1.31)


def page(evaluation: Evaluation, card: Card = CARD, **extras: Any) -> str:
    return model_card(card, evaluation, Extras(**extras), "model-card/")


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_card_is_told(evaluation: Evaluation) -> None:
    text = page(evaluation)
    assert "`efficientnet_lite0`" in text
    assert f"`{CARD.version}`" in text
    assert "| temperature | 1.310 |" in text
    assert "| CT window for DICOM | none |" in text
    assert "Provisional" not in text
    data = section(text, "Data and training")
    assert "| training data | Some slices |" in data
    assert "| train images | normal 3 |" in data
    assert "| augmentations | crop, gamma |" in data


def test_a_window_and_a_provisional_state_are_told(evaluation: Evaluation) -> None:
    card = dataclasses.replace(
        CARD,
        input=InputSpec(224, 224, window=Window(-24, 2048)),
        provisional=True,
        about={"provisional": "Do not trust it."},
    )
    text = page(evaluation, card)
    assert "| CT window for DICOM | -24 / 2048 HU |" in text
    assert "**Provisional.** Do not trust it." in text
    assert "| provisional |" not in text


@pytest.mark.parametrize(
    "told",
    [
        "not a medical device",
        "clinically doubtful",
        "No patient ids",
        "optimistic",
        "Class mix",
        "other sources than the cancers",
        "chosen knowing how other copies of these data differ",
        "no labelled DICOM",
    ],
)
def test_what_people_must_know_is_said(told: str, evaluation: Evaluation) -> None:
    assert told in page(evaluation).replace("\n", " ").replace("  ", " ")


def test_the_estimate_stands_with_its_interval(evaluation: Evaluation) -> None:
    middle, low, high = (f"{100 * value:.1f} %" for value in evaluation.estimate)
    found = section(page(evaluation), "What to expect on unseen slices")
    assert f"**{middle} of cancers called by their class, between {low} and {high}**" in found


def test_the_evaluations_sections_are_part_of_the_page(evaluation: Evaluation) -> None:
    text = page(evaluation)
    assert with_interval(evaluation.score.cancers) in section(text, "How often it is right")
    assert "](model-card/confusion.png)" in text
    anchors = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^## (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#(.*?)\)", text)) <= anchors


def test_missing_measurements_are_said_to_be_missing(evaluation: Evaluation) -> None:
    text = page(evaluation)
    assert "Not measured yet" in section(text, "The same recipe from other seeds")
    assert "Not measured" in section(text, "What is no chest CT")


def test_intruders_are_a_table_of_what_the_card_holds(evaluation: Evaluation) -> None:
    kinds = {"photo": {"n": 20, "not_accepted": 19}, "noise": {"n": 5, "why": ["far", "grey"]}}
    card = dataclasses.replace(CARD, about={"intruders": kinds})
    found = section(page(evaluation, card), "What is no chest CT")
    assert "| kind | n | not accepted | why |" in found
    assert "| photo | 20 | 19 | - |" in found
    assert "| noise | 5 | - | far, grey |" in found


def test_seeds_are_compared_with_each_other(evaluation: Evaluation) -> None:
    own = evaluation.score.cancers.value
    other = evaluation.figures() | {"cancers_right": [own - 0.02, 0.5, 0.9, 45], "ece": 0.0123}
    third = {"cancers_right": [own + 0.01, 0.5, 0.9, 45]}
    text = page(evaluation, seeds={"seed-1": other, "seed-2": third})
    found = section(text, "The same recipe from other seeds")
    assert f"Spread over 2 runs: {points(0.03)} points of cancers" in found
    assert re.search(rf"\| seed-1 \| {100 * (own - 0.02):.1f} % \|.*\| 0.0123 \|", found)
    assert re.search(r"\| seed-2 \|.*\| - \| - \|", found)


def test_the_page_ends_with_one_newline(evaluation: Evaluation) -> None:
    text = page(evaluation)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) < 700
