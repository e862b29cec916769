"""An explanation as a picture: the slice in grey, its cells in colour, and a legend below.

Both signs are drawn, since the logit is their sum: without the cells that speak against a class, a
weak one would look strong. Cells keep their edges: a smooth map of so few values would look as if
it knew outlines that nobody computed.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from transformer.decode import Slice
from transformer.explanation import Explanation

SIDE = 512
# Orange and blue differ for every kind of colour vision, and from grey.
FOR, AGAINST = (255, 140, 0), (40, 120, 255)
STRONGEST = 0.6
EDGE = (255, 255, 255, 56)

MARGIN, LINE, LETTERS = 14, 22, 15
LINES = 5
LEGEND = 2 * MARGIN + LINES * LINE
BAR = (200, 12)
BAR_GREY = (64, 64, 64)
WARNING = "Model attention, not lesion location; research use only."


def overlay(ct_slice: Slice, explanation: Explanation) -> bytes:
    """A PNG, 512 px wide: the slice, its longest side 512 px, and the legend below it.

    A cell's colour says for or against, its opacity how much, in proportion to the strongest cell
    of this picture, whose figure stands in the legend.
    """
    grid = np.array(explanation.grid)
    limit = float(np.abs(grid).max())
    scale = SIDE / max(ct_slice.width, ct_slice.height)
    width, height = (max(1, round(side * scale)) for side in (ct_slice.width, ct_slice.height))
    grey = ct_slice.grey.resize((width, height), Image.Resampling.BILINEAR)
    picture = Image.new("RGBA", (SIDE, height + LEGEND), "black")
    place = ((SIDE - width) // 2, 0)
    picture.paste(grey, place)
    picture.alpha_composite(cells(grid, limit, (width, height)), place)
    write_legend(picture, height, explanation, limit)
    target = io.BytesIO()
    # The noise of a CT hardly gets smaller by more effort than this.
    picture.convert("RGB").save(target, "PNG", compress_level=3)
    return target.getvalue()


def cells(grid: NDArray[np.float64], limit: float, size: tuple[int, int]) -> Image.Image:
    """The grid [h, w] as a see-through picture of `size`, with lines between its cells."""
    layer = colours(grid, limit).resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(layer)
    for row in range(1, grid.shape[0]):
        y = round(row * size[1] / grid.shape[0])
        draw.line((0, y, size[0], y), EDGE)
    for column in range(1, grid.shape[1]):
        x = round(column * size[0] / grid.shape[1])
        draw.line((x, 0, x, size[1]), EDGE)
    return layer


def colours(values: NDArray[np.float64], limit: float) -> Image.Image:
    """Values [h, w] as RGBA, one pixel each; zero is invisible, `limit` the most opaque."""
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where(values[..., np.newaxis] > 0, FOR, AGAINST)
    pixels[..., 3] = np.abs(values) / (limit or 1.0) * STRONGEST * 255
    return Image.fromarray(pixels)


def write_legend(picture: Image.Image, top: int, explanation: Explanation, limit: float) -> None:
    """Which class, how probable, what the colours mean, and what the picture does not show."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(LETTERS)
    explained, shares = explanation.explained_class, explanation.probabilities
    grid = f"{len(explanation.grid)} x {len(explanation.grid[0])}"
    texts = (
        (f"explained: {explained}, probability {shares[explained]:.1%}", "white"),
        (f"predicted: {explanation.pred_class}, {explanation.confidence:.1%}", "white"),
        (f"What each of {grid} cells adds to the logit, {explanation.logit:.2f}:", "white"),
        (WARNING, "yellow"),
    )
    lines = [top + MARGIN + number * LINE for number in range(LINES)]
    for y, (text, colour) in zip([*lines[:3], lines[4]], texts, strict=True):
        draw.text((MARGIN, y), text, colour, font)
    least, most = f"-{limit:.2g} against", f"for +{limit:.2g}"
    draw.text((MARGIN, lines[3]), least, "white", font)
    left = 2 * MARGIN + round(font.getlength(least))
    bar = colours(np.linspace(-limit, limit, BAR[0])[np.newaxis], limit).resize(BAR)
    picture.paste(BAR_GREY, (left, lines[3] + 4, left + BAR[0], lines[3] + 4 + BAR[1]))
    picture.alpha_composite(bar, (left, lines[3] + 4))
    draw.text((left + BAR[0] + MARGIN, lines[3]), most, "white", font)
