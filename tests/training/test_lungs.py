import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.training.chest import grey, slice_of
from training.lungs import between_air_and_tissue, find_lungs, hull, inside_frame, regions


def covered(mask: Image.Image | None, x: float, y: float) -> bool:
    """Whether the mask marks a place, from the middle in halves of the shorter side."""
    assert mask is not None
    half = min(mask.size) / 2
    at = round(mask.width / 2 + x * half), round(mask.height / 2 + y * half)
    return mask.getpixel(at) == 255


@pytest.mark.parametrize("size", [(96, 128), (300, 360)])
@pytest.mark.parametrize("seed", range(4))
def test_both_lungs_are_found_and_spine_and_air_are_not(seed: int, size: tuple[int, int]) -> None:
    mask = find_lungs(slice_of(seed, *size))
    assert covered(mask, -0.42, 0)
    assert covered(mask, 0.45, 0.2)
    assert not covered(mask, 0, 0.42), "the spine"
    assert not covered(mask, 0, 0.9), "the air around"


def test_together_the_mediastinum_is_covered_too() -> None:
    image = slice_of(2)
    assert not covered(find_lungs(image), 0, -0.05)
    assert covered(find_lungs(image, together=True), 0, -0.05)


def test_a_frame_around_the_picture_does_not_hide_the_lungs() -> None:
    framed = ImageOps.expand(slice_of(1, 200, 240), 12, (255, 255, 255))
    mask = find_lungs(framed)
    assert covered(mask, -0.40, 0)
    assert not covered(mask, 0, 0.8), "the air within the frame"
    assert inside_frame(grey(framed)) == (12, 12, 252, 212)


def test_a_picture_without_lungs_has_none() -> None:
    disc = Image.new("RGB", (100, 100))
    assert find_lungs(disc) is None
    disc.paste((130,) * 3, (20, 20, 80, 80))
    assert find_lungs(disc) is None, "air around a body is no lung"
    disc.paste((0,) * 3, (47, 47, 54, 54))
    assert find_lungs(disc) is None, "nor is a windpipe"
    disc.paste((0,) * 3, (30, 30, 70, 70))
    assert find_lungs(disc) is not None


def test_the_threshold_lies_between_two_heaps() -> None:
    heaps = np.array([10] * 50 + [12] * 50 + [120] * 30 + [130] * 30, np.uint8)
    assert 12 <= between_air_and_tissue(heaps) < 120


def test_regions_are_what_hangs_together_by_edges() -> None:
    rows = ["##..#", ".#.##", ".#.#.", "...#.", "#.###"]
    mask = np.array([[sign == "#" for sign in row] for row in rows])
    numbers = regions(mask)
    assert (numbers > 0).tolist() == mask.tolist()
    assert len(np.unique(numbers)) == 1 + 3
    assert numbers[0, 0] == numbers[2, 1]
    assert numbers[0, 4] == numbers[4, 2]


def test_a_spiral_is_one_region() -> None:
    rows = ["#######", "......#", "#####.#", "#...#.#", "#.###.#", "#.....#", "#######"]
    mask = np.array([[sign == "#" for sign in row] for row in rows])
    assert len(np.unique(regions(mask))) == 2


def test_no_region_in_an_empty_mask() -> None:
    assert not regions(np.zeros((3, 4), bool)).any()


def test_the_hull_has_the_corners_alone() -> None:
    square = np.array([(x, y) for x in range(5) for y in range(4)])
    assert sorted(hull(square)) == [(0, 0), (0, 3), (4, 0), (4, 3)]
    assert hull(np.array([(2, 3)])) == [(2, 3)]
