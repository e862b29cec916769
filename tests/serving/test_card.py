from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.card import (
    CLASSES,
    PROFILE_BINS,
    Card,
    CardError,
    Gate,
    InputSpec,
    Window,
    read_card,
    write_card,
)

FLAT = (1 / PROFILE_BINS,) * PROFILE_BINS
DARK = (0.5, 0.5, *[0.0] * (PROFILE_BINS - 2))
GATE = Gate(
    profiles=(FLAT, DARK),
    other_profiles=(DARK,),
    profile_distance=20.0,
    ct_distance=30.0,
    margin=0.15,
    feature_distance=0.3,
)
CARD = Card(
    "custom_cnn",
    InputSpec(224, 192, window=Window(-600.0, 1500.0)),
    arguments={"hidden_dims": [8, 16], "dropout": 0.1},
    temperature=1.3,
    precisions={"fp32": 0.0, "bf16": 0.01},
    weights_sha256="ab" * 32,
    provisional=True,
    gate=GATE,
    about={"intended use": "research", "figures": {"accuracy": 0.9}},
)


def test_a_card_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    write_card(CARD, path)
    assert read_card(path) == CARD


def test_a_card_survives_the_wire_without_what_only_people_read() -> None:
    received = Card.from_dict(CARD.to_wire())
    assert received == replace(CARD, about={})
    assert received.version == CARD.version
    assert received.input.digest == CARD.input.digest


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "resnet18"},
        {"input": InputSpec(224, 224)},
        {"arguments": {}},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"temperature": 1.31},
        {"precisions": {"fp32": 0.0}},
        {"weights_sha256": "cd" * 32},
        {"provisional": False},
        {"gate": None},
        {"gate": replace(GATE, margin=0.2)},
        {"gate": replace(GATE, profiles=(DARK, FLAT))},
        {"name": "other"},
    ],
)
def test_the_version_changes_with_all_that_answers_depend_on(change: dict[str, Any]) -> None:
    assert replace(CARD, **change).version != CARD.version


def test_the_version_does_not_change_with_what_people_read() -> None:
    assert replace(CARD, about={"note": "new"}).version == CARD.version


def test_the_version_does_not_depend_on_the_order_of_keys() -> None:
    other = {"dropout": 0.1, "hidden_dims": [8, 16]}
    assert replace(CARD, arguments=other).version == CARD.version


@pytest.mark.parametrize(
    "change",
    [
        {"height": 225},
        {"width": 193},
        {"channels": 1},
        {"window": None},
        {"window": Window(40, 400)},
    ],
)
def test_the_digest_changes_with_all_that_rows_depend_on(change: dict[str, Any]) -> None:
    assert replace(CARD.input, **change).digest != CARD.input.digest


def test_the_digest_does_not_change_with_the_weights() -> None:
    assert replace(CARD, weights_sha256="00" * 32).input.digest == CARD.input.digest


@pytest.mark.parametrize(
    ("center", "width", "words"),
    [
        (0, 0, "width is 0"),
        (0, -5.0, "width is -5"),
        (float("nan"), 400, "no number"),
        (0, float("inf"), "no number"),
        ("40", 400, "no number"),
        (True, 400, "no number"),
    ],
)
def test_a_window_that_shows_nothing_is_refused(center: Any, width: Any, words: str) -> None:
    with pytest.raises(CardError, match=f"card: input: window.*{words}"):
        Window(center, width)


def test_versions_and_digests_are_twelve_hex_digits() -> None:
    for digest in (CARD.version, CARD.input.digest):
        assert len(digest) == 12
        int(digest, 16)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("{trained: 2025-11-03}", {"trained": "2025-11-03"}),
        (
            "{2025-11-03: [first weights, 2025-11-04]}",
            {"2025-11-03": ["first weights", "2025-11-04"]},
        ),
        ("{3: {seed: !!binary aGk=}}", {"3": {"seed": "b'hi'"}}),
        ("Trained on slices.", "Trained on slices."),
        ("", None),
    ],
)
def test_whatever_people_read_goes_with_the_card(tmp_path: Path, written: str, read: Any) -> None:
    path = tmp_path / "model.yaml"
    write_card(replace(CARD, about={}), path)
    path.write_text(path.read_text().replace("about: {}", f"about: {written}"))
    card = read_card(path)
    assert card.version == CARD.version
    assert card.to_dict()["about"] == read


