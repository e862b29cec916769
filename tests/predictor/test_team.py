import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from predictor.team import Team

ALL = os.sched_getaffinity(0)
several_cpus = pytest.mark.skipif(len(ALL) < 2, reason="one CPU has no room for two shares")


def threads() -> set[int]:
    return {int(it.name) for it in Path("/proc/self/task").iterdir()}


def gathered(team: Team) -> int:
    """The helper of the calling thread, which leads from now on."""
    torch.set_num_threads(2)  # the first time it starts a thread that is not OpenMP's
    before = threads()
    team.gather()
    (helper,) = threads() - before
    return helper


@several_cpus
def test_leader_and_helper_are_on_cpus_of_their_own_while_they_work_together() -> None:
    team = Team(2)

    def work() -> None:
        helper = gathered(team)
        for _ in range(2):
            assert os.sched_getaffinity(0) == os.sched_getaffinity(helper) == ALL
            with team.apart():
                leaders, helpers = os.sched_getaffinity(0), os.sched_getaffinity(helper)
                assert leaders
                assert helpers
                assert not leaders & helpers
                assert leaders | helpers == ALL
        assert os.sched_getaffinity(0) == os.sched_getaffinity(helper) == ALL

    with ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()


@several_cpus
def test_another_thread_can_end_it() -> None:
    team = Team(2)

    def work() -> None:
        helper = gathered(team)
        with team.apart():
            with ThreadPoolExecutor(1) as other:
                other.submit(team.disband).result()
            assert os.sched_getaffinity(0) == os.sched_getaffinity(helper) == ALL

    with ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()
    team.disband()  # nobody is apart any more


@several_cpus
def test_each_leader_has_a_helper_of_its_own() -> None:
    team = Team(2)
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        helpers = [it.submit(gathered, team).result() for it in (first, second)]
    assert len(set(helpers)) == 2


@pytest.mark.parametrize("count", [1, len(ALL) + 1])
def test_where_there_is_no_share_for_each_all_go_where_they_like(count: int) -> None:
    team = Team(count)

    def work() -> None:
        team.gather()
        with team.apart():
            assert os.sched_getaffinity(0) == ALL

    with ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()


def test_a_thread_that_leads_nobody_goes_where_it_likes() -> None:
    with Team(2).apart():
        assert os.sched_getaffinity(0) == ALL


def test_what_is_not_permitted_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: int, cpus: set[int]) -> None:
        raise PermissionError(thread, cpus)

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    team = Team(2)

    def work() -> str:
        team.gather()
        with team.apart():
            return "done"

    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(work).result() == "done"
