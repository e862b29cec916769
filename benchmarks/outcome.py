"""What came of a load: the times of every answer, and the figures that follow from them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Outcome:
    """One request: when it was due, sent and answered, in seconds of one clock, and the status."""

    due: float
    sent: float
    answered: float
    status: int

    @property
    def ms(self) -> float:
        return (self.answered - self.due) * 1000


@dataclass(frozen=True)
class Load:
    """All requests due from `start` to `end`; `client_cpu_s` is what sending them cost.

    Until `full` the queues are only filling: that is left out of the rate.
    """

    outcomes: tuple[Outcome, ...]
    start: float
    full: float
    end: float
    client_cpu_s: float

    @cached_property
    def good_ms(self) -> list[float]:
        """Milliseconds of each 200 answer, ascending."""
        return self.ms_of(200)

    def ms_of(self, status: int) -> list[float]:
        return sorted(outcome.ms for outcome in self.outcomes if outcome.status == status)

    @property
    def per_second(self) -> float:
        """200 answers a second from `full` to the end.

        Counted from the last answer before either: answers come in batches, and a window that cuts
        one would count a part of it.
        """
        times = sorted(it.answered for it in self.outcomes if it.status == 200)
        before = [time for time in times if time <= self.full]
        until = [time for time in times if time <= self.end]
        if not before or until[-1] == before[-1]:
            return len(until) / (self.end - self.start)
        return (len(until) - len(before)) / (until[-1] - before[-1])

    @property
    def p50_ms(self) -> float:
        return percentile(self.good_ms, 50)

    @property
    def p99_ms(self) -> float:
        return percentile(self.good_ms, 99)

    @property
    def statuses(self) -> dict[int, int]:
        """How many answers had each status; 0 stands for none."""
        return dict(Counter(outcome.status for outcome in self.outcomes))

    @property
    def failures(self) -> int:
        return len(self.outcomes) - len(self.good_ms)

    @property
    def wall_s(self) -> float:
        """Until the last answer."""
        return max(outcome.answered for outcome in self.outcomes) - self.start

    @property
    def client_ms(self) -> float:
        """Milliseconds of CPU time that each request cost its sender."""
        return self.client_cpu_s * 1000 / len(self.outcomes)

    @property
    def late_p99_ms(self) -> float:
        """How long after they were due requests were sent."""
        return percentile(sorted((it.sent - it.due) * 1000 for it in self.outcomes), 99)


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The least value that so many percent do not exceed; NaN of nothing."""
    if not ascending:
        return float("nan")
    return ascending[max(0, -int(-percent * len(ascending) // 100) - 1)]
