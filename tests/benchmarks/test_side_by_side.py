import pytest

from benchmarks.outcome import Load, Outcome
from benchmarks.side_by_side import of_load, ratios, with_bound

ROUND = {
    "service.32.per_second": 60.0,
    "service.8.per_second": 50.0,
    "service.1.per_second": 30.0,
    "script.32.per_second": 12.0,
    "script.8.per_second": 10.0,
    "script.1.per_second": 20.0,
    "service.8.p99_ms": 200.0,
    "script.8.p99_ms": 1000.0,
}


def test_ratios_are_against_the_script_at_the_same_number_of_connections() -> None:
    assert ratios(ROUND) == {
        "ratio.script_32": 5.0,
        "ratio.script_8": 5.0,
        "ratio.script_1": 1.5,
        "ratio.p99_8": 0.2,
    }


def test_of_the_other_peers_the_fastest_counts() -> None:
    peers = {"litserve.32.per_second": 20.0, "kserve.32.per_second": 15.0}
    assert ratios({**ROUND, **peers})["ratio.best_peer_32"] == 3.0


def test_a_round_is_held_against_its_own_bound() -> None:
    figures = with_bound({**ROUND, "bound": 80.0})
    assert figures["ratio.bound"] == 0.75
    assert figures["ratio.headroom"] == pytest.approx(80 / 12)


def test_a_load_is_told_by_name() -> None:
    outcomes = tuple(Outcome(0.0, 0.0, 0.1 * turn, 200) for turn in range(1, 11))
    figures = of_load("x", Load((*outcomes, Outcome(0.0, 0.0, 0.5, 503)), 0.0, 0.15, 1.0, 0.11))
    assert figures["x.failures"] == 1
    assert figures["x.requests"] == 11
    assert figures["x.client_ms"] == pytest.approx(10)
    assert figures["x.per_second"] == pytest.approx(10)
