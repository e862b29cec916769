"""How a batch is cut up for the cores of a machine."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

Row = TypeVar("Row")

# Beyond this a pass gets slower by the row, as its tensors outgrow the caches: EfficientNet-Lite0
# in bf16 did 137 rows a second on one core by 8, 105 by 32.
MOST_ROWS = 8


def rows_at_once(threads: int) -> int:
    """The largest batch that is one pass on each core: of a larger one some passes wait."""
    return MOST_ROWS * threads


def cut(rows: Sequence[Row], threads: int, together: bool) -> list[Sequence[Row]]:
    """Parts of nearly equal length, in order, each to be run on one core.

    With `together`, fewer rows than threads stay in one part, for all cores to work on at once.
    """
    if together and len(rows) < threads:
        return [rows]
    turns = -(-len(rows) // rows_at_once(threads))
    count = min(turns * threads, len(rows))
    edges = [len(rows) * part // count for part in range(count + 1)]
    return [rows[start:stop] for start, stop in pairwise(edges)]
