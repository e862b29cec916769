"""Slices for the contract tests, and what the services must make of them, worked out here anew."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.card import CLASSES
from serving.phantom import phantom


def slice_png(seed: int, side: int = 128) -> bytes:
    """A PNG file of one slice."""
    target = io.BytesIO()
    Image.fromarray(phantom(seed, side, side)).save(target, "PNG")
    return target.getvalue()


def row_of(png: bytes, side: int = 64) -> NDArray[np.uint8]:
    """The network's input for a file: uint8 [side, side, 3]."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return np.array(image.resize((side, side), Image.Resampling.BILINEAR))


def shares(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities [N, classes] of logits [N, classes]."""
    powers = np.exp(logits.astype(np.float64) / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def probabilities(answer: dict[str, Any]) -> list[float]:
    """The probabilities of a REST answer in index order; the keys must be in it too."""
    assert tuple(answer["probabilities"]) == CLASSES
    return list(answer["probabilities"].values())
