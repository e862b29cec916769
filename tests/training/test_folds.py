import csv
from pathlib import Path

import numpy as np
import pytest

from serving.card import CLASSES
from training.folds import running_number, with_folds, write_folds
from training.pictures import FOLD_COLUMNS, Picture, read_folds
from training.samples import THUMBNAIL_SIDE


def pictures_of(label: int, *stems: str) -> list[Picture]:
    return [Picture(f"{label}-{stem}", label, 0, Path(f"{stem}.png")) for stem in stems]


def unlike(count: int) -> np.ndarray:  # type: ignore[type-arg]
    """Thumbnails of noise: none is like another."""
    shape = (count, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("000108_(3)", ("", [108, 3])),
        ("ad19", ("ad", [19])),
        ("10_-_Copy_(2)", ("", [10, 2])),
        ("plain", ("plain", [])),
    ],
)
def test_a_name_counts_by_its_letters_and_then_its_numbers(
    stem: str, expected: tuple[str, list[int]]
) -> None:
    assert running_number(stem) == expected


def test_blocks_follow_the_number_and_not_the_text() -> None:
    pictures = pictures_of(0, "10", "2", "100", "1", "20", "30")
    found = {picture.path.stem: picture.fold for picture in with_folds(pictures, unlike(6), 3)}
    assert found == {"1": 0, "2": 0, "10": 1, "20": 1, "30": 2, "100": 2}


def test_every_class_and_every_series_is_cut_by_itself() -> None:
    pictures = [
        *pictures_of(0, *(f"{n}" for n in range(8))),
        *pictures_of(0, *(f"ad{n}" for n in range(4))),
        *pictures_of(3, *(f"{n}" for n in range(100, 104))),
    ]
    found = with_folds(pictures, unlike(16), 4)
    assert [picture.fold for picture in found] == [
        *(0, 0, 1, 1, 2, 2, 3, 3),
        *(0, 1, 2, 3),
        *(0, 1, 2, 3),
    ]
    assert [replaced.digest for replaced in found] == [picture.digest for picture in pictures]


def test_what_looks_alike_lies_in_one_fold_whatever_its_number_or_class() -> None:
    pictures = [*pictures_of(0, "1", "2", "3", "4"), *pictures_of(1, "5", "6", "7", "8")]
    thumbnails = unlike(8)
    thumbnails[3] = thumbnails[0]
    thumbnails[7] = np.clip(thumbnails[0].astype(int) + 3, 0, 255)
    found = [picture.fold for picture in with_folds(pictures, thumbnails, 4)]
    assert found == [0, 1, 2, 0, 0, 1, 2, 0]


def test_the_table_of_folds_is_read_as_it_was_written(tmp_path: Path) -> None:
    data, table = tmp_path / "data", tmp_path / "folds.csv"
    written = []
    for fold, name in enumerate((CLASSES[0], CLASSES[3])):
        path = data / "train" / name / "1.png"
        path.parent.mkdir(parents=True)
        path.touch()
        written.append(Picture(f"digest-{fold}", CLASSES.index(name), fold, path))
    write_folds(written, data, table)
    assert read_folds(table, data) == written
    with table.open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == list(FOLD_COLUMNS)
