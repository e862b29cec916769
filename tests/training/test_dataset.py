from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.card import CLASSES, InputSpec
from training.dataset import DatasetError, read_dataset

SPEC = InputSpec(32, 48)


def write(path: Path, seed: int, mode: str = "L") -> None:
    """One picture of noise for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (70, 80), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label, name in enumerate(CLASSES):
        write(tmp_path / name / "one.png", seed=label)
    return tmp_path


def test_labels_follow_the_order_of_the_classes(folder: Path) -> None:
    dataset = read_dataset(folder, SPEC)
    assert dataset.labels.tolist() == [0, 1, 2, 3]
    assert dataset.rows.shape == (4, 3, 32, 48)
    assert dataset.files == 4


def test_a_row_is_what_the_service_would_send(folder: Path) -> None:
    row = read_dataset(folder, SPEC).rows[2]
    with Image.open(folder / CLASSES[2] / "one.png") as image:
        resized = np.asarray(image.convert("RGB").resize((48, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(row.permute(1, 2, 0).numpy(), resized)


def test_equal_pixels_are_one_picture_whatever_the_file(folder: Path) -> None:
    write(folder / CLASSES[0] / "copy.bmp", seed=0, mode="RGB")
    dataset = read_dataset(folder, SPEC)
    assert dataset.labels.tolist() == [0, 1, 2, 3]
    assert dataset.files == 5


def test_a_picture_under_two_classes_is_left_out(folder: Path) -> None:
    write(folder / CLASSES[3] / "other.png", seed=1)
    assert read_dataset(folder, SPEC).labels.tolist() == [0, 2, 3]


def test_pictures_of_another_split_are_left_out(folder: Path) -> None:
    known = read_dataset(folder, SPEC).pictures
    write(folder / CLASSES[2] / "new.png", seed=9)
    assert read_dataset(folder, SPEC, known).labels.tolist() == [2]
    with pytest.raises(DatasetError, match="holds no image"):
        read_dataset(folder, SPEC, [*known, *read_dataset(folder, SPEC).pictures])


def test_a_missing_class_is_named(folder: Path) -> None:
    (folder / CLASSES[1] / "one.png").unlink()
    (folder / CLASSES[1]).rmdir()
    with pytest.raises(DatasetError, match="no folder large_cell_carcinoma: expected adenoc"):
        read_dataset(folder, SPEC)


def test_a_file_that_the_service_would_not_read_is_named(folder: Path) -> None:
    (folder / CLASSES[1] / "notes.txt").write_text("not an image")
    with pytest.raises(DatasetError, match=r"notes\.txt: the file is no image"):
        read_dataset(folder, SPEC)
