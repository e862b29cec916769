import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from serving.errors import UnsuitableImage
from serving.settings import Limits
from transformer.decode import Slice
from transformer.statistics import COLOURED, require_contrast, summarise


def slice_of(pixels: npt.NDArray[np.uint8], mode: str = "RGB") -> Slice:
    image = Image.fromarray(pixels).convert(mode)
    return Slice(image, image.height, image.width)


@pytest.mark.parametrize("seed", range(25))
def test_statistics_are_those_of_the_pixels(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 90, 2)
    low, high = sorted(random.integers(0, 257, 2))
    pixels = random.integers(low, high + 1, (height, width)).clip(0, 255).astype(np.uint8)
    found = summarise(slice_of(pixels))
    assert [found.p01, found.p50, found.p99] == np.percentile(pixels, [1, 50, 99]).tolist()
    assert found.mean == pytest.approx(pixels.mean(), abs=1e-9)
    assert found.std == pytest.approx(pixels.std(), abs=1e-9)
    assert (found.min, found.max) == (pixels.min(), pixels.max())
    assert (found.height, found.width) == (height, width)
    assert found.histogram == tuple(np.bincount(pixels.ravel(), minlength=256))


@pytest.mark.parametrize(
    ("dark", "low", "bright", "high"), [(3, 195, 267, 239), (7, 105, 616, 147)]
)
def test_percentiles_between_two_values_agree_to_the_last_bit(
    dark: int, low: int, bright: int, high: int
) -> None:
    pixels = np.array([[low] * dark + [high] * bright], np.uint8)
    assert summarise(slice_of(pixels)).p01 == np.percentile(pixels, 1)


def test_one_channel_says_what_three_equal_ones_say() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (70, 81)).astype(np.uint8)
    assert summarise(slice_of(pixels, "L")) == summarise(slice_of(pixels))


def test_a_coloured_slice_is_summarised_as_pillow_greys_it() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 81, 3)).astype(np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    assert summarise(slice_of(pixels)).mean == pytest.approx(grey.mean(), abs=1e-9)


@pytest.mark.parametrize("coloured", [0, 3, 32, 64])
@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("brighter", [False, True])
def test_the_colour_share_is_that_of_the_coloured_rows(
    coloured: int, channel: int, brighter: bool
) -> None:
    pixels = np.full((128, 128, 3), 90, np.uint8)
    pixels[: 2 * coloured, :, channel] = 90 + (COLOURED + 1) * (1 if brighter else -1)
    assert summarise(slice_of(pixels)).colour_share == coloured / 64


def test_channels_that_hardly_differ_are_grey() -> None:
    pixels = np.random.default_rng(0).integers(0, 240, (70, 90, 1)).astype(np.uint8)
    tinted = pixels + np.array([0, COLOURED, COLOURED // 2], np.uint8)
    assert summarise(slice_of(tinted)).colour_share == 0


def test_large_images_do_not_overflow() -> None:
    pixels = np.full((4096, 4096), 255, np.uint8)
    pixels[0, 0] = 0
    found = summarise(slice_of(pixels))
    assert found.std == pytest.approx(255 / 4096, rel=1e-6)


@pytest.mark.parametrize("value", [0, 1, 77, 255])
def test_a_uniform_image_has_no_contrast_at_all(value: int) -> None:
    statistics = summarise(slice_of(np.full((70, 91), value, np.uint8)))
    assert statistics.std == 0.0
    with pytest.raises(UnsuitableImage, match=r"is 0\.0, at least 5 is expected"):
        require_contrast(statistics, Limits())


def test_contrast_at_the_limit_is_enough_and_just_below_is_not() -> None:
    checkered = (np.indices((64, 64)).sum(0) % 2 * 10).astype(np.uint8)
    statistics = summarise(slice_of(checkered))
    require_contrast(statistics, Limits(min_grey_std=5.0))
    with pytest.raises(UnsuitableImage):
        require_contrast(statistics, Limits(min_grey_std=5.001))
