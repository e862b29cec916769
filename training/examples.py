"""Pictures as training wants them: grey rows, thumbnails and histograms, each file decoded once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from serving.card import InputSpec
from serving.settings import Limits
from training.pictures import Picture
from training.samples import THUMBNAIL_SIDE, reduced
from transformer.decode import decode
from transformer.preprocess import preprocess
from transformer.statistics import summarise


@dataclass(frozen=True)
class Examples:
    """Grey rows uint8 [N,1,S,S], larger than the network's input so that a crop stays sharp.

    `labels` int64 [N] are indices of `CLASSES`, `folds` int64 [N] say where each is held out.
    """

    rows: Tensor
    labels: Tensor
    folds: Tensor

    def where(self, chosen: Tensor) -> "Examples":
        """The examples that a mask [N] marks."""
        return Examples(self.rows[chosen], self.labels[chosen], self.folds[chosen])


@dataclass(frozen=True)
class Prepared:
    """What is kept of each of N pictures.

    `rows` uint8 [N,1,S,S] for each side S that was asked for; `thumbnails` uint8 [N,64,64], which
    tell who is like whom; `histograms` int64 [N,256] of the grey values at full size.
    """

    rows: Mapping[int, Tensor]
    thumbnails: npt.NDArray[np.uint8]
    histograms: npt.NDArray[np.int64]


def prepare(pictures: Iterable[Picture], sides: Sequence[int]) -> Prepared:
    """Decode every picture and resize it as the service does, to each side and one channel."""
    specs = [InputSpec(side, side, channels=1) for side in sides]
    rows: dict[int, list[Tensor]] = {side: [] for side in sides}
    thumbnails, histograms = [], []
    for picture in pictures:
        ct_slice = decode(picture.path.read_bytes(), Limits())
        for spec in specs:
            row = preprocess(ct_slice.image, spec)
            rows[spec.width].append(torch.tensor(row).permute(2, 0, 1))
        thumbnails.append(reduced(ct_slice.grey, THUMBNAIL_SIDE))
        histograms.append(summarise(ct_slice).histogram)
    stacked = {side: torch.stack(of_side) for side, of_side in rows.items()}
    return Prepared(stacked, np.stack(thumbnails), np.array(histograms, np.int64))


def examples_of(pictures: Iterable[Picture], rows: Tensor) -> Examples:
    """Rows uint8 [N,1,S,S] with the labels and folds of their pictures."""
    labels, folds = zip(*((picture.label, picture.fold) for picture in pictures), strict=True)
    return Examples(rows, torch.tensor(labels), torch.tensor(folds))
