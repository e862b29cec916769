"""Builds the predictor and runs it: the only place here that makes objects."""

import serving.kserve.without_pandas  # noqa: F401  # isort: skip  # before what imports kserve

import asyncio
import os
import sys

import orjson
import torch
from fastapi import FastAPI, Response
from kserve.model_repository import ModelRepository
from prometheus_client import REGISTRY

from predictor.checkpoint import CheckpointError, find_card, load_weights
from predictor.engine import Engine, EngineError
from predictor.memory import keep_freed_memory
from predictor.metrics import PredictorMetrics
from predictor.service import TensorModel
from serving.byte_budget import ByteBudget
from serving.card import CardError
from serving.cpus import available_cpus
from serving.http_door import install_http_door
from serving.kserve.arguments import with_arguments
from serving.kserve.grpc_server import grpc_server
from serving.kserve.lifecycle import Lifecycle, add_probes, run, serve, stop_on_signals
from serving.kserve.readiness import TruthfulDataPlane
from serving.kserve.repository import ClosedRepository
from serving.kserve.routes import v2_routes
from serving.kserve.statuses import SDK_ERRORS, translate
from serving.listen import bind, require_free
from serving.logs import configure_logs
from serving.metrics import expose, watch_process
from serving.settings import ConfigError, Settings, read_settings, set_in

ADDRESSES = {"HTTP_ADDRESS": "127.0.0.1:9000", "GRPC_ADDRESS": "127.0.0.1:9001"}


def main() -> None:
    """Start the predictor; a start that fails is one line and exit status 1."""
    try:
        environment = with_arguments({**ADDRESSES, **set_in(os.environ)}, sys.argv[1:])
        settings = read_settings(environment)
        configure_logs("predictor", settings.process.log_level)
        keep_freed_memory()
        run(lambda: predictor(settings))
    except (ConfigError, CardError, CheckpointError, EngineError) as error:
        sys.exit(f"ctscan predictor: {error}")


async def predictor(settings: Settings) -> None:
    """Everything from settings to a server that has stopped."""
    process = settings.process
    listener = bind(process.http_address)
    require_free(process.grpc_address)
    engine = load_engine(settings) if process.load_model else None
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

    expose(app, REGISTRY)
    budget = ByteBudget(settings.limits.bodies_bytes, metrics.batches.shed)
    install_http_door(app, settings.limits, translate, SDK_ERRORS, budget)
    server = grpc_server(
        process.grpc_address,
        data_plane,
        repository,
        data_plane.ready,
        settings.limits,
        REGISTRY,
        budget,
    )
    stop_on_signals(lifecycle, process.exit_with_stdin)
    warm_up = asyncio.create_task(model.warm_up())
    await serve(app, listener, server, lifecycle, model.close, warm_up)
    await warm_up


def load_engine(settings: Settings) -> Engine:
    """The engine of the weights and the card that the settings name.

    Raises:
        CheckpointError, CardError, ConfigError: they, or the device, cannot be used.
    """
    # For what runs outside the engine's own passes too, such as reading the weights.
    torch.set_num_threads(settings.predictor.threads or available_cpus())
    card = find_card(settings)
    network, bank = load_weights(card, settings.process.model_path)
    return Engine(card, network, settings.predictor, bank=bank)


if __name__ == "__main__":
    main()
