"""Pieces of a page in Markdown."""

import math
from collections.abc import Iterable, Iterator, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table and an empty one after it."""
    yield "| " + " | ".join(head) + " |"
    yield "| --- " * len(head) + "|"
    for row in rows:
        # A bar in a cell, such as one in a file's name, would begin another.
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
    yield ""


def percent(share: float) -> str:
    """A share from 0 to 1 in whole percent; `-` where there is none (NaN)."""
    return "-" if math.isnan(share) else f"{share:.0%}"
