"""Labelled pictures to be scored: each once, with the fold that has not seen it."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.card import CLASSES
from serving.errors import ServiceError
from serving.settings import Limits
from training.samples import LayoutError, Place, Unreadable, find_files, pixels_digest
from transformer.decode import decode
from transformer.statistics import require_contrast, summarise

NORMAL = CLASSES.index("normal")
FOLD_COLUMNS = ("picture", "label", "fold", "path")


@dataclass(frozen=True)
class Picture:
    """A file: `digest` of its pixels, `label` as index of its class, and its fold (0: none)."""

    digest: str
    label: int
    fold: int
    path: Path


@dataclass(frozen=True)
class Found:
    """What a folder holds; `conflicts` counts the pictures left out for having several classes."""

    pictures: Sequence[Picture]
    files: int
    conflicts: int
    unreadable: Sequence[Unreadable]


def read_pictures(places: Iterable[Place]) -> Found:
    """The distinct pictures among files that the service would accept.

    Raises:
        LayoutError: a folder's name begins with no class.
    """
    labels: dict[str, set[int]] = {}
    paths: dict[str, Path] = {}
    unreadable, files = [], 0
    for place in places:
        files += 1
        label = label_of(place)
        try:
            digest = _digest(place.path)
        except ServiceError as error:
            unreadable.append(Unreadable(place, error.detail))
            continue
        labels.setdefault(digest, set()).add(label)
        paths.setdefault(digest, place.path)
    pictures = [
        Picture(digest, min(labels[digest]), 0, path)
        for digest, path in paths.items()
        if len(labels[digest]) == 1
    ]
    return Found(pictures, files, len(paths) - len(pictures), unreadable)


def label_of(place: Place) -> int:
    """The index of the class that a folder's name begins with, whatever stands between words.

    Raises:
        LayoutError: there is none.
    """
    name = re.sub(r"[^a-z]+", "_", place.label.lower())
    for index, known in enumerate(CLASSES):
        if name.startswith(known):
            return index
    raise LayoutError(
        f"{place.path.parent} is no folder of a known class: expected names that begin with "
        f"{', '.join(CLASSES)}"
    )


def read_folds(table: Path, data: Path) -> list[Picture]:
    """The pictures of a cross-validation, from its folds.csv; paths are relative to `data`.

    Raises:
        LayoutError: the table is missing, not one of folds, or names files that are not there.
    """
    find_files(data)
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        pictures = [
            Picture(row["picture"], _index(row["label"]), int(row["fold"]), data / row["path"])
            for row in rows
        ]
    except FileNotFoundError as error:
        raise LayoutError(
            f"{table} does not exist: make train writes it, with the networks of the folds"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutError(
            f"{table} is no table of folds: expected the columns {', '.join(FOLD_COLUMNS)}"
        ) from error
    missing = [picture.path for picture in pictures if not picture.path.is_file()]
    if missing:
        raise LayoutError(
            f"{len(missing)} of {len(pictures)} files of {table} are not there, {missing[0]} among "
            f"them: name the folder that the folds were trained from"
        )
    return pictures


def _index(label: str) -> int:
    """A class by its name or its index."""
    index = CLASSES.index(label) if label in CLASSES else int(label)
    if not 0 <= index < len(CLASSES):
        raise ValueError(label)
    return index


def _digest(path: Path) -> str:
    """The digest of a file that the service would answer."""
    ct_slice = decode(path.read_bytes(), Limits())
    require_contrast(summarise(ct_slice), Limits())
    return pixels_digest(ct_slice)
