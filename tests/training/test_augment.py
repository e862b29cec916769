import pytest
import torch
from torch import Tensor

from training.augment import augment, placements


@pytest.fixture
def images() -> Tensor:
    return torch.rand(64, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_shape_and_range_stay(images: Tensor) -> None:
    torch.manual_seed(0)
    out = augment(images)
    assert out.shape == images.shape
    assert out.min() >= 0
    assert out.max() <= 1


def test_every_row_is_changed_in_its_own_way() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 16, 24).repeat(8, 1, 1, 1)
    out = augment(images).flatten(1)
    assert len(torch.unique(out, dim=0)) == 8


def test_the_seed_decides() -> None:
    torch.manual_seed(3)
    first = placements(5)
    torch.manual_seed(3)
    assert torch.equal(placements(5), first)


def test_about_half_of_the_rows_are_flipped_and_none_upside_down() -> None:
    torch.manual_seed(0)
    found = placements(400)
    flipped = (found[:, 0, 0] < 0).float().mean()
    assert 0.4 < flipped < 0.6
    assert (found[:, 1, 1] > 0).all()


def test_a_channel_that_repeats_the_others_still_does() -> None:
    torch.manual_seed(0)
    grey = torch.rand(4, 1, 16, 16).expand(4, 3, 16, 16)
    out = augment(grey)
    assert torch.equal(out[:, :1].expand_as(out), out)
