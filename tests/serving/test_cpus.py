import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.cpus import NICER, available_cpus, give_way


@pytest.fixture(autouse=True)
def _eight_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("100000", 8),
        ("max", 8),
    ],
)
def test_a_quota_of_cgroup_v2_counts(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert available_cpus(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3), ("10000", 1)])
def test_a_quota_of_cgroup_v1_counts(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cpus(tmp_path) == expected


def test_the_affinity_counts_where_there_is_no_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert available_cpus(tmp_path) == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert available_cpus(tmp_path) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's own on Linux alone")
def test_a_thread_that_gives_way_is_nicer_than_the_main_one_and_no_nicer_for_its_parent() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    def of_a_child() -> int:
        with ThreadPoolExecutor(1, initializer=give_way) as child:
            return child.submit(niceness).result()

    main = os.getpriority(os.PRIO_PROCESS, os.getpid())
    with ThreadPoolExecutor(1, initializer=give_way) as parent:
        found = [parent.submit(niceness).result(), parent.submit(of_a_child).result()]
    assert found == [min(19, main + NICER)] * 2
    assert niceness() == main


def test_where_niceness_is_of_the_process_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("the event loop would be nicer"))
    give_way()


def test_where_niceness_is_not_permitted_the_threads_work_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    with ThreadPoolExecutor(1, initializer=give_way) as threads:
        assert threads.submit(int, "1").result() == 1
