"""How a batch is cut up for the cores of a machine."""

from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")

# Beyond this a pass gets slower by the row, as its tensors outgrow the caches: EfficientNet-Lite0
# in bf16 did 137 rows a second on one core by 8, 105 by 32.
MOST_ROWS = 8


def cut(rows: Sequence[Row], threads: int) -> list[Sequence[Row]]:
    """Parts of nearly equal length, in order, each to be run on one core.

    Fewer rows than threads stay together: all cores then work on one pass. So it is for one row.
    """
    if len(rows) < threads:
        return [rows]
    turns = -(-len(rows) // (MOST_ROWS * threads))
    count = min(turns * threads, len(rows))
    edges = [len(rows) * part // count for part in range(count + 1)]
    return [rows[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]
