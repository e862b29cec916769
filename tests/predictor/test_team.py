import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import pytest
import torch

from predictor.team import Team

ALL = os.sched_getaffinity(0)
several_cpus = pytest.mark.skipif(len(ALL) < 2, reason="with one CPU there is nothing to spread")


def cpus_of_threads() -> dict[int, set[int]]:
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile: another test's
            found[int(thread.name)] = os.sched_getaffinity(int(thread.name))
    return found


def bound() -> list[set[int]]:
    """The CPUs of those threads of this process that may not go where they like."""
    return [cpus for cpus in cpus_of_threads().values() if cpus != ALL]


@several_cpus
def test_leader_and_helpers_have_a_cpu_each_while_they_work_together() -> None:
    team = Team(len(ALL))

    def work() -> None:
        team.gather()
        for _ in range(2):
            assert bound() == []
            with team.spread():
                assert len(os.sched_getaffinity(0)) == 1
                assert sorted(min(cpus) for cpus in bound()) == sorted(ALL)
        assert bound() == []

    with ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()


@several_cpus
def test_another_thread_can_end_it() -> None:
    team = Team(len(ALL))

    def work() -> None:
        team.gather()
        with team.spread():
            assert bound() != []
            other.submit(team.release).result()
            assert bound() == []

    with ThreadPoolExecutor(1) as executor, ThreadPoolExecutor(1) as other:
        other.submit(team.release).result()  # starts the thread, which would inherit one CPU
        executor.submit(work).result()


@several_cpus
def test_leaders_that_gather_at_once_take_no_helper_of_another() -> None:
    leaders = 4
    team, at_once = Team(len(ALL)), Barrier(leaders, timeout=30)

    def gather() -> None:
        at_once.wait()
        team.gather()
        at_once.wait()

    def spread() -> set[int]:
        with team.spread():
            return {thread for thread, cpus in cpus_of_threads().items() if cpus != ALL}

    executors = [ThreadPoolExecutor(1) for _ in range(leaders)]
    for gathered in [it.submit(gather) for it in executors]:
        gathered.result()
    teams = [it.submit(spread).result() for it in executors]
    assert [len(it) for it in teams] == [len(ALL)] * leaders
    assert len(set().union(*teams)) == leaders * len(ALL)
    for it in executors:
        it.shutdown()


@pytest.mark.parametrize("threads", [1, len(ALL) + 1])
def test_where_there_is_no_cpu_for_each_all_go_where_they_like(threads: int) -> None:
    team = Team(threads)

    def work() -> None:
        team.gather()
        assert torch.get_num_threads() == threads
        with team.spread():
            assert bound() == []

    with ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()


def test_a_thread_that_leads_nobody_goes_where_it_likes() -> None:
    with Team(len(ALL)).spread():
        assert bound() == []


def test_what_is_not_permitted_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[int] = []

    def refuse(thread: int, cpus: set[int]) -> None:
        refused.append(thread)
        raise PermissionError(thread, cpus)

    team = Team(len(ALL))

    def work() -> str:
        team.gather()
        monkeypatch.setattr(os, "sched_setaffinity", refuse)
        with team.spread():
            return "done"

    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(work).result() == "done"
    assert len(refused) == (2 * len(ALL) if len(ALL) > 1 else 0)
