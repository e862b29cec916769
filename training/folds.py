"""Folds as unlike each other as the files allow: blocks of the running number, lookalikes together.

Files of the public data are numbered along the scans they come from, and its splits are blocks of
that number, so neighbours in number are neighbours in the body. A random fold would hold a slice
out whose neighbours are trained on; a block holds out the whole stretch. What looks alike all the
same (`training.duplicates`) moves to one fold, whatever its number.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving.card import CLASSES
from training.duplicates import ALIKE, equal_groups, find_pairs, joined_groups
from training.pictures import FOLD_COLUMNS, Picture

# What a training run leaves in its folder.
FOLDS_TABLE, OUTCOMES = "folds.csv", "outcomes.npz"


def fold_weights(runs: Path, fold: int) -> Path:
    """The weights of the network that has not seen a fold; their card lies beside them."""
    return runs / f"fold-{fold}.pt"


def with_folds(
    pictures: Sequence[Picture], thumbnails: npt.NDArray[np.uint8], folds: int
) -> list[Picture]:
    """The pictures with their folds, 0 to `folds` - 1; thumbnails uint8 [N,S,S] tell who is alike.

    Each series, the files of a class whose names begin with the same letters, is cut into blocks of
    nearly the same number of pictures.
    """
    own = equal_groups([picture.digest for picture in pictures])
    groups = joined_groups(own, find_pairs(thumbnails, ALIKE).above(ALIKE))
    numbers = [running_number(picture.path.stem) for picture in pictures]
    series: dict[tuple[int, str], list[int]] = {}
    for at, picture in enumerate(pictures):
        series.setdefault((picture.label, numbers[at][0]), []).append(at)
    blocks = [0] * len(pictures)
    for of_series in series.values():
        of_series.sort(key=lambda at: numbers[at][1])
        for place, at in enumerate(of_series):
            blocks[at] = place * folds // len(of_series)
    # A group lies where its first member does.
    return [replace(it, fold=blocks[group]) for it, group in zip(pictures, groups, strict=True)]


def running_number(stem: str) -> tuple[str, list[int]]:
    """What a file name counts by: its leading letters, then every number in it.

    `000108_(3)` → ("", [108, 3]) and `ad19` → ("ad", [19]).
    """
    letters = re.match(r"[^0-9]*", stem)
    assert letters is not None
    return letters[0], [int(digits) for digits in re.findall(r"[0-9]+", stem)]


def write_folds(pictures: Sequence[Picture], data: Path, table: Path) -> None:
    """One row a picture; paths are relative to the data."""
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(FOLD_COLUMNS)
        for item in pictures:
            path = item.path.relative_to(data).as_posix()
            writer.writerow((item.digest, CLASSES[item.label], item.fold, path))
