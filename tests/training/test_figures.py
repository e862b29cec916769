import math

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageColor

from training.figures import COLOURS, BarPanel, Line, LinePanel, draw_bars, draw_lines, ticks


def where(image: Image.Image, colour: str) -> npt.NDArray[np.int64]:
    """Rows and columns [N,2] of the pixels in a colour."""
    pixels = np.asarray(image)
    return np.argwhere((pixels == ImageColor.getrgb(colour)).all(2))


def panel(*lines: Line) -> LinePanel:
    return LinePanel("title", "x", "y", lines, (0, 10), 5, marks=[(9, "here")])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 256, [0, 100, 200]),
        (25, 92, [40, 60, 80]),
        (0, 0.04, [0, 0.01, 0.02, 0.03, 0.04]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_line_rises_where_its_values_do() -> None:
    drawn = where(draw_lines([panel(Line("one", [0, 10], [0, 5]))]), COLOURS[0])
    left, right = drawn[drawn[:, 1].argmin()], drawn[drawn[:, 1].argmax()]
    assert left[0] > right[0] + 100


def test_a_value_above_the_panel_is_cut_at_its_top() -> None:
    high, top = (
        where(draw_lines([panel(Line("one", [0, 10], [y, y]))]), COLOURS[0]) for y in (500, 5)
    )
    assert np.array_equal(high, top)


def test_several_lines_have_their_own_colours() -> None:
    image = draw_lines([panel(*(Line(str(y), [0, 10], [y, y]) for y in (1, 2, 3)))])
    heights = [where(image, colour)[:, 0].max() for colour in COLOURS[:3]]
    assert heights == sorted(heights, reverse=True)
    assert where(image, COLOURS[3]).size == 0


def test_bars_go_both_ways_from_their_base() -> None:
    bars = BarPanel("title", "x", ["a", "b", "c"], [0.9, 0.1, math.nan], 0.5, (0, 1))
    rows = where(draw_bars([bars]), COLOURS[0])
    upper = rows[rows[:, 0] < rows[:, 0].mean()]
    lower = rows[rows[:, 0] > rows[:, 0].mean()]
    assert upper[:, 1].min() == pytest.approx(lower[:, 1].max(), abs=4)
    assert len(upper) == pytest.approx(len(lower), rel=0.02)


def test_panels_stand_in_two_columns() -> None:
    one, three = (draw_lines([panel(Line("one", [0, 10], [0, 5]))] * n) for n in (1, 3))
    assert three.size == (one.width * 2, one.height * 2)
