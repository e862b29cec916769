"""The decode path alone: the transformer's pipeline in this process, before any door and socket."""

import asyncio
import gc
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from statistics import median

import numpy as np
import uvloop
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from benchmarks.bare import prepare_cpu_ms
from benchmarks.others import Others
from benchmarks.scene import Scene
from serving.admission import Rate
from serving.card import Card
from serving.cpus import give_way
from serving.request import CURRENT, Request
from transformer.client import Answer
from transformer.drift import DriftLog
from transformer.fair_pool import FairPool
from transformer.metrics import TransformerMetrics
from transformer.pipeline import Pipeline

CALLERS = 32
TURNS = 5


class Instant:
    """A client of a predictor that answers at once."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._logits = np.zeros(len(card.classes), np.float32)
        self.rate = Rate()

    async def card(self) -> Card:
        return self._card

    async def infer(
        self, rows: Sequence[NDArray[np.uint8]], card: Card, *, cam: bool = False
    ) -> list[Answer]:
        return [Answer(self._logits, card) for _ in rows]


def measure_decode_path(scene: Scene, seconds: float) -> dict[str, float]:
    """Images/s of file to prediction, against bare decode and resize on the same cores.

    Threads, event loop, statistics, gate, metrics and drift rows are those of the service. In short
    turns: what slows the machine down falls on both.
    """
    # As the service does: collections would look at all that this process has and it has not.
    gc.freeze()
    turns = uvloop.run(_turns(scene, seconds / TURNS))
    gc.unfreeze()
    return {
        "decode_path.per_second": median(path for path, _ in turns),
        "ratio.decode_path": median(path / bare for path, bare in turns),
    }


async def _turns(scene: Scene, seconds: float) -> list[tuple[float, float]]:
    """Images/s of the path, and of the bare work on what others left of the cores meanwhile."""
    drift = DriftLog(
        scene.folder / "drift-path.csv",
        scene.settings.drift,
        on_dropped=lambda rows: None,
        clock=_now,
    )
    drift.start()
    with ThreadPoolExecutor(scene.cores, "decode", give_way) as threads:
        pipeline = Pipeline(
            Instant(scene.bare.engine.card),  # type: ignore[arg-type]
            drift,
            TransformerMetrics(CollectorRegistry()),
            scene.settings.limits,
            FairPool(threads, 2 * scene.cores),
            _now,
        )
        turns = []
        for _ in range(TURNS):
            bare_ms = prepare_cpu_ms(scene.bare, scene.images, seconds / 4)
            others = Others()
            path = await _per_second(pipeline, scene.images, seconds)
            turns.append((path, (scene.cores - others.cores()) * 1000 / bare_ms))
    drift.close(10.0)
    return turns


async def _per_second(pipeline: Pipeline, images: Sequence[bytes], seconds: float) -> float:
    """Images a second that are classified for as many callers as wait for their answers."""
    start = time.perf_counter()

    async def caller(first: int) -> int:
        CURRENT.set(Request("benchmark", asyncio.get_running_loop().time() + 3600))
        done = 0
        while time.perf_counter() - start < seconds:
            await pipeline.predict([images[(first + done) % len(images)]])
            done += 1
        return done

    done = sum(await asyncio.gather(*(caller(first) for first in range(CALLERS))))
    return done / (time.perf_counter() - start)


def _now() -> datetime:
    return datetime.now(UTC)
