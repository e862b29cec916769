import collections

import numpy as np
import pytest
from PIL import Image

from serving.settings import Limits
from tests.images import png
from training.intruders import LUNG, PHOTOS, hounsfield, intruders, windowed
from transformer.decode import decode
from transformer.statistics import require_contrast, summarise

NUMBERS = {
    "colour photo": 8,
    "grey photo": 18,
    "head CT, wide window": 2,
    "head CT, soft-tissue window": 2,
    "head CT, brain window": 2,
    "chest CT, lung window": 1,
    "chest CT, soft-tissue window": 1,
    "phantom, lung window": 12,
    "phantom, soft-tissue window": 12,
    "noise": 10,
    "text page": 8,
    "phantom": 12,
}


@pytest.fixture(scope="module")
def found() -> list[tuple[str, Image.Image]]:
    return list(intruders())


def test_so_many_of_each_kind(found: list[tuple[str, Image.Image]]) -> None:
    assert collections.Counter(kind for kind, _ in found) == NUMBERS
    assert NUMBERS["grey photo"] == len(PHOTOS)


def test_no_two_of_a_kind_are_the_same(found: list[tuple[str, Image.Image]]) -> None:
    distinct = {(kind, image.size, image.tobytes()) for kind, image in found}
    assert len(distinct) == len(found)


def test_the_service_would_take_every_one(found: list[tuple[str, Image.Image]]) -> None:
    for kind, image in found:
        ct_slice = decode(png(np.asarray(image)), Limits())
        statistics = summarise(ct_slice)
        require_contrast(statistics, Limits())
        assert (statistics.colour_share > 0.05) == (kind == "colour photo")


def test_they_are_the_same_each_time(found: list[tuple[str, Image.Image]]) -> None:
    again = [(kind, image.tobytes()) for kind, image in intruders()]
    assert again == [(kind, image.tobytes()) for kind, image in found]


def test_a_window_goes_from_black_to_white() -> None:
    values = np.array([[-2000.0, -1350.0, -600.0, 150.0, 3000.0]])
    assert np.asarray(windowed(values, *LUNG)).tolist() == [[0, 0, 128, 255, 255]]


def test_ct_comes_in_hounsfield_units() -> None:
    values = hounsfield("CT_small.dcm")
    # Air in the lungs is near -1000, bone beyond 300; the stored values begin at 128.
    assert -1000 < values.min() < -800
    assert 300 < values.max() < 3000
