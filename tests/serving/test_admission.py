import math

import pytest

from serving.admission import BUSY_ROWS, WINDOW_S, Admission, Rate
from serving.errors import Overloaded


def measured(rows_per_second: float, seconds: int = 4) -> Rate:
    """The rate of a service that did so many rows a second up to the time `seconds`."""
    rate = Rate()
    rate.finished(1, 100, 0.0)
    for second in range(1, seconds + 1):
        rate.finished(round(rows_per_second), 100, float(second))
    return rate


class Door:
    def __init__(self, most: int = 256, rate: Rate | None = None) -> None:
        self.shed: list[str] = []
        self.admission = Admission(most, self.shed.append, rate or Rate())

    def refuses(self, inside: int, rows: int = 1, deadline: float = math.inf) -> Overloaded:
        with pytest.raises(Overloaded) as refused:
            self.lets_in(inside, rows, deadline)
        return refused.value

    def lets_in(self, inside: int, rows: int = 1, deadline: float = math.inf) -> None:
        self.admission.require(inside, rows, deadline, now=4.0)


def test_rows_that_fit_are_let_in_and_more_are_not() -> None:
    door = Door(most=10)
    door.lets_in(7, 3)
    assert "at most 10 are taken" in door.refuses(8, 3).detail
    assert door.shed == ["queue_full"]


def test_retry_after_is_how_long_what_is_inside_will_take() -> None:
    assert Door(most=10, rate=measured(4)).refuses(10).retry_after_s == pytest.approx(2.5)


def test_nobody_is_sent_away_for_longer_than_a_rate_is_true() -> None:
    assert Door(most=100, rate=measured(1)).refuses(100).retry_after_s == WINDOW_S


def test_where_nothing_was_measured_another_try_is_told_after_a_second() -> None:
    assert Door(most=10).refuses(10).retry_after_s == 1.0


@pytest.mark.parametrize("rows", [1, 20])
def test_a_deadline_that_cannot_be_met_at_the_rate_of_late_is_refused_at_once(rows: int) -> None:
    door = Door(rate=measured(10))
    needed = (100 + rows) / 10
    door.lets_in(100, rows, deadline=4 + needed + 0.1)
    error = door.refuses(100, rows, deadline=4 + needed - 0.1)
    assert f"would take {needed:.1f} s" in error.detail
    assert error.retry_after_s == pytest.approx(WINDOW_S)
    assert door.shed == ["no_time"]


def test_with_little_inside_nobody_is_refused_for_want_of_time() -> None:
    Door(rate=measured(1)).lets_in(BUSY_ROWS - 1, deadline=4.001)


def test_without_a_rate_nobody_is_refused_for_want_of_time() -> None:
    Door().lets_in(200, deadline=4.001)


def test_a_rate_is_measured_only_while_there_is_enough_to_do() -> None:
    rate = Rate()
    for second in range(60):
        rate.finished(1, BUSY_ROWS - 1, float(second))
    assert rate.seconds_for(10, 59.0) is None
    # An idle hour between two busy stretches does not count as time of work.
    rate.finished(1, BUSY_ROWS, 3600.0)
    for second in range(1, 4):
        rate.finished(5, BUSY_ROWS, 3600.0 + second)
    assert rate.seconds_for(10, 3603.0) == pytest.approx(2.0)


def test_a_rate_follows_a_change_and_old_work_fades() -> None:
    rate = measured(100, seconds=60)
    for second in range(61, 91):
        rate.finished(10, 100, float(second))
    assert rate.seconds_for(10, 90.0) == pytest.approx(1.0, rel=0.5)


def test_a_rate_that_nothing_confirms_is_forgotten() -> None:
    # Otherwise one that was measured too low would refuse the very work that could correct it.
    rate = measured(1)
    assert rate.seconds_for(1, 14.0) is not None
    assert rate.seconds_for(1, 14.5) is None


def test_what_fails_does_not_count() -> None:
    rate = measured(10)
    rate.failed()
    rate.finished(1, 100, 9.0)
    assert rate.seconds_for(10, 9.0) == pytest.approx(1.0)


def test_a_rate_that_was_forgotten_does_not_come_back() -> None:
    rate = measured(1)
    rate.finished(1, 0, 4.5)
    rate.finished(1, 100, 3600.0)
    rate.finished(100, 100, 3601.0)
    assert rate.seconds_for(100, 3601.0) == pytest.approx(1.0)
