"""Labelled slices from folders, each picture once and prepared as the service prepares it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from serving.card import CLASSES, InputSpec
from serving.errors import ServiceError
from serving.settings import Limits
from training.samples import pixels_digest
from transformer.decode import decode
from transformer.preprocess import preprocess


class DatasetError(ValueError):
    """Folders that no network can be trained from; the text is one clear line."""


@dataclass(frozen=True)
class Dataset:
    """Rows uint8 [N,C,H,W], labels int64 [N] in the order of `CLASSES`.

    `pictures` are the digests of the source pixels; `files` counts what lay in the folders.
    """

    rows: Tensor
    labels: Tensor
    pictures: tuple[str, ...]
    files: int


def read_dataset(folder: Path, spec: InputSpec, known: Collection[str] = ()) -> Dataset:
    """Read `folder/<class>/<image>`.

    A picture that occurs twice is kept once, one that occurs under two classes or in `known`
    (digests of another split) not at all.

    Raises:
        DatasetError: a class has no folder, a file is no image, or nothing is left.
    """
    found: dict[str, tuple[set[int], Tensor]] = {}
    files = 0
    for label, name in enumerate(CLASSES):
        if not (folder / name).is_dir():
            raise DatasetError(f"{folder} has no folder {name}: expected {', '.join(CLASSES)}")
        for path in sorted((folder / name).iterdir()):
            files += 1
            picture, row = read_slice(path, spec)
            found.setdefault(picture, (set(), row))[0].add(label)
    kept = {
        picture: (labels.pop(), row)
        for picture, (labels, row) in found.items()
        if len(labels) == 1 and picture not in known
    }
    if not kept:
        raise DatasetError(f"{folder} holds no image that could be used")
    return Dataset(
        rows=torch.stack([row for _, row in kept.values()]),
        labels=torch.tensor([label for label, _ in kept.values()]),
        pictures=tuple(kept),
        files=files,
    )


def read_slice(path: Path, spec: InputSpec) -> tuple[str, Tensor]:
    """Digest of a file's pixels, and its row uint8 [C,H,W].

    Raises:
        DatasetError: the service would not read the file either.
    """
    try:
        ct_slice = decode(path.read_bytes(), Limits())
    except ServiceError as error:
        raise DatasetError(f"{path}: {error.detail}") from error
    row = preprocess(ct_slice.image, spec)  # [H,W,C], C = 1 where R = G = B
    full = np.broadcast_to(row, (spec.height, spec.width, spec.channels))
    return pixels_digest(ct_slice), torch.from_numpy(full.copy()).permute(2, 0, 1)
