import logging
import random
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from serving.errors import InvalidImage, ServiceError, UnsuitableImage
from serving.settings import Limits
from tests.dicoms import (
    BAD_DICOMS,
    CT,
    GOOD_DICOMS,
    SECRET,
    before_pixels,
    changed,
    compressed,
    dataset,
    jpeg_2000,
    loco,
    nested,
    run_lengths,
)
from tests.images import GOOD_IMAGES
from training.window import WINDOW
from transformer.decode import decode
from transformer.dicom import is_dicom

LIMITS = Limits()


@pytest.mark.parametrize("name", GOOD_DICOMS)
def test_every_kind_of_file_becomes_the_grey_of_its_hounsfield_units(name: str) -> None:
    data, hounsfield = GOOD_DICOMS[name]
    ct_slice = decode(data, LIMITS, WINDOW)
    assert ct_slice.is_dicom
    assert ct_slice.image.mode == "RGB"
    assert (ct_slice.height, ct_slice.width) == hounsfield.shape
    darkest = WINDOW.center - WINDOW.width / 2
    grey = np.rint(((hounsfield - darkest) / WINDOW.width).clip(0, 1) * 255)
    for channel in range(3):
        np.testing.assert_array_equal(np.asarray(ct_slice.image)[..., channel], grey)


@pytest.mark.parametrize("name", BAD_DICOMS)
def test_every_bad_file_meets_its_error_and_its_reason(name: str) -> None:
    data, error, words = BAD_DICOMS[name]
    with pytest.raises(ServiceError) as caught:
        decode(data, LIMITS, WINDOW)
    assert type(caught.value) is error
    assert re.search(words, caught.value.detail), caught.value.detail


def test_an_image_is_no_dicom() -> None:
    for data, _ in GOOD_IMAGES.values():
        assert not is_dicom(data)
        assert not decode(data, LIMITS, WINDOW).is_dicom


def test_without_a_window_a_dicom_file_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnsuitableImage, match=r"no CT window.*input\.window"):
        decode(CT, LIMITS)


def test_the_window_is_the_cards_and_never_the_files() -> None:
    # Of lungs in the textbook: soft tissue is almost white in it.
    other = changed(WindowCenter=-600, WindowWidth=1500)
    mine, theirs = (decode(data, LIMITS, WINDOW).image.tobytes() for data in (CT, other))
    assert mine == theirs


def test_no_secret_of_the_header_is_quoted_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    files = [data for data, _ in GOOD_DICOMS.values()]
    files += [data for data, *_ in BAD_DICOMS.values()]
    assert SECRET.encode() in CT
    said = []
    with caplog.at_level(logging.DEBUG):
        for data in (*files, changed(Modality="DOE"), changed(SOPClassUID="1.2.777")):
            try:
                said.append(repr(vars(decode(data, LIMITS, WINDOW))))
            except ServiceError as error:
                said.append(error.detail)
    quoted = "".join(said) + caplog.text
    assert not [word for word in ("Doe", "DOE", "1.2.777") if word in quoted]
    assert "pydicom" not in caplog.text


@pytest.mark.parametrize(
    "name",
    ["mr", "enhanced", "no-slope", "huge-header", "frames", "deflated", "burned-in", "colour"],
)
def test_a_header_is_refused_before_any_pixel_is_looked_at(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformer.dicom.stored_values", lambda *_: pytest.fail("looked"))
    with pytest.raises(UnsuitableImage):
        decode(BAD_DICOMS[name][0], LIMITS, WINDOW)


@pytest.mark.parametrize("name", [it for it in BAD_DICOMS if "-too-" in it or "component" in it])
def test_a_codestream_that_contradicts_its_header_is_never_decoded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders = dict.fromkeys(
        ("transformer.dicom.pixels.decode_buffer", "transformer.dicom.pixels.decode_apart"),
        lambda *_: pytest.fail("decoded"),
    )
    for place, fail in decoders.items():
        monkeypatch.setattr(place, fail)
    monkeypatch.setattr("PIL.Image.core.new", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InvalidImage):
        decode(BAD_DICOMS[name][0], LIMITS, WINDOW)


def test_threads_decode_side_by_side() -> None:
    names = list(GOOD_DICOMS) * 2
    alone = {name: decode(GOOD_DICOMS[name][0], LIMITS, WINDOW).image.tobytes() for name in names}
    with ThreadPoolExecutor(8) as threads:
        slices = threads.map(lambda name: decode(GOOD_DICOMS[name][0], LIMITS, WINDOW), names)
        for name, ct_slice in zip(names, slices, strict=True):
            assert ct_slice.image.tobytes() == alone[name]


SEEDS = {
    "native": (CT, 400),
    "run-lengths": (run_lengths(dataset()), 300),
    "jpeg-ls": (compressed(JPEGLSLossless, loco()), 300),
    "jpeg-2000": (compressed(JPEG2000Lossless, jpeg_2000()), 25),
    "nested": (before_pixels(nested(20)), 300),
}


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files_meet_errors_of_ours_and_nothing_else(name: str) -> None:
    data, count = SEEDS[name]
    chance = random.Random(name)
    for _ in range(count):
        damaged = bytearray(data)
        # Headers decide more than pixels: half of the damage is done there.
        reach = len(damaged) if chance.random() < 0.5 else min(len(damaged), 7000)
        for _ in range(chance.choice((1, 4, 30))):
            at = chance.randrange(132, reach)
            damaged[at] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
        if chance.random() < 0.2:
            damaged = damaged[: chance.randrange(132, len(damaged))]
        try:
            ct_slice = decode(bytes(damaged), LIMITS, WINDOW)
        except ServiceError as error:
            assert type(error) in (InvalidImage, UnsuitableImage)  # noqa: PT017
        else:
            assert ct_slice.image.size == (ct_slice.width, ct_slice.height)
