"""One pair of services for every test that does it no harm; the others start their own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.card import Card
from tests.contract.services import (
    Pair,
    Predictor,
    Transformer,
    write_config,
    write_weights,
    write_weights_with_maps,
)
from tests.contract.slices import slice_png


@pytest.fixture(scope="session", autouse=True)
def no_loop_left_over() -> None:
    """Keep pytest-asyncio from making a loop that it never closes."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Predictor and transformer, ready, on free ports; the network has no activation maps."""
    folder = tmp_path_factory.mktemp("pair")
    yield from running(folder, *write_weights(folder / "models"))


@pytest.fixture(scope="session")
def explaining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """As `pair`, with a network that has activation maps."""
    folder = tmp_path_factory.mktemp("explaining")
    yield from running(folder, *write_weights_with_maps(folder / "models"))


def running(folder: Path, weights: Path, card: Card) -> Iterator[Pair]:
    """Both services until the caller is done; they end in good order."""
    config = write_config(folder / "config.yaml")
    predictor = Predictor(weights, config, folder / "predictor.log")
    transformer = Transformer(config, folder, predictor.http_address, predictor.grpc_address)
    predictor.start()
    transformer.start()
    try:
        predictor.wait_ready()
        transformer.wait_ready()
        yield Pair(predictor, transformer, card, weights)
    finally:
        statuses = [transformer.stop(), predictor.stop()]
    assert statuses == [0, 0]


@pytest.fixture
def rest(pair: Pair) -> Iterator[httpx.Client]:
    """A plain HTTP client of the shared transformer."""
    with pair.transformer.client() as client:
        yield client


@pytest.fixture(scope="session")
def slices() -> list[bytes]:
    """PNG files of different slices."""
    return [slice_png(seed) for seed in range(12)]


@pytest.fixture
def slice_file(tmp_path: Path, slices: list[bytes]) -> Path:
    path = tmp_path / "slice.png"
    path.write_bytes(slices[0])
    return path
