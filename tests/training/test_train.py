from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from predictor.checkpoint import find_card, load_network
from serving.card import CLASSES, Card, InputSpec
from serving.settings import Process, Settings
from training.dataset import Dataset, read_dataset
from training.train import accuracy, main, measure_precisions, per_class, probabilities

SPEC = InputSpec(64, 64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures a class and split: noise around a grey that tells the class."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for split in ("train", "valid"):
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for index in range(3):
                noise = random.integers(0, 30, (64, 64)) + 60 * label
                image = Image.fromarray(noise.astype(np.uint8))
                image.save(folder / split / name / f"{index}.png")
    return folder


def train(data: Path, out: Path, *more: str) -> None:
    small = ["--architecture", "custom_cnn", "--size", "64", "--epochs", "1"]
    main(["--data", str(data), "--out", str(out), *small, *more])


def test_what_is_written_is_a_card_and_weights_that_the_predictor_loads(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "models" / "model.pt"
    train(data, out)
    card = find_card(Settings(process=Process(model_path=out)))
    network = load_network(card, out)
    valid = read_dataset(data / "valid", SPEC)
    assert card.provisional
    assert card.about["training_data"] == data.name
    assert card.about["train_images"] == dict.fromkeys(CLASSES, 3)
    assert card.about["valid_accuracy"] == round(accuracy(network, card, valid), 4)
    assert "not a medical device" in card.about["use"]


def test_the_seed_decides_the_weights(data: Path, tmp_path: Path) -> None:
    seeds = {"a": "0", "b": "0", "c": "1"}
    for name, seed in seeds.items():
        train(data, tmp_path / f"{name}.pt", "--seed", seed)
    first, again, other = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True)["classifier.4.weight"]
        for name in seeds
    )
    torch.testing.assert_close(again, first)
    assert not torch.allclose(other, first)


@pytest.mark.parametrize("missing", ["valid", "nowhere"])
def test_data_that_is_not_there_is_one_line(missing: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^training: .* has no folder adenocarcinoma"):
        train(data / missing, tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


class Brightness(torch.nn.Module):
    """Logits that tell bright rows from dark ones; bf16 moves them by what it rounds away."""

    def __init__(self, steepness: float) -> None:
        super().__init__()
        self.steepness = torch.nn.Parameter(torch.tensor(steepness))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        mean = (x.mean((1, 2, 3)) - 0.5) * self.steepness
        return {"logits": torch.stack((mean, -mean, mean * 0, mean * 0), 1)}


def brightness_data() -> tuple[Card, Dataset]:
    card = Card("custom_cnn", SPEC, mean=(0.0,) * 3, std=(1.0,) * 3)
    rows = torch.arange(100, 150, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    return card, Dataset(rows, torch.zeros(len(rows), dtype=torch.int64), (), len(rows))


def test_probabilities_come_batch_by_batch_in_order() -> None:
    card, dataset = brightness_data()
    found = probabilities(Brightness(2.0), card, dataset.rows)
    assert found.shape == (50, 4)
    assert (found[:, 0].diff() > 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(50))


@pytest.mark.parametrize(("steepness", "permitted"), [(1.0, True), (200.0, False)])
def test_bf16_is_permitted_only_where_it_moves_little(steepness: float, permitted: bool) -> None:
    card, dataset = brightness_data()
    found = measure_precisions(Brightness(steepness), card, dataset)
    assert found["fp32"] == 0
    assert ("bf16" in found) == permitted
    if permitted:
        assert 0 < found["fp16"] < found["bf16"] <= 0.03


def test_accuracy_and_counts_are_by_class() -> None:
    card, dataset = brightness_data()
    bright = sum(value > 255 / 2 for value in range(100, 150))
    assert accuracy(Brightness(2.0), card, dataset) == pytest.approx(bright / 50)
    assert accuracy(Brightness(-2.0), card, dataset) == pytest.approx(1 - bright / 50)
    assert per_class(dataset) == dict(zip(CLASSES, (50, 0, 0, 0), strict=True))
