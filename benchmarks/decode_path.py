"""The decode path alone: the transformer's pipeline in this process, before any door and socket."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from benchmarks.bare import prepare_cpu_ms
from benchmarks.others import Others
from benchmarks.scene import Scene
from serving.admission import Rate
from serving.card import Card
from serving.request import CURRENT, Request
from transformer.client import Answer
from transformer.drift import DriftLog
from transformer.fair_pool import FairPool
from transformer.metrics import TransformerMetrics
from transformer.pipeline import Pipeline

CALLERS = 32


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

    Threads, statistics, gate, metrics and drift rows are those of the service.
    """
    bare_ms = prepare_cpu_ms(scene.bare, scene.images, seconds / 4)
    others = Others()
    done, took = asyncio.run(_load(scene, seconds))
    cores = scene.cores - others.cores()
    return {
        "decode_path.per_second": done / took,
        "ratio.decode_path": done / took * bare_ms / 1000 / cores,
    }


async def _load(scene: Scene, seconds: float) -> tuple[int, float]:
    """Images that were classified, and the seconds that took."""
    metrics = TransformerMetrics(CollectorRegistry())
    drift = DriftLog(
        scene.folder / "drift-path.csv",
        scene.settings.drift,
        on_dropped=lambda rows: None,
        clock=_now,
    )
    drift.start()
    client: object = Instant(scene.bare.engine.card)
    with ThreadPoolExecutor(scene.cores) as threads:
        pool = FairPool(threads, 2 * scene.cores)
        pipeline = Pipeline(client, drift, metrics, scene.settings.limits, pool, _now)  # type: ignore[arg-type]
        start = time.perf_counter()

        async def caller(first: int) -> int:
            CURRENT.set(Request("benchmark", asyncio.get_running_loop().time() + 3600))
            done = 0
            while time.perf_counter() - start < seconds:
                await pipeline.predict([scene.images[(first + done) % len(scene.images)]])
                done += 1
            return done

        done = sum(await asyncio.gather(*(caller(first) for first in range(CALLERS))))
        took = time.perf_counter() - start
    drift.close(10.0)
    return done, took


def _now() -> datetime:
    return datetime.now(UTC)
