"""The engine with no service around it: rows a second by batch size, each way beside the others.

`python -m benchmarks.engine --device cuda` is what to run first where there is a GPU. The ways take
turns, so that all meet the same machine; the best of the rounds counts, as whatever else the
machine does can only take away from one.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctscan.pair import THREADS_SLEEP

Rows = Sequence[NDArray[np.uint8]]
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ARCHITECTURES = ("efficientnet_lite0", "resnet18", "custom_cnn")


def main() -> None:
    """Measure, print the table, and write JSON where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--architecture", default=ARCHITECTURES[0], choices=ARCHITECTURES)
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)), help="rows, by commas")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are CPUs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    figures = measure(
        asked.device,
        asked.architecture,
        [int(rows) for rows in asked.batches.split(",")],
        asked.threads,
        asked.rounds,
    )
    print(table(figures))
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measure(
    device: str,
    architecture: str,
    batches: Sequence[int],
    threads: int = 0,
    rounds: int = 5,
) -> dict[str, Any]:
    """Rows a second of each way by batch size; `fastest` is the best of all ways by batch size."""
    # OpenMP reads its environment when torch is loaded: only from here on, as the services have it.
    os.environ.update(THREADS_SLEEP)
    import torch

    from serving.memory import keep_freed_memory
    from serving.phantom import golden_rows

    keep_freed_memory()
    ways = runners(architecture, device, threads)
    rows = golden_rows(card_of(architecture).input, 32)
    rows = [rows[index % len(rows)] for index in range(max(batches))]
    found: dict[str, dict[int, float]] = {name: {} for name in ways}
    for batch in batches:
        given, best = rows[:batch], dict.fromkeys(ways, float("inf"))
        for run in ways.values():
            run(given)
        for _ in range(rounds):
            for name, run in ways.items():
                start = time.perf_counter()
                run(given)
                best[name] = min(best[name], time.perf_counter() - start)
        for name, seconds in best.items():
            found[name][batch] = batch / seconds
    return {
        "architecture": architecture,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "threads": threads or len(os.sched_getaffinity(0)),
        "rows_per_second": found,
        "fastest": {batch: max(by_size[batch] for by_size in found.values()) for batch in batches},
    }


def card_of(architecture: str) -> Any:
    """The shipped card, for another architecture if that is asked for."""
    from serving.card import read_card

    card = read_card(Path("models/model.yaml"))
    if architecture == card.architecture:
        return card
    return replace(card, architecture=architecture, temperature=1.0, weights_sha256=None)


def runners(architecture: str, device: str, threads: int) -> dict[str, Callable[[Rows], Any]]:
    """What runs rows, by name: torch as one would write it, and the engine in each of its ways.

    Weights are those that are shipped, or random ones.
    """
    import torch

    from predictor.checkpoint import build_network, load_weights
    from predictor.engine import Engine
    from predictor.ways import PLAIN, Way, possible_ways
    from serving.cpus import available_cpus
    from serving.phantom import golden_rows
    from serving.settings import Predictor

    card = card_of(architecture)
    torch.manual_seed(0)
    network = build_network(card).eval().requires_grad_(False)
    if card.weights_sha256 is not None:
        network, _ = load_weights(card, Path("models/model.pt"))
    settings = Predictor(device=device, threads=threads)
    plain = Engine(card, network, settings)
    all_threads = threads or available_cpus()
    mean, std = torch.tensor(card.mean).view(-1, 1, 1), torch.tensor(card.std).view(-1, 1, 1)
    mean, std = mean.to(plain.device), std.to(plain.device)

    def as_written(rows: Rows) -> Any:
        torch.set_num_threads(all_threads)
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(rows)).to(plain.device).permute(0, 3, 1, 2)
            return network((batch.float() / 255 - mean) / std)["logits"].cpu().numpy()

    ways = [PLAIN, *possible_ways(plain.device.type)]
    found: dict[str, Callable[[Rows], Any]] = {"torch as written": as_written}
    rows = golden_rows(card.input, 8)

    def prepared(way: Way) -> Engine:
        engine = Engine(card, network, settings)
        engine.use(way)
        engine.run(rows)
        return engine

    for way in ways:
        try:
            found[way.name] = prepared(way).run
        except Exception as error:  # such as a precision that this machine has no kernels for
            print(f"{way.name} is not possible: {type(error).__name__}")
    return found


def table(figures: dict[str, Any]) -> str:
    """Rows a second, a line for each way."""
    found = figures["rows_per_second"]
    sizes = list(figures["fastest"])
    head = (
        f"{figures['architecture']} on {figures['device']}, {figures['threads']} threads, "
        f"torch {figures['torch']}: rows a second by rows in a batch"
    )
    lines = [f"{'':26}" + "".join(f"{size:>8}" for size in sizes)]
    for name, by_size in found.items():
        lines.append(f"{name:26}" + "".join(f"{by_size[size]:8.1f}" for size in sizes))
    return "\n".join([head, *lines])


if __name__ == "__main__":
    main()
