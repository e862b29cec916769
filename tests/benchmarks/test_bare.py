import time

import pytest

from benchmarks.bare import bound, ms_an_image


def test_the_bound_is_what_all_cores_do_with_nothing_but_the_work() -> None:
    assert bound(2, prepare_cpu_ms=5.0, forward_cpu_ms=15.0) == 100.0


def test_times_are_shared_by_all_images_of_all_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that each repetition of the work moves on by 0.4 s, and its CPU time by 0.8 s."""
    times = 0

    def work() -> None:
        nonlocal times
        times += 1

    monkeypatch.setattr(time, "perf_counter", lambda: times * 0.4)
    monkeypatch.setattr(time, "process_time", lambda: times * 0.8)
    cpu_ms, wall_ms = ms_an_image(work, images=4, seconds=2.0)
    # Once more than counted: the first is a warm-up.
    assert times == 6
    assert cpu_ms == pytest.approx(200.0)
    assert wall_ms == pytest.approx(100.0)
