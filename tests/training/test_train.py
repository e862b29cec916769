from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from predictor.checkpoint import find_card, load_weights
from serving.card import CLASSES, Card, Gate, read_card
from serving.settings import Process, Settings
from training.features import spread_of
from training.outcomes import AS_IS, Outcomes
from training.pictures import read_folds
from training.renderings import SHIFTS
from training.train import main
from training.window import WINDOW


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures a class: noise around a grey that tells the class; and one under two."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / "train" / name).mkdir(parents=True)
        for index in range(4):
            noise = random.integers(0, 30, (64, 64)) + 60 * label
            image = Image.fromarray(noise.astype(np.uint8))
            image.save(folder / "train" / name / f"{index}.png")
    image.save(folder / "train" / CLASSES[0] / "9.png")
    return folder


def train(data: Path, folder: Path, *more: str) -> Path:
    out = folder / "models" / "model.pt"
    small = ["--architecture", "custom_cnn", "--size", "64", "--epochs", "1", "--folds", "2"]
    where = ["--data", str(data), "--runs", str(folder / "runs"), "--out", str(out)]
    main([*small, "--threads", "1", *where, *more])
    return out


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `models/` and `runs/` of one training."""
    folder = tmp_path_factory.mktemp("trained")
    train(data, folder)
    return folder


def test_what_is_written_is_a_card_and_weights_that_the_predictor_loads(trained: Path) -> None:
    weights = trained / "models" / "model.pt"
    card = find_card(Settings(process=Process(model_path=weights)))
    network, bank = load_weights(card, weights)
    assert not network.training
    assert bank is not None
    assert len(bank) == 15
    assert card.input.window == WINDOW
    assert not card.provisional


def test_the_card_tells_people_what_it_was_made_of(data: Path, trained: Path) -> None:
    about = read_card(trained / "models" / "model.yaml").about
    assert about["training_data"] == data.name
    # The last normal lies under adenocarcinoma too.
    assert about["images"] == dict(zip(CLASSES, (4, 4, 4, 3), strict=True))
    assert "17 files hold 15 distinct pictures; 1 more" in about["duplicates"]
    assert "not a medical device" in about["use"]


def test_every_picture_is_scored_by_the_network_that_has_not_seen_it(
    data: Path, trained: Path
) -> None:
    runs = trained / "runs"
    pictures = read_folds(runs / "folds.csv", data)
    outcomes = Outcomes.load(runs / "outcomes.npz")
    assert sorted(outcomes.of(AS_IS).picture) == sorted(picture.digest for picture in pictures)
    assert set(outcomes.variants()) == {AS_IS, *SHIFTS}
    for fold in (0, 1):
        weights = runs / f"fold-{fold}.pt"
        card = find_card(Settings(process=Process(model_path=weights)))
        _, bank = load_weights(card, weights)
        assert bank is not None
        assert len(bank) == sum(picture.fold != fold for picture in pictures)


def test_temperature_and_gate_come_from_what_was_held_out(trained: Path) -> None:
    card = read_card(trained / "models" / "model.yaml")
    outcomes = Outcomes.load(trained / "runs" / "outcomes.npz")
    _, bank = load_weights(card, trained / "models" / "model.pt")
    assert card.temperature != 1
    assert isinstance(card.gate, Gate)
    assert bank is not None
    farthest = np.quantile(outcomes.of(AS_IS).distance, 0.99)
    assert card.gate.feature_distance == pytest.approx(farthest * spread_of(bank), rel=1e-3)
    assert set(card.precisions) >= {"fp32"}


def test_a_second_call_trains_nothing_anew(
    data: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.load(trained / "models" / "model.pt", weights_only=True)["state_dict"]
    # Whoever draws a view of a picture trains.
    monkeypatch.setattr("training.fit.augment", lambda images, side: 1 / 0)
    train(data, trained)
    after = torch.load(trained / "models" / "model.pt", weights_only=True)["state_dict"]
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_one_fold_alone_is_scored_and_nothing_is_shipped(data: Path, tmp_path: Path) -> None:
    out = train(data, tmp_path, "--hold-out", "1", "--seed", "3")
    assert not out.exists()
    pictures = read_folds(tmp_path / "runs" / "folds.csv", data)
    assert {picture.fold for picture in pictures} == {1}
    assert not (tmp_path / "runs" / "fold-0.pt").exists()
    assert set(Outcomes.load(tmp_path / "runs" / "outcomes.npz").fold) == {1}


def test_data_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^train: .* is no folder"):
        train(tmp_path / "nowhere", tmp_path)
    assert not (tmp_path / "models").exists()


def test_an_input_that_the_network_does_not_fit_is_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^train: card: no custom_cnn can be built"):
        train(data, tmp_path, "--size", "8")


def test_the_data_may_be_named(data: Path, tmp_path: Path) -> None:
    card: Card = read_card(
        train(data, tmp_path, "--data-name", "Slices of code").with_suffix(".yaml")
    )
    assert card.about["training_data"] == "Slices of code"
