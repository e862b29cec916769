"""The work itself with no service around it: decode and resize, and a forward pass."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictor.checkpoint import find_card, load_weights
from predictor.engine import Engine
from serving.memory import keep_freed_memory
from serving.phantom import golden_rows
from serving.settings import Settings
from transformer.decode import decode
from transformer.preprocess import preprocess
from transformer.statistics import summarise

# Rows of the batches that the engine is timed with.
BATCHES = (1, 8, 32)


class Bare:
    """The same functions that the services call, in this process."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.limits
        keep_freed_memory()
        card = find_card(settings)
        self.engine = Engine(
            card, load_weights(card, Path(settings.process.model_path))[0], settings.predictor
        )
        self.engine.warm_up()
        self.rows = golden_rows(card.input, max(BATCHES))

    def prepare(self, image: bytes) -> NDArray[np.uint8]:
        """Decode, summarise and resize one file."""
        ct_slice = decode(image, self._limits)
        summarise(ct_slice)
        return preprocess(ct_slice.pixels, self.engine.card.input)

    def one(self, image: bytes) -> tuple[float, float]:
        """Milliseconds of decode and resize, and of the forward pass, for one file.

        In the thread that the engine has for it, so that none hands on to another.
        """
        return self.engine.runner.submit(self._one, image).result()

    def _one(self, image: bytes) -> tuple[float, float]:
        start = time.perf_counter()
        row = self.prepare(image)
        between = time.perf_counter()
        self.engine.run([row])
        return (between - start) * 1000, (time.perf_counter() - between) * 1000


def measure_bare(
    bare: Bare, images: Sequence[bytes], cores: int, seconds: float
) -> dict[str, float]:
    """CPU milliseconds an image of each part, and the requests/s that these cores cannot exceed."""
    prepare = prepare_cpu_ms(bare, images, seconds)
    figures = {"bare.prepare_cpu_ms": prepare}
    for rows in BATCHES:
        batch = bare.rows[:rows]
        cpu, wall = ms_an_image(lambda batch=batch: bare.engine.run(batch), rows, seconds)  # type: ignore[misc]
        figures |= {f"bare.engine_{rows}_cpu_ms": cpu, f"bare.engine_{rows}_ms": wall}
    forward = min(figures[f"bare.engine_{rows}_cpu_ms"] for rows in BATCHES)
    figures["bare.engine_cpu_ms"] = forward
    return figures | {"bound": bound(cores, prepare, forward)}


def prepare_cpu_ms(bare: Bare, images: Sequence[bytes], seconds: float) -> float:
    """CPU milliseconds of decode and resize an image."""
    return ms_an_image(lambda: [bare.prepare(it) for it in images], len(images), seconds)[0]


def bound(cores: int, prepare_cpu_ms: float, forward_cpu_ms: float) -> float:
    """Requests a second of cores that do nothing but decode, resize and classify."""
    return cores * 1000 / (prepare_cpu_ms + forward_cpu_ms)


def ms_an_image(work: Callable[[], object], images: int, seconds: float) -> tuple[float, float]:
    """Milliseconds of CPU time and of wall time an image, of work on so many, over and over."""
    work()
    start, cpu, times = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        work()
        times += 1
    wall = time.perf_counter() - start
    return (time.process_time() - cpu) * 1000 / (times * images), wall * 1000 / (times * images)
