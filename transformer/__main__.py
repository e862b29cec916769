"""Builds the transformer and runs it: the only place here that makes objects."""

import serving.kserve.lean_sdk  # noqa: F401  # isort: skip  # before what imports kserve

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from kserve.model_repository import ModelRepository
from prometheus_client import REGISTRY

from serving import __version__
from serving.byte_budget import ByteBudget
from serving.card import CLASSES
from serving.cpus import available_cpus, give_way
from serving.json_body import MOST_PARTS
from serving.kserve.arguments import with_arguments
from serving.kserve.both_doors import both_doors
from serving.kserve.lifecycle import Lifecycle, add_probes, run, serve, stop_on_signals
from serving.kserve.readiness import TruthfulDataPlane
from serving.kserve.repository import ClosedRepository
from serving.kserve.routes import V1Api, v1_routes, v2_routes
from serving.listen import bind, require_free
from serving.logs import configure_logs
from serving.memory import keep_freed_memory
from serving.metrics import watch_process
from serving.settings import ConfigError, Settings, read_settings
from transformer.client import PredictorClient
from transformer.drift import LAST_ROWS_S, DriftLog
from transformer.fair_pool import FairPool
from transformer.feedback import FeedbackStore
from transformer.metrics import TransformerMetrics
from transformer.pipeline import Pipeline
from transformer.rest import Rooms, rest_routes
from transformer.service import ImageModel, V1Explanations, V1Predictions

DISCLAIMER = "Research use only, not a medical device."
# Corrections written at a time: more would not make a disk faster.
STORAGE_THREADS = 2
# Slices of everyday sizes are decoded into memory that is there; that of huge ones is given back.
KEPT_BYTES = 16 * 2**20


def main() -> None:
    """Start the transformer; a start that fails is one line and exit status 1."""
    try:
        settings = read_settings(with_arguments(os.environ, sys.argv[1:]))
        configure_logs("transformer", settings.process.log_level)
        keep_freed_memory(KEPT_BYTES)
        run(lambda: transformer(settings))
    except ConfigError as error:
        sys.exit(f"ctscan transformer: {error}")


async def transformer(settings: Settings) -> None:
    """Everything from settings to a server that has stopped."""
    process = settings.process
    listener = bind(process.http_address)
    require_free(process.grpc_address)
    lifecycle = Lifecycle(settings.shutdown)
    metrics = TransformerMetrics(REGISTRY)
    metrics.feedback_durable.set(process.feedback_durable)
    watch_process(REGISTRY)
    cpus = settings.transformer.decode_threads or available_cpus()
    threads = ThreadPoolExecutor(cpus, "decode", give_way)
    # A pool of its own: a volume that hangs must not keep slices from being decoded.
    writers = ThreadPoolExecutor(STORAGE_THREADS, thread_name_prefix="storage")
    storage = FairPool(writers, STORAGE_THREADS)
    client = PredictorClient(settings, metrics)
    drift = DriftLog(
        process.drift_current_path,
        settings.drift,
        on_dropped=metrics.drift_dropped.inc,
        clock=now,
    )
    drift.start()
    # One job under way and one at hand for each thread, so that none waits for the event loop.
    pool = FairPool(threads, 2 * cpus)
    pipeline = Pipeline(client, drift, metrics, settings.limits, pool, now)

    async def ready() -> bool:
        return not lifecycle.draining and (await client.status()).ready

    async def accepting() -> bool:
        # Not the predictor's readiness: the ingress would answer in our place, without a word why.
        return not lifecycle.draining

    registry = ModelRepository()
    registry.update(ImageModel(pipeline, pool, settings.limits, ready))
    data_plane = TruthfulDataPlane(registry)
    repository = ClosedRepository(registry)
    store = FeedbackStore(process.feedback_dir, now)
    # A volume that hangs must not fill the memory either.
    images = ByteBudget(settings.limits.bodies_bytes, metrics.batches.shed, "images to be stored")

    app = build_app()
    app.include_router(
        rest_routes(Rooms(pipeline, client, store, metrics, lifecycle, settings, storage, images))
    )
    app.include_router(v1_routes(data_plane, V1_PREDICT, V1_EXPLAIN))
    app.include_router(v2_routes(data_plane, repository, MOST_PARTS))
    add_probes(app, accepting)
    server = both_doors(
        app, data_plane, repository, settings, metrics.batches.shed, pipeline.require_room
    )
    stop_on_signals(lifecycle, process.exit_with_stdin)
    watching = asyncio.create_task(client.watch_predictors())

    async def close() -> None:
        watching.cancel()
        await client.close()
        for pool in (threads, writers):
            pool.shutdown(wait=False, cancel_futures=True)
        drift.close(LAST_ROWS_S)

    await serve(app, listener, server, lifecycle, close)


def build_app() -> FastAPI:
    """The app without its routes; its docs page needs no network."""
    app: FastAPI = FastAPIOffline(
        title="CT-scan classifier",
        version=__version__,
        summary="Classifies one chest-CT slice.",
        description=DISCLAIMER,
        redoc_url=None,
    )
    return app


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def v1_body(example: dict[str, str], **properties: Any) -> dict[str, Any]:
    """The body of a V1 call whose instances have `b64` and these properties."""
    instance = {
        "type": "object",
        "required": ["b64"],
        "properties": {"b64": {"type": "string", "format": "byte"}, **properties},
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "items": instance}},
    }
    content = {"application/json": {"schema": schema, "example": {"instances": [example]}}}
    return {"requestBody": {"required": True, "content": content}}


V1_PREDICT = V1Api(v1_body({"b64": "iVBORw0KGgo="}), V1Predictions)
V1_EXPLAIN = V1Api(
    v1_body({"b64": "iVBORw0KGgo=", "class": CLASSES[0]}, **{"class": {"enum": [*CLASSES]}}),
    V1Explanations,
)


if __name__ == "__main__":
    main()
