import math

import pytest

from benchmarks.outcome import Load, Outcome, percentile


def load(*answers: tuple[float, int], start: float = 0.0, end: float = 10.0) -> Load:
    """Requests due at the start, with these times of their answers and statuses."""
    outcomes = [Outcome(start, start, answered, status) for answered, status in answers]
    return Load(tuple(outcomes), start, start + 1.5, end, 0.5)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (50, 2.0), (75, 3.0), (76, 4.0), (99, 4.0), (100, 4.0)]
)
def test_a_percentile_is_the_least_value_that_so_many_percent_do_not_exceed(
    percent: float, expected: float
) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == expected


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 99))


def test_a_rate_counts_whole_batches_of_answers() -> None:
    """Four answers every two seconds are two a second, however the window cuts the batches."""
    batches = [(float(second), 200) for second in (1, 3, 5, 7, 9, 11) for _ in range(4)]
    assert load(*batches).per_second == pytest.approx(2.0)


def test_a_rate_leaves_out_the_time_in_which_the_queues_fill() -> None:
    steady = [(2.5 + turn / 2, 200) for turn in range(16)]
    assert load((1.5, 200), *steady).per_second == pytest.approx(16 / 8.5)


def test_a_rate_leaves_out_refusals() -> None:
    answers = [(time / 2, 200 if time % 2 else 429) for time in range(1, 21)]
    assert load(*answers).per_second == pytest.approx(1.0)


def test_a_rate_of_answers_that_all_came_at_once_is_theirs_over_the_whole_time() -> None:
    assert load((5.0, 200), (5.0, 200)).per_second == pytest.approx(0.2)


def test_an_answer_counts_from_when_its_request_was_due() -> None:
    late = Outcome(due=1.0, sent=3.0, answered=4.0, status=200)
    counted = Load((late,), 0.0, 1.5, 10.0, 0.0)
    assert counted.p50_ms == 3000
    assert counted.late_p99_ms == 2000


def test_only_200_counts_as_an_answer() -> None:
    counted = load((1.0, 200), (2.0, 429), (3.0, 429), (4.0, 0))
    assert counted.failures == 3
    assert counted.statuses == {200: 1, 429: 2, 0: 1}
    assert counted.ms_of(429) == [2000, 3000]
    assert counted.p99_ms == 1000


def test_the_cost_of_the_client_is_shared_by_all_requests() -> None:
    assert load((1.0, 200), (2.0, 429)).client_ms == 250
