"""Diagrams as PNG: panels with lines, or with bars, drawn with Pillow alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

# Told apart with any colour vision; a further line begins anew.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
INK, FAINT, PAPER = "#222222", "#dddddd", "#ffffff"
# Lengths in pixels of the diagram as it is shown; it is drawn at twice the size, for fine screens.
SCALE = 2
PANEL_WIDTH, PANEL_HEIGHT = 520, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 34, 46
TEXT = 12
LEGEND_PITCH = 17
BAR_PITCH, BAR = 17, 11
BAR_LEFT = 92

Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One named line through the points (x, y)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class LinePanel:
    """Lines over shared axes; `marks` are upright lines with a word. What lies above is cut."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    x_range: tuple[float, float]
    y_top: float
    marks: Sequence[tuple[float, str]] = field(default=())


@dataclass(frozen=True)
class BarPanel:
    """Lying bars from `base`, one for each name; NaN draws none."""

    title: str
    x_label: str
    names: Sequence[str]
    values: Sequence[float]
    base: float
    x_range: tuple[float, float]


class Canvas:
    """A white sheet whose units are shown pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(TEXT * SCALE)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1) -> None:
        """Connect the points."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self.pen.line(scaled, fill=colour, width=round(width * SCALE), joint="curve")

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        """Fill a rectangle."""
        corners = [value * SCALE for value in (left, top, right, bottom)]
        self.pen.rectangle(corners, fill=colour)

    def text(self, x: float, y: float, words: str, anchor: str = "la", colour: str = INK) -> None:
        """Write words; the anchor is Pillow's, such as `mm` for the middle."""
        self.pen.text((x * SCALE, y * SCALE), words, colour, self.font, anchor=anchor)

    def upright(self, x: float, y: float, words: str) -> None:
        """Write words from below to above around a point."""
        left, top, right, bottom = self.font.getbbox(words)
        tile = Image.new("RGB", (round(right - left) + 4, round(bottom - top) + 4), PAPER)
        ImageDraw.Draw(tile).text((2 - left, 2 - top), words, INK, self.font)
        turned = tile.rotate(90, expand=True)
        corner = (round(x * SCALE - turned.width / 2), round(y * SCALE - turned.height / 2))
        self.image.paste(turned, corner)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from low to high: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]


def draw_lines(panels: Sequence[LinePanel], columns: int = 2) -> Image.Image:
    """The panels in rows of `columns`."""
    columns = min(columns, len(panels))
    canvas = Canvas(columns * PANEL_WIDTH, math.ceil(len(panels) / columns) * PANEL_HEIGHT)
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        _line_panel(canvas, panel, column * PANEL_WIDTH, row * PANEL_HEIGHT)
    return canvas.image


def _line_panel(canvas: Canvas, panel: LinePanel, x0: float, y0: float) -> None:
    left, right = x0 + LEFT, x0 + PANEL_WIDTH - RIGHT
    names = [line.name for line in panel.lines] if len(panel.lines) > 1 else []
    top = y0 + TOP + math.ceil(len(names) / 2) * LEGEND_PITCH
    bottom = y0 + PANEL_HEIGHT - BOTTOM
    low, high = panel.x_range

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - low) / (high - low) * (right - left)
        return across, bottom - min(y / panel.y_top, 1) * (bottom - top)

    for value in ticks(0, panel.y_top):
        _, y = place(low, value)
        canvas.line([(left, y), (right, y)], FAINT)
        canvas.text(left - 6, y, f"{value:g}", "rm")
    canvas.upright(x0 + 14, (top + bottom) / 2, panel.y_label)
    _x_axis(canvas, place, panel.x_range, (left + right) / 2, panel.x_label)
    canvas.text(left, y0 + 10, panel.title)
    for at, words in panel.marks:
        x, _ = place(at, 0)
        canvas.line([(x, top), (x, bottom)], INK)
        canvas.text(x - 4, top + 2, words, "ra")
    for index, line in enumerate(panel.lines):
        colour = COLOURS[index % len(COLOURS)]
        points = [place(x, y) for x, y in zip(line.x, line.y, strict=True)]
        canvas.line(points, colour, 1.5)
    for index, name in enumerate(names):
        row, column = divmod(index, 2)
        x, y = left + column * (right - left) / 2, y0 + TOP + (row + 0.2) * LEGEND_PITCH
        canvas.line([(x, y), (x + 16, y)], COLOURS[index % len(COLOURS)], 2.5)
        canvas.text(x + 22, y, name, "lm")


def _x_axis(
    canvas: Canvas, place: Place, x_range: tuple[float, float], middle: float, label: str
) -> None:
    ends = [place(at, 0) for at in x_range]
    canvas.line(ends, INK)
    bottom = ends[0][1]
    for value in ticks(*x_range):
        x, _ = place(value, 0)
        canvas.line([(x, bottom), (x, bottom + 4)], INK)
        canvas.text(x, bottom + 8, f"{value:g}", "ma")
    canvas.text(middle, bottom + BOTTOM - 4, label, "md")


def draw_bars(panels: Sequence[BarPanel], columns: int = 2) -> Image.Image:
    """The panels in rows of `columns`, as high as the longest has bars."""
    columns = min(columns, len(panels))
    height = TOP + BOTTOM + BAR_PITCH * max(len(panel.names) for panel in panels)
    canvas = Canvas(columns * PANEL_WIDTH, math.ceil(len(panels) / columns) * height)
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        _bar_panel(canvas, panel, column * PANEL_WIDTH, row * height)
    return canvas.image


def _bar_panel(canvas: Canvas, panel: BarPanel, x0: float, y0: float) -> None:
    left, right = x0 + BAR_LEFT, x0 + PANEL_WIDTH - RIGHT - 48
    bottom = y0 + TOP + BAR_PITCH * len(panel.names)
    low, high = panel.x_range

    def place(x: float, _: float) -> tuple[float, float]:
        return left + (x - low) / (high - low) * (right - left), bottom

    canvas.text(left, y0 + 10, panel.title)
    base, _ = place(panel.base, 0)
    for index, (name, value) in enumerate(zip(panel.names, panel.values, strict=True)):
        y = y0 + TOP + (index + 0.5) * BAR_PITCH
        canvas.text(left - 6, y, name, "rm")
        if not math.isnan(value):
            end, _ = place(value, 0)
            canvas.box(min(base, end), y - BAR / 2, max(base, end), y + BAR / 2, COLOURS[0])
            canvas.text(max(base, end) + 5, y, f"{value:.3f}", "lm")
    canvas.line([(base, y0 + TOP), (base, bottom)], INK)
    _x_axis(canvas, place, panel.x_range, (left + right) / 2, panel.x_label)
