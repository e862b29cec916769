"""Grey-value statistics of a slice, all from one 256-bin histogram, and how coloured it is."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

import numpy as np
from PIL import Image

from serving.errors import UnsuitableImage
from serving.settings import Limits
from transformer.decode import Slice, coarse

# A pixel whose channels differ by more is coloured; JPEG alone can make greys differ a little.
COLOURED = 16
GREYS = range(256)
SQUARES = [grey**2 for grey in GREYS]


@dataclass(frozen=True)
class Statistics:
    """Grey values (0-255) of one slice and its size in pixels.

    `histogram` counts the pixels of each of the 256 grey values; what comes before it follows from
    it. `colour_share` is the share of coloured pixels, from 0 to 1.
    """

    mean: float
    std: float
    min: float
    max: float
    p01: float
    p50: float
    p99: float
    height: int
    width: int
    histogram: tuple[int, ...]
    colour_share: float


def summarise(ct_slice: Slice) -> Statistics:
    """Statistics of the slice's grey image; equal to numpy's on the pixels themselves.

    In plain integers: numpy is no faster for 256 of them, and gives the interpreter up at each
    step, which other threads take at once under load.
    """
    histogram = ct_slice.grey.histogram()
    below = list(accumulate(histogram))
    pixels = below[-1]
    total = sum(map(mul, histogram, GREYS))
    squares = sum(map(mul, histogram, SQUARES))
    present = [grey for grey, count in enumerate(histogram) if count]
    return Statistics(
        mean=total / pixels,
        # Integers up to the last step: rounding would give a uniform image a contrast.
        std=math.sqrt((pixels * squares - total**2) / pixels**2),
        min=float(present[0]),
        max=float(present[-1]),
        p01=_percentile(below, 1),
        p50=_percentile(below, 50),
        p99=_percentile(below, 99),
        height=ct_slice.height,
        width=ct_slice.width,
        histogram=tuple(histogram),
        colour_share=_colour_share(ct_slice.pixels),
    )


def require_contrast(statistics: Statistics, limits: Limits) -> None:
    """Refuse a slice that shows nothing.

    Raises:
        UnsuitableImage: the standard deviation of the grey values is below the limit.
    """
    if statistics.std < limits.min_grey_std:
        raise UnsuitableImage(
            f"the image has no contrast: the standard deviation of its grey values is "
            f"{statistics.std:.1f}, at least {limits.min_grey_std:g} is expected: "
            "send a slice in a CT window that shows tissue"
        )


def _colour_share(image: Image.Image) -> float:
    """The share of coloured pixels among those of a coarse grid."""
    if image.mode == "L":
        return 0.0
    looked_at = coarse(image)
    red, green, blue = looked_at[..., 0], looked_at[..., 1], looked_at[..., 2]
    most, least = np.maximum(red, green), np.minimum(red, green)
    apart = np.maximum(most, blue) - np.minimum(least, blue)
    return float(np.count_nonzero(apart > COLOURED) / apart.size)


def _percentile(below: Sequence[int], percent: int) -> float:
    """The percentile with linear interpolation; `below[v]` counts the pixels of value <= v."""
    position = (below[-1] - 1) * (percent / 100)
    rank = math.floor(position)
    low, high = bisect_right(below, rank), bisect_right(below, rank + 1)
    fraction = position - rank
    # From the nearer end, as numpy interpolates: the two agree to the last bit.
    if fraction < 0.5:
        return float(low + (high - low) * fraction)
    return float(high - (high - low) * (1 - fraction))
