import numpy as np
import pytest

from serving.card import Window
from serving.settings import Limits
from tests.dicoms import CT
from training.window import WINDOW
from transformer.decode import decode
from transformer.dicom.hounsfield import window_grey


@pytest.mark.parametrize(
    ("hounsfield", "grey"),
    [(-1e9, 0), (-150, 0), (-149, 1), (-50, 64), (50, 128), (150, 191), (249, 254), (1e9, 255)],
)
def test_a_window_clips_and_scales(hounsfield: float, grey: int) -> None:
    window = Window(center=50, width=400)
    assert window_grey(np.array([hounsfield]), window).tolist() == [grey]


@pytest.mark.parametrize(
    ("tissue", "hounsfield", "least", "most"),
    [("air", -1000, 0, 5), ("lung", -850, 16, 26), ("fat", -100, 100, 108), ("soft", 50, 112, 125)],
)
def test_tissues_lie_where_the_training_images_have_them(
    tissue: str, hounsfield: float, least: int, most: int
) -> None:
    """The middle halves of the cancers' grey levels; lungs of the textbook window are at 97."""
    (grey,) = window_grey(np.array([float(hounsfield)]), WINDOW)
    assert least <= grey <= most


def test_muscle_of_a_real_chest_lies_where_the_training_images_have_it() -> None:
    grey = np.asarray(decode(CT, Limits(), WINDOW).image)[..., 0]
    counts = np.bincount(grey.ravel(), minlength=256)
    assert 112 <= int(counts[110:130].argmax()) + 110 <= 125
    assert 16 <= int(counts[:40].argmax()) <= 26
