"""One slice as another program would have saved it: what a model has to bear, scored alone.

Nothing here is ever used in training: the augmentations have code of their own. Every rendering
takes a picture at its own resolution, mode RGB, and gives one of mode RGB.
"""

import io
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from serving.settings import Limits

Rendering = Callable[[Image.Image], Image.Image]

TABLE_ROOM = 0.18
# How far down in that room the upper and the lower side of the table lie, and their greys.
TABLE_SURFACES = ((0.45, 170), (0.80, 85))


def gamma(image: Image.Image, power: float) -> Image.Image:
    """Greys from 0 to 1 raised to a power: above 1 is darker."""
    return _mapped(image, [255 * (value / 255) ** power for value in range(256)])


def contrast(image: Image.Image, factor: float) -> Image.Image:
    """Greys moved from or towards their mean."""
    mean = float(np.asarray(image.convert("L")).mean())
    return _mapped(image, [mean + factor * (value - mean) for value in range(256)])


def window(image: Image.Image, low: float, high: float) -> Image.Image:
    """Another CT window: greys from `low` to `high` become 0 to 255, the rest is cut."""
    return _mapped(image, [255 * (value - low) / (high - low) for value in range(256)])


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Saved as JPEG and read again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def crop(image: Image.Image, share: float) -> Image.Image:
    """A share of the side cut off at each edge."""
    across, down = round(image.width * share), round(image.height * share)
    return image.crop((across, down, image.width - across, image.height - down))


def pad(image: Image.Image, share: float) -> Image.Image:
    """Black of a share of the side added at each edge."""
    across, down = round(image.width * share), round(image.height * share)
    sheet = Image.new("RGB", (image.width + 2 * across, image.height + 2 * down))
    sheet.paste(image, (across, down))
    return sheet


def smaller(image: Image.Image, factor: float) -> Image.Image:
    """Saved with fewer pixels; no side gets shorter than the service accepts."""
    factor = max(factor, Limits().min_side_px / min(image.size))
    size = round(image.width * factor), round(image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC)


def coarser(image: Image.Image, factor: float) -> Image.Image:
    """Made smaller and enlarged to the old size: fine detail is lost."""
    return smaller(image, factor).resize(image.size, Image.Resampling.BICUBIC)


def with_table(image: Image.Image) -> Image.Image:
    """The field of view reaches below the body and shows the table: a bright arc on black."""
    room = round(image.height * TABLE_ROOM)
    sheet = Image.new("RGB", (image.width, image.height + room))
    pen = ImageDraw.Draw(sheet)
    # The lowest part of wide ellipses, open to above, as the tables of scanners are.
    left, right = -0.15 * image.width, 1.15 * image.width
    depth = 0.8 * image.height
    thickness = max(2, round(image.height * 0.012))
    for share, grey in TABLE_SURFACES:
        bottom = image.height + share * room
        pen.arc((left, bottom - depth, right, bottom), 40, 140, (grey,) * 3, thickness)
    # Over the arcs: what was there before stays as it was.
    sheet.paste(image, (0, 0))
    return sheet


def in_turn(image: Image.Image, steps: Sequence[Rendering]) -> Image.Image:
    """Several renderings, one after the other."""
    for step in steps:
        image = step(image)
    return image


# What a viewer or a converter does to the same slice. The model may lose little on each.
RENDERINGS: dict[str, Rendering] = {
    "gamma_0.8": partial(gamma, power=0.8),
    "gamma_1.25": partial(gamma, power=1.25),
    "contrast_0.8": partial(contrast, factor=0.8),
    "contrast_1.2": partial(contrast, factor=1.2),
    "jpeg_80": partial(jpeg, quality=80),
    "crop_5": partial(crop, share=0.05),
    "crop_10": partial(crop, share=0.10),
    "pad_10": partial(pad, share=0.10),
    "pad_25": partial(pad, share=0.25),
    "half_size": partial(smaller, factor=0.5),
    "half_detail": partial(coarser, factor=0.5),
}
# How slices from elsewhere differ: the field of view shows the table, the window is another one.
SHIFTS: dict[str, Rendering] = {
    "table": with_table,
    "window_bright": partial(window, low=0, high=190),
    "window_wide": partial(window, low=0, high=320),
    "window_narrow": partial(window, low=35, high=215),
    "shifted": partial(
        in_turn, steps=(with_table, partial(pad, share=0.06), partial(gamma, power=0.9))
    ),
}


def _mapped(image: Image.Image, greys: Sequence[float]) -> Image.Image:
    table = [min(255, max(0, round(grey))) for grey in greys]
    return image.point(table * 3)
