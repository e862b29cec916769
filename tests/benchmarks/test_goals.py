import dataclasses

import pytest

from benchmarks.goals import GOALS, least, measured_goals, most
from benchmarks.spread import Spread, spread, spreads


def of(**values: float) -> dict[str, Spread]:
    return {name.replace("__", "."): Spread(value, value, value) for name, value in values.items()}


def test_a_goal_is_met_at_its_limit() -> None:
    assert least("m", "f", 0.7, "{:.2f}").met(of(f=0.7))
    assert not least("m", "f", 0.7, "{:.2f}").met(of(f=0.69))
    assert most("m", "f", 3.0, "{:.1f}").met(of(f=3.0))
    assert not most("m", "f", 3.0, "{:.1f}").met(of(f=3.1))


@pytest.mark.parametrize(("headroom", "limit"), [(4.5, 3.0), (9.0, 6.0), (20.0, 6.0)])
def test_where_the_machine_cannot_do_nine_times_the_script_the_goal_shrinks(
    headroom: float, limit: float
) -> None:
    goal = least("m", "f", 6.0, "{:.1f}x", by_headroom=True)
    figures = of(f=limit, ratio__headroom=headroom)
    assert goal.bound_here(figures) == pytest.approx(limit)
    assert goal.met(figures)
    assert not goal.met(of(f=limit - 0.01, ratio__headroom=headroom))


def test_a_row_says_the_goal_of_this_machine_and_the_full_one() -> None:
    goal = least("m", "f", 6.0, "{:.1f}x", by_headroom=True)
    row = goal.row({"f": Spread(2.0, 1.5, 2.5), **of(ratio__headroom=4.5)})
    assert row == ("m", "≥ 3.0x (6.0x where bound ÷ script ≥ 9)", "2.0x [1.5x, 2.5x]", "**no**")


def test_goals_without_a_figure_are_left_out() -> None:
    assert [goal.figure for goal in measured_goals(of(one__added_ms=1.0))] == ["one.added_ms"]
    assert len({goal.figure for goal in GOALS}) == len(GOALS)


def test_a_spread_is_of_the_rounds_that_have_the_figure() -> None:
    figures = spreads([{"a": 1.0, "b": 5.0}, {"a": 3.0}, {"a": 2.0}])
    assert dataclasses.astuple(figures["a"]) == (2.0, 1.0, 3.0)
    assert figures["b"] == spread([5.0])
    assert figures["b"].text("{:.0f} s") == "5 s"
