"""Images that a service for chest slices should not answer: made by code, or read from packages.

None of them is a training slice, and no bound of the gate was fitted to them: they measure how
often the gate notices. Photos come from scikit-image, head CT from pydicom; nothing is downloaded.
"""

from collections.abc import Iterator
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageDraw, ImageFont
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_rescale
from pydicom.pixels.utils import pixel_array

from serving.card import Window
from serving.phantom import phantom
from transformer.dicom.hounsfield import window_grey

# What scikit-image's wheel holds of photographs, microscopy and telescopes; the right half of the
# stereo pair shows the same as the left one and is left out.
PHOTOS = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png"),
    *("coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png"),
    *("moon.png", "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png"),
)
HEADS = ("693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm")
CHEST = "CT_small.dcm"

# Center and width in Hounsfield units.
WIDE = (40.0, 2000.0)
SOFT_TISSUE = (40.0, 400.0)
BRAIN = (40.0, 80.0)
LUNG = (-600.0, 1500.0)

PHANTOMS = 12
NOISES = 5
PAGES = 4
SIDE = 512
SENTENCE = "The quick brown fox jumps over the lazy dog and runs on. "

Hounsfield = npt.NDArray[np.float64]


def intruders() -> Iterator[tuple[str, Image.Image]]:
    """Every intruder after the name of its kind, the same ones in the same order each time."""
    yield from photos()
    yield from heads()
    yield from other_windows()
    yield from noise()
    yield from pages()
    yield from (("phantom", Image.fromarray(phantom(seed))) for seed in range(PHANTOMS))


def photos() -> Iterator[tuple[str, Image.Image]]:
    """Photos in colour, where they have any, and all of them turned to grey."""
    folder = files("skimage") / "data"
    for name in PHOTOS:
        with (folder / name).open("rb") as file, Image.open(file) as photo:
            grey, colour = photo.convert("L"), photo.convert("RGB")
            has_colour = photo.mode != "L"
        if has_colour:
            yield "colour photo", colour
        yield "grey photo", grey


def heads() -> Iterator[tuple[str, Image.Image]]:
    """CT of the wrong part of the body, as rendered for it and as chest slices are."""
    for name in HEADS:
        values = hounsfield(name)
        yield "head CT, wide window", windowed(values, *WIDE)
        yield "head CT, soft-tissue window", windowed(values, *SOFT_TISSUE)
        yield "head CT, brain window", windowed(values, *BRAIN)


def other_windows() -> Iterator[tuple[str, Image.Image]]:
    """Chest CT, but in windows that no training slice of cancer has."""
    values = hounsfield(CHEST)
    yield "chest CT, lung window", windowed(values, *LUNG)
    yield "chest CT, soft-tissue window", windowed(values, *SOFT_TISSUE)
    for seed in range(PHANTOMS):
        # A phantom's greys are those of a wide window.
        values = phantom(seed) / 255.0 * WIDE[1] + WIDE[0] - WIDE[1] / 2
        yield "phantom, lung window", windowed(values, *LUNG)
        yield "phantom, soft-tissue window", windowed(values, *SOFT_TISSUE)


def noise() -> Iterator[tuple[str, Image.Image]]:
    """Every pixel for itself: all greys alike, or around the grey of soft tissue."""
    random = np.random.default_rng(0)
    for _ in range(NOISES):
        yield "noise", Image.fromarray(random.integers(0, 256, (SIDE, SIDE), np.uint8))
        around = random.normal(110, 30, (SIDE, SIDE)).clip(0, 255)
        yield "noise", Image.fromarray(around.astype(np.uint8))


def pages() -> Iterator[tuple[str, Image.Image]]:
    """Rendered text: black on white, white on black."""
    for size in range(12, 12 + 4 * PAGES, 4):
        page = Image.new("L", (SIDE, SIDE), 255)
        draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
        for line, top in enumerate(range(20, SIDE - 20, size + 6)):
            start = 7 * line % len(SENTENCE)
            draw.text((20, top), (SENTENCE * 3)[start : start + 800 // size], fill=0, font=font)
        yield "text page", page
        yield "text page", Image.eval(page, lambda value: 255 - value)


def hounsfield(name: str) -> Hounsfield:
    """Hounsfield units of a CT file that pydicom ships."""
    path = get_testdata_file(name, download=False)
    dataset = pydicom.dcmread(str(path))
    return np.asarray(apply_rescale(pixel_array(dataset), dataset), np.float64)


def windowed(values: Hounsfield, center: float, width: float) -> Image.Image:
    """Hounsfield units as grey values: the window from black to white, cut off beyond."""
    return Image.fromarray(window_grey(values, Window(center, width)))
