"""When the requests of an open loop are due, in seconds after its start."""

import random


def even(rate: float, seconds: float) -> list[float]:
    """As a machine sends them: `rate` a second, equally far apart."""
    return [turn / rate for turn in range(round(rate * seconds))]


def independent(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """As many people send them who know nothing of each other: a Poisson process."""
    draw = random.Random(seed)
    arrivals: list[float] = []
    due = draw.expovariate(rate)
    while due < seconds:
        arrivals.append(due)
        due += draw.expovariate(rate)
    return arrivals
