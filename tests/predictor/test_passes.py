import pytest

from predictor.passes import MOST_ROWS, cut


@pytest.mark.parametrize(
    ("rows", "threads", "together", "lengths"),
    [
        (1, 1, True, [1]),
        (1, 2, True, [1]),
        (1, 2, False, [1]),
        (2, 2, True, [1, 1]),
        (3, 4, True, [3]),
        (3, 4, False, [1, 1, 1]),
        (8, 1, True, [8]),
        (9, 1, True, [4, 5]),
        (9, 2, True, [4, 5]),
        (20, 2, True, [5, 5, 5, 5]),
        (32, 2, True, [8, 8, 8, 8]),
    ],
)
def test_a_batch_is_cut_evenly_for_the_cores(
    rows: int, threads: int, together: bool, lengths: list[int]
) -> None:
    parts = cut(list(range(rows)), threads, together)
    assert [len(part) for part in parts] == lengths
    assert [row for part in parts for row in part] == list(range(rows))


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_no_part_is_too_long_and_none_is_empty(threads: int) -> None:
    for rows in range(1, 100):
        lengths = [len(part) for part in cut(list(range(rows)), threads, together=False)]
        assert 1 <= min(lengths) <= max(lengths) <= MOST_ROWS
        assert max(lengths) - min(lengths) <= 1
