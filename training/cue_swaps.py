"""A slice dressed in the source cues of another one: does the answer follow the source or the lung?

In the public data the normal slices come from other sources than the cancers, so that size, border
and grey levels alone tell the two apart. Each swap takes a picture and a donor of the other source,
gives the picture one cue of the donor and leaves what it shows. A model that reads the lung keeps
its answer. Nothing here is ever used in training.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.lungs import between_air_and_tissue, inside_frame
from training.pictures import NORMAL, Picture

Swap = Callable[[Image.Image, Image.Image], Image.Image]
Grey = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

# A row or column belongs to the body where this share of it is brighter than the dark quarter.
BODY_SHARE = 0.04


def size(image: Image.Image, donor: Image.Image) -> Image.Image:
    """As many pixels as the donor, at the picture's own proportions."""
    factor = (donor.width * donor.height / (image.width * image.height)) ** 0.5
    sides = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(sides, Image.Resampling.BICUBIC)


def stretch(image: Image.Image, donor: Image.Image) -> Image.Image:
    """The donor's height and width, the proportions given up."""
    return image.resize(donor.size, Image.Resampling.BICUBIC)


def contrast(image: Image.Image, donor: Image.Image) -> Image.Image:
    """Greys with the donor's mean and standard deviation."""
    own, other = _grey(image).astype(np.float64), _grey(donor).astype(np.float64)
    gain = other.std() / max(float(own.std()), 1e-6)
    return _mapped(image, (np.arange(256) - own.mean()) * gain + other.mean())


def profile(image: Image.Image, donor: Image.Image) -> Image.Image:
    """The donor's whole grey profile: histogram matching, background and all."""
    return _mapped(image, _matched(_counts(_grey(image)), _counts(_grey(donor))))


def rendering(image: Image.Image, donor: Image.Image) -> Image.Image:
    """The donor's greys of air and of tissue, each matched by itself.

    Unlike `profile` it keeps air air where the two pictures show different shares of it.
    """
    own, other = _grey(image), _grey(donor)
    split, target = between_air_and_tissue(own), between_air_and_tissue(other)
    dark = _matched(_counts(own[own <= split]), _counts(other[other <= target]))
    bright = _matched(_counts(own[own > split]), _counts(other[other > target]))
    return _mapped(image, np.where(np.arange(256) <= split, dark, bright))


def border(image: Image.Image, donor: Image.Image) -> Image.Image:
    """The donor's margins around the body, as shares of the body, in the picture's background."""
    own, other = body_box(_grey(image)), body_box(_grey(donor))
    body = image.crop(own)
    across = body.width / (other[2] - other[0])
    down = body.height / (other[3] - other[1])
    left, top = round(other[0] * across), round(other[1] * down)
    right = round((donor.width - other[2]) * across)
    bottom = round((donor.height - other[3]) * down)
    background = int(np.percentile(_grey(image), 1))
    whole = (left + body.width + right, top + body.height + bottom)
    sheet = Image.new("RGB", whole, (background,) * 3)
    # Where the picture itself reaches further than its body, its own pixels are kept.
    sheet.paste(image, (left - own[0], top - own[1]))
    return sheet


def everything(image: Image.Image, donor: Image.Image) -> Image.Image:
    """Rendering, border and number of pixels at once."""
    return size(border(rendering(image, donor), donor), donor)


CUE_SWAPS: dict[str, Swap] = {
    "size": size,
    "stretch": stretch,
    "contrast": contrast,
    "rendering": rendering,
    "profile": profile,
    "border": border,
    "everything": everything,
}


def choose_donors(pictures: Sequence[Picture]) -> dict[str, Path]:
    """For each picture a file of the other source: a normal for a cancer and the reverse.

    The choice depends on the pictures alone, not on their order. Empty where a source is missing.
    """
    ordered = sorted(pictures, key=lambda picture: picture.digest)
    normal = [picture.path for picture in ordered if picture.label == NORMAL]
    cancers = [picture.path for picture in ordered if picture.label != NORMAL]
    if not normal or not cancers:
        return {}
    return {
        picture.digest: Random(picture.digest).choice(
            cancers if picture.label == NORMAL else normal
        )
        for picture in ordered
    }


def body_box(grey: Grey) -> Box:
    """Left, top, right and bottom of the body; the whole picture where nothing stands out."""
    left, top, right, bottom = inside_frame(grey)
    inner = grey[top:bottom, left:right]
    bright = inner > between_air_and_tissue(inner) // 2
    rows = np.flatnonzero(bright.mean(1) > BODY_SHARE)
    columns = np.flatnonzero(bright.mean(0) > BODY_SHARE)
    if not len(rows) or not len(columns):
        return 0, 0, grey.shape[1], grey.shape[0]
    across, down = left + int(columns[0]), top + int(rows[0])
    return across, down, left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def _grey(image: Image.Image) -> Grey:
    return np.asarray(image.convert("L"))


def _counts(grey: Grey) -> npt.NDArray[np.int64]:
    return np.bincount(grey.ravel(), minlength=256)


def _matched(own: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """For each of 256 greys the one at the same rank in the other counts; itself where none is."""
    if not own.sum() or not other.sum():
        return np.arange(256, dtype=np.float64)
    # The middle of each grey's own ranks, so that a large flat background stays at its place.
    ranks = (own.cumsum() - own / 2) / own.sum()
    below = (other.cumsum() - other / 2) / other.sum()
    present = other > 0
    matched: npt.NDArray[np.float64] = np.interp(
        ranks, below[present], np.flatnonzero(present).astype(np.float64)
    )
    return matched


def _mapped(image: Image.Image, greys: npt.NDArray[np.float64]) -> Image.Image:
    table: list[int] = np.clip(np.rint(greys), 0, 255).astype(int).tolist()
    return image.point(table * 3)
