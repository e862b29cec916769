"""Whether all threads work on a single row, or one alone: what was faster of late.

That depends on the network, the machine and its neighbours: threads that wait for one another wait
for whoever has a core. What was measured while this process or another started would hold for
ever, so it is measured on.
"""

from statistics import median

# After so many single rows is decided anew. The last few of them go the other way: enough for a
# median, as one row is easily held up, and fewer than one in a hundred.
ROUND = 512
TRIED = 5
# The first round is short, for it starts with what warm-up found.
FIRST_ROUND = 32
# Fewer of either way decide nothing: only rows that ran alone are timed.
ENOUGH = 3


class SingleRows:
    """Starts with all threads or one alone, and goes on with what was faster in each round."""

    def __init__(self, *, together: bool = True) -> None:
        self.together = together
        self._begun = ROUND - FIRST_ROUND
        self._seconds: dict[bool, list[float]] = {True: [], False: []}

    def next(self) -> bool:
        """Whether all threads should work on the next row."""
        if self._begun == ROUND:
            self._decide()
        self._begun += 1
        return self.together if self._begun <= ROUND - TRIED else not self.together

    def took(self, together: bool, seconds: float) -> None:
        """A row took so long that way."""
        self._seconds[together].append(seconds)

    def _decide(self) -> None:
        on_all, on_one = self._seconds[True], self._seconds[False]
        if min(len(on_all), len(on_one)) >= ENOUGH:
            self.together = median(on_all) < median(on_one)
        self._begun = 0
        self._seconds = {True: [], False: []}
