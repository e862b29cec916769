import io

import numpy as np
import pytest
from PIL import Image

from serving.card import InputSpec
from serving.phantom import golden_rows, phantom


def test_a_seed_always_paints_the_same_slice() -> None:
    np.testing.assert_array_equal(phantom(3, 96, 128), phantom(3, 96, 128))


def test_another_seed_moves_the_anatomy_not_only_the_noise() -> None:
    first, second = (phantom(seed, 128, 128, noise=0.0).astype(int) for seed in (1, 2))
    assert np.abs(first - second).max() > 50


@pytest.mark.parametrize(("height", "width"), [(64, 64), (200, 320), (320, 200), (512, 512)])
def test_any_size_can_be_painted(height: int, width: int) -> None:
    ct_slice = phantom(0, height, width)
    assert ct_slice.shape == (height, width)
    assert ct_slice.dtype == np.uint8


@pytest.mark.parametrize("seed", range(4))
def test_air_lung_tissue_and_bone_lie_where_a_chest_has_them(seed: int) -> None:
    ct_slice = phantom(seed, noise=0.0)
    corner, heart = ct_slice[:40, :40].mean(), ct_slice[180:220, 270:300].mean()
    lungs = [
        np.median(ct_slice[200:320, columns]) for columns in (slice(100, 190), slice(360, 420))
    ]
    assert corner < min(lungs)
    assert max(lungs) < heart - 60
    assert ct_slice[320:400, 230:280].max() > 200


def test_noise_has_the_standard_deviation_asked_for() -> None:
    inside = (slice(190, 230), slice(240, 290))
    noisy, clean = (phantom(0, noise=noise)[inside].astype(float) for noise in (8.0, 0.0))
    assert (noisy - clean).std() == pytest.approx(8.0, rel=0.1)


def test_a_phantom_weighs_what_a_real_slice_weighs() -> None:
    file = io.BytesIO()
    Image.fromarray(phantom(0)).save(file, "PNG")
    assert 120_000 < len(file.getvalue()) < 180_000


def test_golden_rows_have_the_networks_size_and_differ() -> None:
    rows = golden_rows(InputSpec(96, 80), 3)
    assert [row.shape for row in rows] == [(96, 80, 1)] * 3
    assert not np.array_equal(rows[0], rows[1])
