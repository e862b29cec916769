"""A figure over the rounds of one run."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of a figure's values."""

    median: float
    low: float
    high: float

    def text(self, form: str) -> str:
        """The median, and in brackets what it lies between where there were several rounds."""
        middle = form.format(self.median)
        if self.low == self.high:
            return middle
        return f"{middle} [{form.format(self.low)}, {form.format(self.high)}]"


def spreads(rounds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Each figure over all rounds that have it. A ratio is one of a round, never of medians."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    return {name: spread([it[name] for it in rounds if name in it]) for name in names}


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
