import pytest

from serving.byte_budget import ByteBudget
from serving.errors import Overloaded


def test_bytes_are_taken_up_to_the_budget_and_given_back() -> None:
    shed: list[str] = []
    budget = ByteBudget(100, shed.append)
    budget.take(60)
    budget.take(40)
    with pytest.raises(Overloaded, match="bodies of 100 bytes are held and 1 more"):
        budget.take(1)
    assert (budget.held, shed) == (100, ["bytes"])
    budget.give_back(60)
    budget.take(50)
    assert budget.held == 90


def test_asking_takes_nothing() -> None:
    budget = ByteBudget(100, print)
    budget.require(100)
    with pytest.raises(Overloaded) as refused:
        budget.require(101)
    assert refused.value.retry_after_s == 1.0
    assert budget.held == 0
