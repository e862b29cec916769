import numpy as np
import pytest
from PIL import Image

from tests.training.chest import bright, grey, slice_of
from training.blanking import BLANKINGS, NEUTRAL_GREY, only_lungs, without_chest, without_lungs
from training.lungs import find_lungs
from training.measures import Flags

IMAGE = slice_of(3, 200, 240)


def lungs(*, together: bool = False) -> Flags:
    mask = find_lungs(IMAGE, together=together)
    assert mask is not None
    inside: Flags = np.asarray(mask) == 255
    return inside


@pytest.mark.parametrize(("blank", "together"), [(without_lungs, False), (without_chest, True)])
def test_what_is_blanked_is_one_tissue_grey_and_the_rest_is_as_it_was(
    blank: object, together: bool
) -> None:
    assert callable(blank)
    inside = lungs(together=together)
    found, before = grey(blank(IMAGE)), grey(IMAGE)
    assert len(np.unique(found[inside])) == 1
    assert 110 < found[inside][0] < 170
    assert np.array_equal(found[~inside], before[~inside])


def test_the_filling_is_the_pictures_own_tissue() -> None:
    dark, light = without_lungs(IMAGE), without_lungs(bright(IMAGE))
    assert dark is not None
    assert light is not None
    inside = lungs()
    assert grey(light)[inside].max() > 1.3 * grey(dark)[inside].max()


def test_nothing_but_the_lungs_is_left_on_the_same_grey() -> None:
    inside = lungs()
    found = only_lungs(IMAGE)
    assert found is not None
    assert np.array_equal(grey(found)[inside], grey(IMAGE)[inside])
    assert (grey(found)[~inside] == NEUTRAL_GREY).all()


@pytest.mark.parametrize("name", BLANKINGS)
def test_where_no_lung_is_found_there_is_no_picture(name: str) -> None:
    assert BLANKINGS[name](Image.new("RGB", (90, 90))) is None
