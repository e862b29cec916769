from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training import augment as changes
from training.augment import augment, placements, some


@pytest.fixture
def images() -> Tensor:
    """Rows that are dark on the left and bright on the right, each of another brightness."""
    ramp = torch.linspace(0.05, 0.6, 32).expand(16, 1, 32, 32)
    return ramp * torch.linspace(0.5, 1.5, 16)[:, None, None, None]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_the_side_is_the_one_asked_for_and_the_range_stays(images: Tensor) -> None:
    out = augment(images, 24)
    assert out.shape == (16, 1, 24, 24)
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.isfinite(out).all()


def test_every_row_is_changed_in_its_own_way(images: Tensor) -> None:
    out = augment(images[:1].repeat(8, 1, 1, 1), 32).flatten(1)
    assert len(torch.unique(out, dim=0)) == 8


def test_the_seed_decides(images: Tensor) -> None:
    first = augment(images, 32)
    torch.manual_seed(0)
    assert torch.equal(augment(images, 32), first)


def test_about_half_of_the_rows_are_flipped_and_none_upside_down() -> None:
    found = placements(400)
    flipped = (found[:, 0, 0] < 0).float().mean()
    assert 0.4 < flipped < 0.6
    assert (found[:, 1, 1] > 0).all()


def test_the_two_sides_are_stretched_apart_and_together() -> None:
    found = placements(400)
    across, down = found[:, 0, :2].norm(dim=1), found[:, 1, :2].norm(dim=1)
    assert (across / down).log().std() > 0.05
    assert (across * down).log().std() > 0.1


def test_some_changes_the_share_that_it_is_told() -> None:
    zeros = torch.zeros(1000, 1, 2, 2)
    changed = some(0.3, lambda rows: rows + 1, zeros)
    assert 0.25 < changed[:, 0, 0, 0].mean() < 0.35
    assert zeros.max() == 0
    assert some(0.0, lambda rows: rows + 1, zeros) is zeros


def test_grey_profiles_are_exchanged_and_the_order_of_greys_stays(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "uniform", lambda count, low, high: torch.ones(count, 1, 1))
    out = changes.exchange_greys(images)
    # Row 1 gets the profile of row 0, the darkest; row 0 that of the last one, the brightest.
    torch.testing.assert_close(out[1], images[0], atol=0.03, rtol=0)
    torch.testing.assert_close(out[0], images[15], atol=0.09, rtol=0)
    assert (out[:, :, :, 1:] >= out[:, :, :, :-1] - 1e-4).all()


def test_regrading_keeps_the_order_of_greys(images: Tensor) -> None:
    out = changes.regrade(images)
    assert (out[:, :, :, 1:] >= out[:, :, :, :-1] - 1e-4).all()
    assert (out - images).abs().amax((1, 2, 3)).min() > 0


@pytest.mark.parametrize(
    ("change", "least", "most"),
    [
        (changes.border, 0.0, 0.6),
        (changes.add_table, 0.0, 0.2),
        (changes.scribble, 0.0, 0.2),
        (changes.cover, 0.005, 0.2),
    ],
)
def test_what_is_drawn_covers_a_part_with_one_grey(
    change: Callable[[Tensor], Tensor], least: float, most: float, images: Tensor
) -> None:
    out = change(images)
    changed = out != images
    shares = changed.float().mean((1, 2, 3))
    assert shares.max() > 0
    assert shares.min() >= least
    assert shares.mean() < most
    for row, mask in zip(out, changed, strict=True):
        assert len(row[mask].unique()) <= 1


def test_a_table_lies_in_the_lower_half() -> None:
    rows = torch.full((64, 1, 32, 32), 2.0)
    drawn = (changes.add_table(rows) != 2).any(0)[0].any(1)
    assert drawn[20:].any()
    assert not drawn[:10].any()


def test_blur_takes_detail_and_leaves_the_mean() -> None:
    board = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).float()
    out = changes.blur(board.expand(4, 1, 32, 32))
    assert out.std() < 0.5 * board.std()
    torch.testing.assert_close(out.mean(), board.mean(), atol=0.02, rtol=0)


def test_noise_is_of_another_strength_in_every_row() -> None:
    spreads = changes.add_noise(torch.full((64, 1, 32, 32), 0.5)).std((1, 2, 3))
    assert spreads.min() < 0.01
    assert 0.03 < spreads.max() < 0.05
