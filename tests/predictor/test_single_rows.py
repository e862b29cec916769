from collections.abc import Callable

import pytest

from predictor.single_rows import ENOUGH, FIRST_ROUND, ROUND, TRIED, SingleRows


def run(rows: SingleRows, count: int, seconds: Callable[[bool], float]) -> list[bool]:
    chosen: list[bool] = []
    for _ in range(count):
        together = rows.next()
        rows.took(together, seconds(together))
        chosen.append(together)
    return chosen


def test_the_faster_way_has_all_rows_but_the_last_few_of_a_round() -> None:
    rows = SingleRows(together=False)
    chosen = run(rows, FIRST_ROUND + ROUND, lambda together: 2.0 if together else 1.0)
    for length in (FIRST_ROUND, ROUND):
        assert chosen[:length] == [False] * (length - TRIED) + [True] * TRIED
        del chosen[:length]


def test_what_warm_up_chose_wrongly_is_found_out_soon() -> None:
    rows = SingleRows(together=False)
    chosen = run(rows, FIRST_ROUND + 1, lambda together: 11.0 if together else 17.0)
    assert chosen[0] is False
    assert chosen[-1] is True


def test_rows_that_were_held_up_now_and_then_change_nothing() -> None:
    rows, count = SingleRows(together=True), 0

    def held_up(together: bool) -> float:
        nonlocal count
        count += 1
        return 60.0 if count % 3 == 0 else 10.0 if together else 17.0

    run(rows, 3 * ROUND, held_up)
    assert rows.together


def test_a_neighbour_that_stays_is_given_way_to() -> None:
    rows = SingleRows(together=True)
    run(rows, FIRST_ROUND, lambda together: 10.0 if together else 17.0)
    run(rows, ROUND + 1, lambda together: 60.0 if together else 27.0)
    assert not rows.together


@pytest.mark.parametrize(("timed", "changes"), [(ENOUGH - 1, False), (ENOUGH, True)])
def test_few_rows_that_ran_alone_decide_nothing(timed: int, changes: bool) -> None:
    rows = SingleRows(together=True)
    for count in range(FIRST_ROUND + 1):
        together = rows.next()
        if together or count >= FIRST_ROUND - timed:
            rows.took(together, 2.0 if together else 1.0)
    assert rows.together is not changes


def test_rows_that_were_begun_and_never_done_decide_nothing() -> None:
    rows = SingleRows(together=True)
    for _ in range(ROUND + 1):
        rows.next()
    assert rows.together
