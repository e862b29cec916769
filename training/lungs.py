"""Where the lungs are in a slice, from grey values alone: good enough to blank them.

A threshold between air and tissue gives dark regions; those that reach far along the picture's edge
are the air around the body, the largest of the rest are lungs. The convex hull of each takes in
what stands in a lung without being dark: vessels, the hilum, a tumour on its wall.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

# Regions are looked for at this longer side: finer detail is vessels.
SIDE = 192
# As shares of the picture: a lung is larger; a region that has more of the edge is outside.
LEAST_LUNG = 0.012
EDGE = 0.02
MOST_LUNGS = 3
# The lung's blurred border, of which half lies outside the threshold, as a share of the short side.
RIM = 0.025
# A frame that someone drew around the picture varies less than this (greys).
FRAME_STD = 4.0


def find_lungs(image: Image.Image, *, together: bool = False) -> Image.Image | None:
    """A mask, mode L at the picture's size: 255 in the hull of each lung; None if none is found.

    With `together` one hull takes in all lungs, and with them the mediastinum.
    """
    box = inside_frame(np.asarray(image.convert("L")))
    small = image.convert("L").crop(box)
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small.filter(ImageFilter.MedianFilter(3)))
    lungs = _lungs(grey <= between_air_and_tissue(grey))
    if not lungs:
        return None
    mask = Image.new("L", image.size)
    pen = ImageDraw.Draw(mask)
    across = (box[2] - box[0]) / small.width
    down = (box[3] - box[1]) / small.height
    rim = max(1, round(RIM * min(image.size)))
    for lung in [np.concatenate(lungs)] if together else lungs:
        corners = [(box[0] + x * across, box[1] + y * down) for x, y in hull(lung)]
        pen.polygon(corners, fill=255)
        pen.line([*corners, corners[0]], fill=255, width=rim, joint="curve")
    return mask


def between_air_and_tissue(grey: Grey) -> int:
    """The grey value that splits the picture best into two: Otsu 1979."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sums / below - (sums[-1] - sums) / above
        spread = below * above * difference**2
    return int(np.nan_to_num(spread).argmax())


def inside_frame(grey: Grey) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is left without uniform edges that are not black."""
    top, bottom, left, right = 0, grey.shape[0], 0, grey.shape[1]

    def uniform(line: Grey) -> bool:
        return bool(line.std() < FRAME_STD and line.mean() > 64)

    while bottom - top > 2 and uniform(grey[top, left:right]):
        top += 1
    while bottom - top > 2 and uniform(grey[bottom - 1, left:right]):
        bottom -= 1
    while right - left > 2 and uniform(grey[top:bottom, left]):
        left += 1
    while right - left > 2 and uniform(grey[top:bottom, right - 1]):
        right -= 1
    return left, top, right, bottom


def regions(mask: Mask) -> Ints:
    """Connected regions (by edges) of a mask [H,W]: a number above 0 for each, 0 outside."""
    numbers = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        before = numbers
        # The greatest number spreads along each row and column without a gap, until none moves.
        numbers = _spread(_spread(numbers).T).T
        if np.array_equal(before, numbers):
            return numbers


def _spread(numbers: Ints) -> Ints:
    """Each run of non-zeros in a row takes its greatest number."""
    flat = np.pad(numbers, ((0, 0), (0, 1))).ravel()
    starts = np.flatnonzero(np.diff((flat > 0).astype(np.int8), prepend=0))
    if not len(starts):
        return numbers
    lengths = np.diff(starts, append=len(flat))
    greatest = np.maximum.reduceat(flat, starts)
    flat[starts[0] :] = np.repeat(greatest, lengths)
    return flat.reshape(len(numbers), -1)[:, :-1]


def _lungs(dark: Mask) -> list[Ints]:
    """Pixels (x, y) [N,2] of each region that may be a lung, largest first."""
    numbers = regions(dark)
    found, sizes = np.unique(numbers[numbers > 0], return_counts=True)
    edge = np.concatenate((numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]))
    large = [
        (size, number)
        for number, size in zip(found.tolist(), sizes.tolist(), strict=True)
        if size >= LEAST_LUNG * dark.size and (edge == number).mean() <= EDGE
    ]
    chosen = sorted(large, reverse=True)[:MOST_LUNGS]
    return [np.argwhere(numbers == number)[:, ::-1] for _, number in chosen]


def hull(points: Ints) -> list[tuple[int, int]]:
    """The corners of the convex hull of points (x, y) [N,2] (Andrew's monotone chain)."""
    ordered = sorted({(x, y) for x, y in points.tolist()})

    def chain(along: list[tuple[int, int]]) -> list[tuple[int, int]]:
        kept: list[tuple[int, int]] = []
        for x, y in along:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], (x, y)) <= 0:
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return chain(ordered) + chain(ordered[::-1]) or ordered


def _turn(first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]) -> int:
    """Above 0 where the path through three points turns left."""
    one = (second[0] - first[0]) * (third[1] - first[1])
    return one - (second[1] - first[1]) * (third[0] - first[0])
