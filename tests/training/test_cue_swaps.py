from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.training.chest import bright, grey, slice_of
from training.cue_swaps import (
    CUE_SWAPS,
    body_box,
    border,
    choose_donors,
    contrast,
    everything,
    profile,
    rendering,
    size,
    stretch,
)
from training.lungs import between_air_and_tissue
from training.pictures import NORMAL, Picture

OWN = slice_of(1, 120, 180)
DONOR = bright(ImageOps.expand(slice_of(2, 200, 200), 40))


def tissue(image: Image.Image) -> float:
    values = grey(image)
    return float(np.median(values[values > between_air_and_tissue(values)]))


@pytest.mark.parametrize("name", CUE_SWAPS)
def test_each_leaves_both_pictures_and_gives_another(name: str) -> None:
    before = OWN.tobytes(), DONOR.tobytes()
    found = CUE_SWAPS[name](OWN, DONOR)
    assert found.mode == "RGB"
    assert (OWN.tobytes(), DONOR.tobytes()) == before
    assert (found.size, found.tobytes()) != (OWN.size, before[0])


@pytest.mark.parametrize("name", CUE_SWAPS)
def test_in_its_own_clothes_a_picture_hardly_changes(name: str) -> None:
    found = CUE_SWAPS[name](OWN, OWN)
    assert found.size == OWN.size
    assert np.abs(grey(found).astype(int) - grey(OWN)).mean() < 2


def test_size_is_the_donors_number_of_pixels_at_the_own_proportions() -> None:
    found = size(OWN, DONOR)
    assert found.width * found.height == pytest.approx(DONOR.width * DONOR.height, rel=0.01)
    assert found.width / found.height == pytest.approx(1.5, rel=0.01)
    assert stretch(OWN, DONOR).size == DONOR.size


def test_contrast_takes_mean_and_deviation() -> None:
    donor = slice_of(5).point([round(0.7 * value + 20) for value in range(256)] * 3)
    found = grey(contrast(OWN, donor))
    assert found.mean() == pytest.approx(grey(donor).mean(), rel=0.1)
    assert found.std() == pytest.approx(grey(donor).std(), rel=0.1)


@pytest.mark.parametrize("swap", [rendering, everything])
def test_rendering_takes_the_donors_tissue_and_air_stays_air(swap: object) -> None:
    assert callable(swap)
    found = swap(OWN, DONOR)
    assert tissue(OWN) < 0.7 * tissue(DONOR)
    assert tissue(found) == pytest.approx(tissue(DONOR), rel=0.1)
    assert np.percentile(grey(found), 5) < 20


def test_the_profile_is_the_donors_whole_histogram() -> None:
    found, target = np.sort(grey(profile(OWN, DONOR)).ravel()), np.sort(grey(DONOR).ravel())
    ranks = np.linspace(0.05, 0.95, 19)
    gaps = np.quantile(found, ranks) - np.quantile(target, ranks)
    assert np.abs(gaps).mean() < 8


def test_greys_keep_their_order() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis].repeat(4, 0)).convert("RGB")
    for swap in (contrast, profile, rendering):
        assert (np.diff(grey(swap(ramp, DONOR))[0].astype(int)) >= 0).all()


def test_the_border_has_the_donors_margins() -> None:
    def margins(image: Image.Image) -> list[float]:
        left, top, right, bottom = body_box(grey(image))
        width, height = right - left, bottom - top
        down = top / height, (image.height - bottom) / height
        return [left / width, (image.width - right) / width, *down]

    assert max(margins(OWN)) < 0.35
    assert margins(border(OWN, DONOR)) == pytest.approx(margins(DONOR), abs=0.03)


def test_a_picture_of_nothing_is_all_body() -> None:
    assert body_box(np.zeros((30, 40), np.uint8)) == (0, 0, 40, 30)


def pictures() -> list[Picture]:
    return [Picture(f"digest{index}", index % 4, 0, Path(f"{index}.png")) for index in range(40)]


def test_donors_are_of_the_other_source_whatever_the_order() -> None:
    found = choose_donors(pictures())
    assert len(found) == 40
    for picture in pictures():
        donor = int(found[picture.digest].stem) % 4
        assert (donor == NORMAL) != (picture.label == NORMAL)
    assert choose_donors(pictures()[::-1]) == found
    assert len(set(found.values())) > 10


def test_without_both_sources_there_are_no_donors() -> None:
    assert choose_donors([picture for picture in pictures() if picture.label != NORMAL]) == {}
