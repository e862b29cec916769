from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.training.chest import grey, slice_of
from training.renderings import (
    RENDERINGS,
    SHIFTS,
    coarser,
    contrast,
    crop,
    gamma,
    jpeg,
    pad,
    smaller,
    window,
    with_table,
)

EVERY = {**RENDERINGS, **SHIFTS}


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return slice_of(1)


@pytest.mark.parametrize("name", EVERY)
def test_each_gives_another_picture_and_leaves_the_source(name: str, image: Image.Image) -> None:
    before = image.tobytes()
    rendered = EVERY[name](image)
    assert rendered.mode == "RGB"
    assert (rendered.size, rendered.tobytes()) != (image.size, before)
    assert image.tobytes() == before


def test_no_two_renderings_are_the_same(image: Image.Image) -> None:
    assert len({rendering(image).tobytes() for rendering in EVERY.values()}) == len(EVERY)


def test_gamma_keeps_black_and_white_and_darkens_above_one() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis]).convert("RGB")
    darker, brighter = grey(gamma(ramp, 1.25))[0], grey(gamma(ramp, 0.8))[0]
    assert (darker[0], darker[-1], brighter[0], brighter[-1]) == (0, 255, 0, 255)
    assert darker[128] == round(255 * (128 / 255) ** 1.25)
    assert brighter[128] > 128 > darker[128]


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_contrast_scales_the_deviation_about_the_mean(factor: float) -> None:
    flat = np.random.default_rng(0).integers(90, 160, (50, 50)).astype(np.uint8)
    found = grey(contrast(Image.fromarray(flat).convert("RGB"), factor))
    assert found.mean() == pytest.approx(flat.mean(), abs=0.1)
    assert found.std() == pytest.approx(flat.std() * factor, rel=0.01)


def test_a_window_maps_its_ends_and_cuts_the_rest() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis]).convert("RGB")
    found = grey(window(ramp, 35, 215))[0]
    assert (found[20], found[35], found[125], found[215], found[240]) == (0, 0, 128, 255, 255)


def test_cropping_and_padding_change_the_sides_and_keep_the_middle(image: Image.Image) -> None:
    cut, added = crop(image, 0.1), pad(image, 0.25)
    assert cut.size == (image.width - 2 * 13, image.height - 2 * 10)
    assert np.array_equal(grey(cut), grey(image)[10:-10, 13:-13])
    assert added.size == (image.width + 2 * 32, image.height + 2 * 24)
    assert np.array_equal(grey(added)[24:-24, 32:-32], grey(image))
    assert grey(added)[:24].max() == 0


def test_a_smaller_picture_stays_acceptable() -> None:
    large, small = slice_of(1, 200, 240), slice_of(1, 96, 70)
    assert smaller(large, 0.5).size == (120, 100)
    assert min(smaller(small, 0.5).size) == 64


def test_detail_is_lost_at_the_old_size() -> None:
    def detail(image: Image.Image) -> float:
        return float(np.abs(np.diff(grey(image).astype(int))).mean())

    large = slice_of(1, 200, 240)
    coarse = coarser(large, 0.5)
    assert coarse.size == large.size
    assert detail(coarse) < 0.7 * detail(large)


def test_jpeg_changes_little(image: Image.Image) -> None:
    moved = np.abs(grey(jpeg(image, 80)).astype(int) - grey(image))
    assert 0 < moved.mean() < 5


def test_the_table_lies_below_the_picture_which_stays_as_it_is(image: Image.Image) -> None:
    found = grey(with_table(image))
    below = found[image.height :]
    assert np.array_equal(found[: image.height], grey(image))
    assert (below > 60).any(0).mean() > 0.7, "an arc from side to side"
    assert (below > 60).mean() < 0.5
    middle, edge = below[:, image.width // 2], below[:, image.width // 10]
    assert np.flatnonzero(middle)[0] > np.flatnonzero(edge)[0], "open to above"


Rendering = Callable[[Image.Image], Image.Image]


def test_shifted_is_several_steps_in_turn(image: Image.Image) -> None:
    assert SHIFTS["shifted"](image).tobytes() == gamma(pad(with_table(image), 0.06), 0.9).tobytes()
