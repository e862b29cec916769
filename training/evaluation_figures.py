"""The figures of an evaluation: counts and shares alone, never a picture of the data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from serving.card import CLASSES
from training.evaluation import Evaluation
from training.figures import INK, Canvas, Line, LinePanel, draw_lines
from training.measures import Ints, Reliability
from training.outcomes import AS_IS
from training.renderings import RENDERINGS, SHIFTS

RELIABILITY, CONFUSION, RISK = "reliability.png", "confusion.png", "risk_coverage.png"

CELL_WIDTH, CELL_HEIGHT = 104, 44
SHORT = ("adeno", "large cell", "squamous", "normal")
LEFT, TOP, BOTTOM = 104, 40, 34
# The colour of a row's whole share; less is nearer to white.
FULL = (0, 114, 178)


def write_figures(evaluation: Evaluation, folder: Path) -> None:
    """Write reliability.png, confusion.png and risk_coverage.png."""
    folder.mkdir(parents=True, exist_ok=True)
    _reliability(evaluation).save(folder / RELIABILITY, optimize=True)
    draw_confusion(evaluation.confusion).save(folder / CONFUSION, optimize=True)
    _risk(evaluation).save(folder / RISK, optimize=True)


def groups_of(evaluation: Evaluation) -> dict[str, Sequence[str]]:
    """The variants that are drawn together, by the name of their line."""
    found = evaluation.outcomes.variants()
    groups = {"as is": [AS_IS], "renderings": [*RENDERINGS], "shifts": [*SHIFTS]}
    return {name: part for name, part in groups.items() if {*part} & {*found}}


def _reliability(evaluation: Evaluation) -> Image.Image:
    lines = [Line("as sure as right", [0, 1], [0, 1])]
    for name, variants in groups_of(evaluation).items():
        found = evaluation.reliability(variants)
        lines.append(_points(f"{name}, ECE {found.ece:.3f}", found))
    panel = LinePanel(
        title="How often answers of a confidence are right",
        x_label="confidence",
        y_label="share right",
        lines=lines,
        x_range=(0, 1),
        y_top=1,
    )
    return draw_lines([panel])


def _points(name: str, found: Reliability) -> Line:
    """A line through the means of the bins that hold anything."""
    filled = found.count > 0
    return Line(name, found.confidence[filled].tolist(), found.right[filled].tolist())


def _risk(evaluation: Evaluation) -> Image.Image:
    lines = []
    for name, variants in groups_of(evaluation).items():
        curve = evaluation.risk_coverage(variants)
        lines.append(Line(name, curve.coverage.tolist(), (100 * curve.risk).tolist()))
    top = max((max(line.y, default=0) for line in lines), default=0)
    panel = LinePanel(
        title="Slices not called normal, the surest first",
        x_label="share answered",
        y_label="% wrong",
        lines=lines,
        x_range=(0, 1),
        y_top=max(top * 1.1, 1),
    )
    return draw_lines([panel])


def draw_confusion(table: Ints) -> Image.Image:
    """Counts [label,answer] as a grid, each row coloured by the shares of its label."""
    width = LEFT + CELL_WIDTH * len(CLASSES) + 14
    canvas = Canvas(width, TOP + CELL_HEIGHT * len(CLASSES) + BOTTOM)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    for row, name in enumerate(SHORT):
        y = TOP + (row + 0.5) * CELL_HEIGHT
        canvas.text(LEFT - 8, y, name, "rm")
        for column in range(len(SHORT)):
            x = LEFT + column * CELL_WIDTH
            share = float(shares[row, column])
            fill = _shade(share)
            canvas.box(
                x + 1, y - CELL_HEIGHT / 2 + 1, x + CELL_WIDTH - 1, y + CELL_HEIGHT / 2, fill
            )
            ink = "#ffffff" if share > 0.5 else INK
            canvas.text(x + CELL_WIDTH / 2, y, f"{table[row, column]}", "mm", ink)
    for column, name in enumerate(SHORT):
        bottom = TOP + CELL_HEIGHT * len(SHORT) + 8
        canvas.text(LEFT + (column + 0.5) * CELL_WIDTH, bottom, name, "ma")
    canvas.text(LEFT, 12, "Rows: the label. Columns: the answer.")
    return canvas.image


def _shade(share: float) -> str:
    parts = [round(255 + (full - 255) * share) for full in FULL]
    return "#" + "".join(f"{part:02x}" for part in parts)
