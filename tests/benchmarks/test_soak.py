import pytest

from benchmarks.soak import Sample, growth


def samples(*megabytes: float, first_at: float = 300.0) -> list[Sample]:
    return [(first_at + 30 * turn, {"predictor": mb}) for turn, mb in enumerate(megabytes)]


def test_growth_is_from_after_the_first_minutes_to_the_end() -> None:
    filling = [(30.0, {"predictor": 10.0}), (299.0, {"predictor": 500.0})]
    measured = samples(99, 101, 100, 100, 500, 103, 101, 102, 102)
    assert growth([*filling, *measured]) == {"predictor": pytest.approx(0.02)}


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="too short"):
        growth(samples(*[100.0] * 7))