def values(**changes: Any) -> dict[str, Any]:
    return {**CARD.to_dict(), **changes}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"arhitecture": "x"}, r"unknown keys \['arhitecture'\]"),
        ({"arhitecture": "x", 1: 2}, r"unknown keys \[1, 'arhitecture'\]"),
        ({"architecture": ["a"]}, r"architecture is \['a'\], expected a text"),
        ({"architecture": None}, "architecture is None, expected a text"),
        ({"name": 5}, "name is 5, expected a text"),
        ({"arguments": None}, "arguments is None, expected a mapping"),
        ({"arguments": ["dropout"]}, r"arguments is \['dropout'\], expected a mapping"),
        ({"precisions": "fp32"}, "precisions is 'fp32', expected a mapping"),
        ({"classes": list(reversed(CLASSES))}, "in this order"),
        ({"classes": CLASSES[:3]}, "in this order"),
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"temperature": "hot"}, "hot"),
        ({"mean": [0.5]}, "mean and std have 1 and 3 values"),
        ({"std": [0.5]}, "mean and std have 3 and 1 values"),
        ({"std": [0.5, 0.0, 0.5]}, "std is"),
        ({"mean": ["a", "b", "c"]}, "card: "),
        ({"precisions": {"bf16": 0.01}}, "must permit fp32"),
        ({"input": {"height": 64}}, "input: .*width"),
        ({"input": {"height": 64, "width": 64, "depth": 3}}, "input: .*depth"),
        ({"input": {"height": 64, "width": 0}}, "0 is no size"),
        ({"input": {"height": 64, "width": "64"}}, "'64' is no size"),
        ({"input": {"height": 64, "width": 64, "channels": 2}}, "channels is 2, expected 1 or 3"),
        ({"input": {"height": 64, "width": 64, "channels": 4}}, "channels is 4, expected 1 or 3"),
        ({"input": {"height": 64, "width": 64, "channels": True}}, "True is no size"),
        ({"input": {"height": 64, "width": 64, "resize": "nearest"}}, "resize is 'nearest'"),
        ({"input": {"height": 64, "width": 64, "window": {"center": 1.0}}}, "card: .*width"),
        ({"input": "square"}, "card: "),
        ({"input": None}, "card: "),
    ],
)
def test_a_card_that_cannot_be_used_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(CardError, match=reason):
        Card.from_dict(values() | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"profiles": []}, "profiles are empty"),
        ({"profiles": [FLAT[1:]]}, f"expected {PROFILE_BINS} shares"),
        ({"profiles": [[2.0, -1.0, *FLAT[2:]]]}, "shares that add up to 1"),
        ({"other_profiles": [[0.1] * PROFILE_BINS]}, "shares that add up to 1"),
        ({"other_profiles": [["a"]]}, "card: "),
        ({"other_profiles": None}, "card: "),
        ({"profile_distance": 0}, "profile_distance is 0"),
        ({"ct_distance": float("inf")}, "ct_distance is inf"),
        ({"ct_distance": None}, "card: "),
        ({"feature_distance": -0.1}, "feature_distance is -0.1"),
        ({"feature_distance": float("nan")}, "feature_distance is nan"),
        ({"margin": 1.5}, "margin is 1.5"),
        ({"colour_share": -0.1}, "colour_share is -0.1"),
        ({"radius": 3}, "gate: .*radius"),
    ],
)
def test_a_gate_that_cannot_be_used_says_why(changes: dict[str, Any], reason: str) -> None:
    plain = values()
    with pytest.raises(CardError, match=reason):
        Card.from_dict({**plain, "gate": {**plain["gate"], **changes}})


@pytest.mark.parametrize("gate", ["closed", 3, ["a"]])
def test_a_gate_that_is_none_is_refused(gate: object) -> None:
    with pytest.raises(CardError, match="card: "):
        Card.from_dict(values(gate=gate))


def test_a_missing_bound_is_named() -> None:
    plain = values()
    del plain["gate"]["margin"]
    with pytest.raises(CardError, match=r"gate: .*margin"):
        Card.from_dict(plain)


def test_a_card_from_before_there_were_gates_keeps_its_version() -> None:
    card = Card("resnet18", InputSpec(64, 64))
    assert "gate" not in card.to_dict()
    assert card.version == "501bce7482f4"
    assert Card.from_dict({**card.to_dict(), "gate": None}) == card


def test_a_profile_is_a_few_lines_of_the_file(tmp_path: Path) -> None:
    write_card(CARD, tmp_path / "model.yaml")
    assert len((tmp_path / "model.yaml").read_text().splitlines()) < 60


@pytest.mark.parametrize("key", ["architecture", "input"])
def test_a_missing_key_is_named(key: str) -> None:
    plain = values()
    del plain[key]
    with pytest.raises(CardError, match=key):
        Card.from_dict(plain)


def test_grey_weights_have_one_mean() -> None:
    card = Card("custom_cnn", InputSpec(64, 64, channels=1), mean=(0.5,), std=(0.2,))
    assert Card.from_dict(card.to_dict()) == card


@pytest.mark.parametrize(
    "content", [b"a: [", b"- a list", b"just words", b"", b"\xff\xfe\x00", b"classes: [normal]"]
)
def test_a_file_that_is_no_card_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(content)
    with pytest.raises(CardError, match=r"model\.yaml"):
        read_card(path)


def test_a_card_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"model\.yaml"):
        read_card(tmp_path / "model.yaml")
