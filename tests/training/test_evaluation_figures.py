from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from tests.training.answers import drawn, outcomes
from training.evaluation import Evaluation
from training.evaluation_figures import draw_confusion, groups_of, write_figures
from training.figures import COLOURS, SCALE
from training.outcomes import AS_IS

NAMES = ("confusion.png", "reliability.png", "risk_coverage.png")


def pixels_of(path: Path, colour: str) -> int:
    with Image.open(path) as image:
        return int((np.asarray(image) == ImageColor.getrgb(colour)).all(2).sum())


def test_three_figures_are_written(tmp_path: Path) -> None:
    write_figures(Evaluation(drawn([AS_IS, "jpeg_80", "table"]), 1), tmp_path / "new")
    assert tuple(sorted(path.name for path in (tmp_path / "new").iterdir())) == NAMES
    # The diagonal and one line for each group of variants; risk has no diagonal.
    assert all(pixels_of(tmp_path / "new" / NAMES[1], colour) for colour in COLOURS[:4])
    assert all(pixels_of(tmp_path / "new" / NAMES[2], colour) for colour in COLOURS[:3])
    assert not pixels_of(tmp_path / "new" / NAMES[2], COLOURS[3])


def test_only_groups_that_were_scored_are_drawn() -> None:
    assert [*groups_of(Evaluation(drawn([AS_IS, "table"]), 1))] == ["as is", "shifts"]


def test_pictures_that_are_all_called_normal_can_be_drawn(tmp_path: Path) -> None:
    write_figures(Evaluation(outcomes({AS_IS: [(3, 3, 2.0)]}), 1), tmp_path)
    assert len([*tmp_path.iterdir()]) == 3


def test_a_fuller_cell_is_darker_and_rows_are_labels() -> None:
    table = np.array([[8, 2, 0, 0], [0, 10, 0, 0], [0, 0, 0, 0], [0, 0, 5, 5]])
    image = np.asarray(draw_confusion(table).convert("L")).astype(int)
    rows, columns = 4, 4
    left, top, width, height = 104, 40, 104, 44

    def brightness(row: int, column: int) -> int:
        y, x = top + row * height + 5, left + column * width + 5
        return int(image[y * SCALE, x * SCALE])

    found = np.array(
        [[brightness(row, column) for column in range(columns)] for row in range(rows)]
    )
    assert found[1, 1] < found[0, 0] < found[3, 2] < found[0, 1] < found[0, 2] == 255
    assert found[3, 2] == found[3, 3]
    assert (found[2] == 255).all()
