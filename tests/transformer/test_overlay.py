import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from serving.card import CLASSES, Card, InputSpec
from serving.phantom import phantom
from tests.transformer.rooms import EVIDENCE
from transformer.decode import Slice
from transformer.explanation import Explanation, explain_from
from transformer.overlay import LEGEND, SIDE, overlay
from transformer.prediction import predict_from

Pixels = npt.NDArray[np.int64]
LOGITS = np.array([1.0, 0.0, -1.0, 0.5], np.float32)
PREDICTION = predict_from(LOGITS, Card("resnet18", InputSpec(64, 64)), EVIDENCE, "id")
FLAT = 120


def explained(cam: npt.NDArray[np.float32], wanted: str = CLASSES[0]) -> Explanation:
    return explain_from(PREDICTION, LOGITS, np.stack([cam] * 4), wanted)


def flat(height: int = 256, width: int = 256) -> Slice:
    return Slice(Image.new("RGB", (width, height), (FLAT,) * 3), height, width)


def drawn(ct_slice: Slice, explanation: Explanation) -> Pixels:
    """The pixels [H, W, 3] of the PNG."""
    data = overlay(ct_slice, explanation)
    assert data.startswith(b"\x89PNG")
    with Image.open(io.BytesIO(data)) as image:
        assert (image.mode, image.info) == ("RGB", {})
        return np.asarray(image).astype(np.int64)


def cell(pixels: Pixels, row: int, column: int, rows: int, columns: int) -> Pixels:
    """The inner pixels of one cell of a square picture, without the lines."""
    top, left = row * SIDE // rows + 4, column * SIDE // columns + 4
    return pixels[top : top + SIDE // rows - 8, left : left + SIDE // columns - 8].reshape(-1, 3)


def test_for_is_orange_against_is_blue_and_nothing_is_the_slice_itself() -> None:
    pixels = drawn(flat(), explained(np.array([[1, 0], [-1, 0.5]], np.float32)))
    strong, none, against, weak = (
        cell(pixels, *place, 2, 2) for place in ((0, 0), (0, 1), (1, 0), (1, 1))
    )
    assert (none == FLAT).all()
    assert (strong[:, 0] > strong[:, 2] + 60).all()
    assert (against[:, 2] > against[:, 0] + 60).all()
    assert (weak[:, 0] > FLAT).all()
    assert (weak[:, 0] < strong[:, 0]).all()


def test_a_cell_is_one_colour_to_its_edges() -> None:
    cam = np.random.default_rng(1).normal(size=(7, 7)).astype(np.float32)
    pixels = drawn(flat(), explained(cam))
    for row in range(7):
        for column in range(7):
            assert len(np.unique(cell(pixels, row, column, 7, 7), axis=0)) == 1


def test_colours_are_relative_to_the_strongest_cell() -> None:
    cam = np.array([[1, 0], [-1, 0.5]], np.float32)
    one, tenfold = (drawn(flat(), explained(cam * by)) for by in (1, 10))
    np.testing.assert_array_equal(one[:SIDE], tenfold[:SIDE])
    assert (one[SIDE:] != tenfold[SIDE:]).any(), "the legend has the figure"


@pytest.mark.parametrize(
    ("size", "drawn_size"),
    [
        ((64, 64), (512, 512)),
        ((1024, 512), (512, 256)),
        ((4096, 64), (512, 8)),
        ((64, 4096), (8, 512)),
    ],
)
def test_the_slice_is_scaled_to_its_longest_side(
    size: tuple[int, int], drawn_size: tuple[int, int]
) -> None:
    pixels = drawn(flat(*size), explained(np.zeros((7, 7), np.float32)))
    height, width = drawn_size
    assert pixels.shape == (height + LEGEND, SIDE, 3)
    left = (SIDE - width) // 2
    assert (pixels[:height, :left] == 0).all()
    assert (pixels[:height, left : left + width] >= FLAT).all()


def test_a_map_of_nothing_leaves_the_slice_as_it_is() -> None:
    image = Image.fromarray(phantom(1)).convert("RGB")
    ct_slice = Slice(image, image.height, image.width)
    pixels = drawn(ct_slice, explained(np.zeros((1, 1), np.float32)))
    np.testing.assert_array_equal(pixels[:512], np.asarray(image))


@pytest.mark.parametrize(
    "changes",
    [
        {"explained_class": CLASSES[2]},
        {"pred_class": CLASSES[2]},
        {"confidence": 0.123},
        {"logit": -7.5},
        {"grid": [[0.25] * 3]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_legend_tells(changes: dict[str, object]) -> None:
    plain = explained(np.ones((2, 2), np.float32))
    one = drawn(flat(), plain)
    other = drawn(flat(), replace(plain, **changes))  # type: ignore[arg-type]
    assert (one[SIDE:] != other[SIDE:]).any()


@pytest.mark.parametrize("wanted", CLASSES)
@pytest.mark.parametrize("predicted", CLASSES)
def test_the_legend_fits(wanted: str, predicted: str) -> None:
    cam = np.full((128, 128), -1.234e-5, np.float32)
    long = replace(explained(cam, wanted), pred_class=predicted, confidence=1.0, logit=-1234.567)
    legend = drawn(flat(), long)[SIDE:]
    written = legend.max(axis=2) > 0
    assert written.any()
    assert not written[:, -8:].any()
    assert not written[-8:].any()


def test_drawing_changes_neither_slice_nor_explanation() -> None:
    ct_slice, explanation = flat(), explained(np.ones((2, 2), np.float32))
    before = ct_slice.image.tobytes()
    assert overlay(ct_slice, explanation) == overlay(ct_slice, explanation)
    assert ct_slice.image.tobytes() == before
