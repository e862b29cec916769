import itertools
import statistics

import pytest

from benchmarks.arrivals import even, independent


def test_even_arrivals_are_equally_far_apart() -> None:
    assert even(4, 1.5) == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_independent_arrivals_have_their_rate_and_come_in_bursts() -> None:
    arrivals = independent(50, 100)
    assert len(arrivals) == pytest.approx(5000, rel=0.05)
    assert arrivals == sorted(arrivals)
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    # Of a Poisson process the gaps spread as far as they are long.
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.1)


def test_independent_arrivals_are_the_same_in_every_run() -> None:
    assert independent(10, 5) == independent(10, 5)
