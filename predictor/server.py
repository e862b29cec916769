"""Builds what serves an engine and runs it: with `__main__` the only place that makes objects."""

import serving.kserve.lean_sdk  # noqa: F401  # isort: skip  # before what imports kserve

import asyncio
import gc
from concurrent.futures import Future

import orjson
from fastapi import FastAPI, Response
from kserve.model_repository import ModelRepository
from prometheus_client import REGISTRY

from predictor.engine import Engine
from predictor.metrics import PredictorMetrics
from predictor.service import TensorModel
from serving.kserve.both_doors import both_doors
from serving.kserve.lifecycle import Lifecycle, add_probes, run, serve, stop_on_signals
from serving.kserve.readiness import TruthfulDataPlane
from serving.kserve.repository import ClosedRepository
from serving.kserve.routes import v2_routes
from serving.listen import bind
from serving.memory import give_back_freed_memory
from serving.metrics import watch_process
from serving.settings import Settings


def serve_engine(engine: Engine | None, warmed: "Future[None] | None", settings: Settings) -> None:
    """Serve until a signal; requests are taken once the engine has `warmed` up.

    Raises:
        ConfigError: an address is taken. EngineError: what warm-up ended with.
    """
    run(lambda: _serve(engine, warmed, settings))


async def _serve(engine: Engine | None, warmed: "Future[None] | None", settings: Settings) -> None:
    listener = bind(settings.process.http_address)
    lifecycle = Lifecycle(settings.shutdown)
    metrics = PredictorMetrics(REGISTRY)
    watch_process(REGISTRY)
    model = TensorModel(engine, settings, metrics, lifecycle)
    registry = ModelRepository()
    registry.update(model)
    data_plane = TruthfulDataPlane(registry)
    repository = ClosedRepository(registry)

    app = FastAPI(title="CT-scan predictor", summary="Tensors in, logits out.")
    app.include_router(v2_routes(data_plane, repository))
    add_probes(app, model.healthy)

    @app.get("/card", tags=["operation"], summary="The card, and what this predictor runs")
    def card() -> Response:
        return Response(orjson.dumps(model.card_answer()), media_type="application/json")

    server = both_doors(app, data_plane, repository, settings, metrics.batches.shed)
    stop_on_signals(lifecycle, settings.process.exit_with_stdin)
    warm_up = asyncio.create_task(_warm_up(model, warmed))
    await serve(app, listener, server, lifecycle, model.close, warm_up)
    await warm_up


async def _warm_up(model: TensorModel, warmed: "Future[None] | None") -> None:
    await model.warm_up(warmed)
    # What warm-up tried and let go of hangs together in circles, some of it from before `run`.
    gc.unfreeze()
    gc.collect()
    give_back_freed_memory()
    gc.freeze()
