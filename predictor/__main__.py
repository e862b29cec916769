"""Starts the predictor: the engine first, and while it warms up what serves it is imported."""

import gc

if __name__ == "__main__":
    # What is imported is no garbage: looking for some takes 0.3 s. `run` enables it again.
    gc.disable()

import predictor.lean_torch  # noqa: F401  # isort: skip  # before what imports torch

import os
import sys

import torch

from predictor.checkpoint import CheckpointError, find_card, load_weights
from predictor.engine import Engine, EngineError
from serving.card import CardError
from serving.cpus import available_cpus
from serving.kserve.arguments import with_arguments
from serving.listen import require_free
from serving.logs import configure_logs
from serving.memory import keep_freed_memory
from serving.settings import ConfigError, Settings, read_settings, set_in

ADDRESSES = {"HTTP_ADDRESS": "127.0.0.1:9000", "GRPC_ADDRESS": "127.0.0.1:9001"}


def main() -> None:
    """Start the predictor; a start that fails is one line and exit status 1."""
    try:
        environment = with_arguments({**ADDRESSES, **set_in(os.environ)}, sys.argv[1:])
        settings = read_settings(environment)
        configure_logs("predictor", settings.process.log_level)
        keep_freed_memory()
        start(settings)
    except (ConfigError, CardError, CheckpointError, EngineError) as error:
        sys.exit(f"ctscan predictor: {error}")


def start(settings: Settings) -> None:
    """Everything from settings to a server that has stopped."""
    process = settings.process
    for address in (process.http_address, process.grpc_address):
        require_free(address)
    engine = load_engine(settings) if process.load_model else None
    warmed = engine.runner.submit(engine.warm_up) if engine else None
    # The SDK takes more than a second of one core, warm-up of both.
    from predictor.server import serve_engine

    serve_engine(engine, warmed, settings)


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
