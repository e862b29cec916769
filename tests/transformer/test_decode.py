from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile

from serving.errors import InvalidImage, ServiceError, TooLarge, UnsuitableImage
from serving.settings import Limits
from tests.images import (
    BAD_IMAGES,
    GOOD_IMAGES,
    colours,
    grey,
    huge_header_png,
    padded,
    png,
    saved,
    uniform_png,
)
from transformer.decode import decode

LIMITS = Limits()


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_every_kind_of_file_becomes_the_right_pixels(name: str) -> None:
    data, expected = GOOD_IMAGES[name]
    ct_slice = decode(data, LIMITS)
    assert ct_slice.image.mode == "RGB"
    assert (ct_slice.height, ct_slice.width) == expected.shape[:2]
    np.testing.assert_array_equal(np.asarray(ct_slice.image), expected)


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_one_channel_is_kept_exactly_where_all_three_are_equal(name: str) -> None:
    data, expected = GOOD_IMAGES[name]
    grey_everywhere = (expected == expected[..., :1]).all()
    ct_slice = decode(data, LIMITS)
    assert ct_slice.pixels.mode == ("L" if grey_everywhere else "RGB")
    assert ct_slice.pixels.info == {}


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_pixel_of_colour_makes_an_image_coloured(channel: int) -> None:
    # Larger than the grid that is looked at first, at a place that the grid leaves out.
    pixels = np.full((200, 200, 3), 90, np.uint8)
    pixels[2, 2, channel] = 91
    ct_slice = decode(png(pixels), LIMITS)
    np.testing.assert_array_equal(np.asarray(ct_slice.pixels), pixels)


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_every_bad_file_meets_its_error(name: str) -> None:
    data, error = BAD_IMAGES[name]
    with pytest.raises(ServiceError) as caught:
        decode(data, LIMITS)
    assert type(caught.value) is error


@pytest.mark.parametrize("name", ["png-truncated", "jpeg-truncated", "webp-truncated"])
def test_a_decoders_own_words_never_reach_the_client(name: str) -> None:
    data, _ = BAD_IMAGES[name]
    with pytest.raises(InvalidImage) as caught:
        decode(data, LIMITS)
    assert caught.value.__cause__ is not None
    assert str(caught.value.__cause__) not in caught.value.detail
    assert "send it whole" in caught.value.detail


def test_any_failure_inside_a_decoder_is_an_invalid_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: ImageFile.ImageFile) -> None:
        raise RuntimeError("decoder error -2, core dumped")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(InvalidImage, match="begins as a PNG") as caught:
        decode(png(grey()), LIMITS)
    assert "core" not in caught.value.detail


def test_no_known_format_is_answered_with_the_formats_that_are() -> None:
    with pytest.raises(InvalidImage, match="PNG, JPEG, TIFF, BMP, GIF, WEBP, DICOM"):
        decode(b"%PDF-1.7", LIMITS)


@pytest.mark.parametrize("side", [4097, 10_000, 20_000, 2**31 - 1])
def test_a_huge_header_is_refused_before_any_pixel_memory(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(*_: object) -> None:
        pytest.fail("pixel memory was asked for")

    monkeypatch.setattr("PIL.Image.core.new", allocate)
    monkeypatch.setattr("PIL.Image.core.fill", allocate)
    monkeypatch.setattr(ImageFile.ImageFile, "load", allocate)
    with pytest.raises(UnsuitableImage, match=f"{side} x {side}.*64 to 4096"):
        decode(huge_header_png(side), LIMITS)


def test_frames_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(UnsuitableImage, match="several frames"):
        decode(BAD_IMAGES["png-animated"][0], LIMITS)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (4096, 64), (64, 4096)])
def test_sides_at_the_limits_are_accepted(height: int, width: int) -> None:
    ct_slice = decode(png(np.zeros((height, width), np.uint8)), LIMITS)
    assert (ct_slice.height, ct_slice.width) == (height, width)


def test_a_file_at_the_byte_limit_is_read_and_one_byte_more_is_not() -> None:
    limits = Limits(file_bytes=50_000)
    ct_slice = decode(padded(png(grey()), 50_000), limits)
    np.testing.assert_array_equal(np.asarray(ct_slice.image)[..., 0], grey())
    with pytest.raises(TooLarge, match="50001 bytes, at most 50000"):
        decode(padded(png(grey()), 50_001), limits)


def test_a_uniform_image_is_readable() -> None:
    assert decode(uniform_png(7), LIMITS).image.getextrema() == ((7, 7),) * 3


def test_nothing_the_sender_wrote_beside_the_pixels_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010E] = "patient"
    data = saved(Image.fromarray(colours()), "JPEG", exif=exif, comment=b"patient", dpi=(72, 72))
    image = decode(data, LIMITS).image
    assert type(image) is Image.Image
    assert image.info == {}
    assert dict(image.getexif()) == {}


def test_threads_decode_side_by_side() -> None:
    names = list(GOOD_IMAGES) * 4
    with ThreadPoolExecutor(8) as threads:
        slices = list(threads.map(lambda name: decode(GOOD_IMAGES[name][0], LIMITS), names))
    for name, ct_slice in zip(names, slices, strict=True):
        np.testing.assert_array_equal(np.asarray(ct_slice.image), GOOD_IMAGES[name][1])


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("png-of-tiny-chunks", "50000 parts"),
        ("png-of-tiny-pixel-chunks", "50000 parts"),
        ("jpeg-of-tiny-segments", "50000 parts"),
        ("jpeg-of-padding", "50000 parts"),
        ("gif-of-tiny-blocks", "200000 parts"),
        ("jpeg-of-scans", "100 scans"),
        ("jpeg-of-exif", "8 pieces of EXIF"),
        ("tiff-of-strips", "32768 numbers"),
        ("tiff-of-exif-numbers", "32768 numbers"),
    ],
)
def test_countless_tiny_parts_are_refused_as_such(name: str, what: str) -> None:
    with pytest.raises(InvalidImage, match=f"more than {what}"):
        decode(BAD_IMAGES[name][0], LIMITS)


@pytest.mark.parametrize(
    "name", ["jpeg-of-scans", "jpeg-of-exif", "tiff-of-strips", "tiff-of-exif-numbers"]
)
def test_parts_handled_without_a_read_are_counted_before_a_parser_sees_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformer.decode._opened", lambda *_: pytest.fail("parsed"))
    with pytest.raises(InvalidImage, match="more than"):
        decode(BAD_IMAGES[name][0], LIMITS)


def test_run_lengths_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(InvalidImage, match="run-length"):
        decode(BAD_IMAGES["bmp-run-lengths"][0], LIMITS)


def test_a_gif_of_full_blocks_is_read_at_the_byte_limit() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3400, 3400)).astype(np.uint8)
    data = saved(Image.fromarray(pixels), "GIF")
    assert 15 * 2**20 < len(data) < LIMITS.file_bytes
    assert decode(data, LIMITS).width == 3400
