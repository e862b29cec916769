import math

import pytest
import torch
from torch.nn import functional

from predictor.distance import NEIGHBOURS, bank_of, distances, leave_one_out


def random_features(count: int, seed: int = 0, values: int = 16) -> torch.Tensor:
    return torch.randn(count, values, generator=torch.Generator().manual_seed(seed))


def test_it_is_one_less_the_mean_cosine_to_the_five_nearest() -> None:
    features, training = random_features(7), random_features(40, seed=1)
    cosines = functional.cosine_similarity(features[:, None], training[None], dim=2)
    expected = 1 - cosines.sort(descending=True).values[:, :5].mean(1)
    assert NEIGHBOURS == 5
    torch.testing.assert_close(distances(features, bank_of(training)), expected, atol=1e-3, rtol=0)


def test_the_length_of_features_does_not_matter() -> None:
    features, bank = random_features(3), bank_of(random_features(9, seed=1))
    torch.testing.assert_close(distances(features * 50, bank), distances(features, bank))


def test_a_bank_is_of_length_one_and_half_as_large() -> None:
    bank = bank_of(random_features(9))
    assert bank.dtype == torch.float16
    torch.testing.assert_close(bank.float().norm(dim=1), torch.ones(9), atol=1e-3, rtol=0)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_features_of_any_precision_are_measured_in_fp32(precision: torch.dtype) -> None:
    features, bank = random_features(5, values=1280), bank_of(random_features(60, 1, values=1280))
    found = distances(features.to(precision), bank)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, distances(features, bank), atol=2e-3, rtol=0)


def test_a_bank_smaller_than_the_neighbours_is_asked_whole() -> None:
    features, training = random_features(2), random_features(3, seed=1)
    cosines = functional.cosine_similarity(features[:, None], training[None], dim=2)
    found = distances(features, bank_of(training))
    torch.testing.assert_close(found, 1 - cosines.mean(1), atol=1e-3, rtol=0)


def test_features_of_the_opposite_direction_are_two_away() -> None:
    same = torch.ones(1, 4)
    bank = bank_of(same.repeat(6, 1))
    assert distances(same, bank).item() == pytest.approx(0, abs=1e-3)
    assert distances(-same, bank).item() == pytest.approx(2, abs=1e-3)


def test_a_row_left_out_is_measured_against_the_others() -> None:
    bank = bank_of(random_features(20))
    found = leave_one_out(bank)
    for row in range(20):
        others = torch.cat((bank[:row], bank[row + 1 :]))
        assert found[row].item() == pytest.approx(distances(bank[row : row + 1], others).item())


def test_rows_of_one_group_are_not_asked_for_one_another() -> None:
    bank = bank_of(random_features(18))
    groups = torch.arange(18) % 3
    found = leave_one_out(bank, groups)
    for row in range(18):
        others = bank[groups != groups[row]]
        assert found[row].item() == pytest.approx(distances(bank[row : row + 1], others).item())
    assert (found >= leave_one_out(bank)).all()


def test_a_row_with_too_few_to_ask_asks_those_and_one_with_none_has_no_distance() -> None:
    bank = bank_of(random_features(4))
    two = leave_one_out(bank, torch.tensor([0, 0, 1, 1]))
    assert two[0].item() == pytest.approx(distances(bank[:1], bank[2:]).item())
    assert all(map(math.isnan, leave_one_out(bank, torch.zeros(4)).tolist()))
