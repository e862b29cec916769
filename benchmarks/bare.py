"""The work itself with no service around it: decode and resize, and a forward pass."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictor.checkpoint import find_card, load_weights
from predictor.engine import Engine
from serving.settings import Settings
from transformer.decode import decode
from transformer.preprocess import preprocess
from transformer.statistics import summarise


class Bare:
    """The same functions that the services call, in this process."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.limits
        card = find_card(settings)
        self.engine = Engine(
            card, load_weights(card, Path(settings.process.model_path))[0], settings.predictor
        )
        self.engine.warm_up()

    def prepare(self, image: bytes) -> NDArray[np.uint8]:
        """Decode, summarise and resize one file."""
        ct_slice = decode(image, self._limits)
        summarise(ct_slice)
        return preprocess(ct_slice.image, self.engine.card.input)

    def one(self, image: bytes) -> tuple[float, float]:
        """Seconds of decode and resize, and of the forward pass, for one file."""
        start = time.perf_counter()
        row = self.prepare(image)
        between = time.perf_counter()
        self.engine.run([row])
        return between - start, time.perf_counter() - between
