import numpy as np
import pytest
from PIL import Image

from serving.card import InputSpec
from tests.images import Samples, colours, grey
from transformer.preprocess import preprocess


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 112), (160, 96)])
def test_colours_become_three_channels_resized_as_pillow_does(height: int, width: int) -> None:
    image = Image.fromarray(colours())
    row = preprocess(image, InputSpec(height, width))
    assert row.shape == (height, width, 3)
    assert row.dtype == np.uint8
    expected = image.resize((width, height), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(row, np.asarray(expected))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (224, 200)])
def test_grey_becomes_one_channel_that_loses_nothing(height: int, width: int) -> None:
    image = Image.fromarray(grey()).convert("RGB")
    row = preprocess(image, InputSpec(height, width))
    assert row.shape == (height, width, 1)
    expected = image.resize((width, height), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(row.repeat(3, axis=2), np.asarray(expected))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(64, 64), (224, 200), (80, 96), (11, 300)])
def test_one_channel_becomes_the_row_of_three_equal_ones(
    channels: int, size: tuple[int, int]
) -> None:
    image = Image.fromarray(np.random.default_rng(5).integers(0, 256, (97, 131)).astype(np.uint8))
    spec = InputSpec(*size, channels=channels)
    row = preprocess(image, spec)
    assert row.shape == (*size, 1)
    np.testing.assert_array_equal(row, preprocess(image.convert("RGB"), spec))


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_pixel_of_colour_keeps_three_channels(channel: int) -> None:
    pixels = np.asarray(Image.fromarray(grey()).convert("RGB")).copy()
    pixels[40, 50, channel] ^= 1
    same_size = InputSpec(*pixels.shape[:2])
    np.testing.assert_array_equal(preprocess(Image.fromarray(pixels), same_size), pixels)


def test_a_network_of_one_channel_gets_grey() -> None:
    image = Image.fromarray(colours())
    row = preprocess(image, InputSpec(64, 48, channels=1))
    assert row.shape == (64, 48, 1)
    expected = image.convert("L").resize((48, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(row[..., 0], np.asarray(expected))


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = (np.indices((128, 128))[1] % 2 * 200).astype(np.uint8)
    row = preprocess(Image.fromarray(stripes).convert("RGB"), InputSpec(32, 32))
    assert row[:, 1:-1].min() > 90
    assert row[:, 1:-1].max() < 110


@pytest.mark.parametrize("image", [grey(), colours()], ids=["grey", "colour"])
def test_rows_are_contiguous(image: Samples) -> None:
    row = preprocess(Image.fromarray(image).convert("RGB"), InputSpec(64, 64))
    assert row.flags.c_contiguous
