from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.training.pictures import picture
from training.examples import examples_of, prepare
from training.pictures import Picture


def written(folder: Path, seed: int, label: int, fold: int) -> Picture:
    path = folder / f"{seed}.png"
    picture(seed).convert("RGB").save(path)
    return Picture(str(seed), label, fold, path)


def test_rows_are_resized_as_the_service_does_and_grey(tmp_path: Path) -> None:
    item = written(tmp_path, 1, 0, 0)
    rows = prepare([item], [40]).rows[40]
    with Image.open(item.path) as image:
        expected = np.asarray(image.convert("L").resize((40, 40), Image.Resampling.BILINEAR))
    assert rows.shape == (1, 1, 40, 40)
    assert np.array_equal(rows[0, 0].numpy(), expected)


def test_one_decoding_gives_every_side_that_is_asked_for(tmp_path: Path) -> None:
    pictures = [written(tmp_path, seed, 0, 0) for seed in (1, 2)]
    both = prepare(pictures, [24, 40]).rows
    assert list(both) == [24, 40]
    for side, rows in both.items():
        assert torch.equal(rows, prepare(pictures, [side]).rows[side])


def test_thumbnails_and_histograms_are_of_the_whole_picture(tmp_path: Path) -> None:
    prepared = prepare([written(tmp_path, seed, 0, 0) for seed in (1, 2)], [32])
    assert prepared.thumbnails.shape == (2, 64, 64)
    assert prepared.histograms.shape == (2, 256)
    with Image.open(tmp_path / "2.png") as image:
        grey = np.asarray(image.convert("L"))
    assert prepared.histograms[1].tolist() == np.bincount(grey.ravel(), minlength=256).tolist()
    assert abs(prepared.thumbnails[1].mean() - grey.mean()) < 1


def test_examples_keep_label_and_fold_beside_their_row(tmp_path: Path) -> None:
    pictures = [written(tmp_path, seed, seed % 4, seed % 2) for seed in (3, 4, 5)]
    rows = prepare(pictures, [32]).rows[32]
    found = examples_of(pictures, rows)
    assert found.labels.tolist() == [3, 0, 1]
    assert found.folds.tolist() == [1, 0, 1]
    held = found.where(found.folds == 1)
    assert held.labels.tolist() == [3, 1]
    assert torch.equal(held.rows[1], rows[2])
