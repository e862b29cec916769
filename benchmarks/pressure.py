"""More than one client at a time that does not wait: 70 % of capacity, twice capacity, bulk."""

import asyncio

from benchmarks import arrivals, request
from benchmarks.bare import ms_an_image
from benchmarks.load import closed_loop, open_loop, run
from benchmarks.outcome import Load, percentile
from benchmarks.request import Target
from benchmarks.scene import Scene
from benchmarks.side_by_side import of_load

REFUSED = 429
CONNECTIONS = 32


def measure_open_loop(scene: Scene, seconds: float) -> dict[str, float]:
    """At 70 % of what the service does now, evenly and as independent clients come."""
    target = request.predict(scene.service.url, scene.images)
    capacity = _capacity(target, seconds / 2)
    figures: dict[str, float] = {}
    for name, times in (
        ("even", arrivals.even(0.7 * capacity, seconds)),
        ("independent", arrivals.independent(0.7 * capacity, seconds)),
    ):
        load = run(open_loop(target, times))
        figures |= of_load(f"open.{name}", load)
        figures[f"open.{name}.late_p99_ms"] = load.late_p99_ms
        figures[f"open.{name}.p99_to_p50"] = load.p99_ms / load.p50_ms
    return figures


def measure_overload(scene: Scene, seconds: float) -> dict[str, float]:
    """At twice the capacity: what is still answered, and how soon the rest is told so.

    The answered are counted once the queue is full: before that what is decoded fills it. They are
    compared with the capacity just before or after, whichever was greater: a machine may be slower
    than it was minutes ago.
    """
    target = request.predict(scene.service.url, scene.images)
    before = _capacity(target, seconds / 2)
    filling = scene.settings.limits.queue_rows / before
    load = run(open_loop(target, arrivals.even(2 * before, filling + seconds), filling))
    after = _capacity(target, seconds / 2)
    refusals = load.ms_of(REFUSED)
    return {
        "overload.goodput": load.per_second / max(before, after),
        "overload.refused": len(refusals),
        "overload.refused_p50_ms": percentile(refusals, 50),
        "overload.refused_p99_ms": percentile(refusals, 99),
        "overload.neither": load.failures - len(refusals),
        "overload.late_p99_ms": load.late_p99_ms,
        **of_load("overload", load),
    }


def measure_bulk(scene: Scene, seconds: float) -> dict[str, float]:
    """How long single slices wait while somebody sends bulk, in forward passes of a whole batch."""
    single = request.predict(scene.service.url, scene.images)
    rows = scene.settings.predictor.max_batch_rows
    batch = scene.bare.rows[:rows]
    bucket_ms = rows * ms_an_image(lambda: scene.bare.engine.run(batch), len(batch), seconds / 4)[1]
    alone = run(closed_loop(single, 1, seconds / 2))
    figures = {"bulk.bucket_ms": bucket_ms, "bulk.alone_p50_ms": alone.p50_ms}
    for name, bulk in (
        ("batch_20", request.predict_batch(scene.service.url, scene.images, 20)),
        ("v2_64", request.v2_infer(scene.service.url, scene.images, 64)),
    ):
        beside = run(_beside(single, bulk, seconds))
        figures |= of_load(f"bulk.{name}", beside)
        figures[f"bulk.{name}.wait_ms"] = beside.p99_ms - alone.p50_ms
        figures[f"bulk.{name}.buckets"] = (beside.p99_ms - alone.p50_ms) / bucket_ms
    return figures


def _capacity(target: Target, seconds: float) -> float:
    """Answers a second at as many connections as keep the service busy."""
    return run(closed_loop(target, CONNECTIONS, seconds)).per_second


async def _beside(single: Target, bulk: Target, seconds: float) -> Load:
    """The load of the singles, one at a time, with bulk on another connection."""
    bulky = asyncio.create_task(closed_loop(bulk, 1, seconds))
    beside = await closed_loop(single, 1, seconds)
    refused = (await bulky).failures
    assert not refused, f"{refused} bulk requests failed"
    return beside
