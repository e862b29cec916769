"""`make bench`: the service, the bare work and what else could be run, side by side in one run.

Writes `docs/benchmarks.md`, the raw figures beside it and the README's few; with `--quick` it only
prints.
"""

import argparse
import json
import os
import signal
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ctscan.pair import THREADS_SLEEP

REPORT = Path("docs/benchmarks.md")
RAW = Path("docs/benchmarks.json")
README = Path("README.md")
BEGIN, END = "<!-- numbers -->\n", "<!-- end -->"


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, prints, writes no page")
    parser.add_argument("--raw", type=Path, help="write the raw figures there, and nothing else")
    arguments = parser.parse_args()
    quick = arguments.quick
    # So that the servers that it started end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # OpenMP reads its environment when torch is loaded: only from here on, as the services have it.
    os.environ.update(THREADS_SLEEP)
    from benchmarks.report import page, readme_rows, summary
    from benchmarks.spread import spreads

    facts, rounds = measure(quick=quick)
    figures = spreads(rounds)
    raw = json.dumps({"facts": facts, "rounds": rounds}, indent=1) + "\n"
    if arguments.raw:
        arguments.raw.write_text(raw, "utf-8")
    if quick or arguments.raw:
        print(summary(figures))
        return
    REPORT.write_text(page(facts, figures), encoding="utf-8")
    RAW.write_text(raw, "utf-8")
    README.write_text(with_rows(README.read_text("utf-8"), readme_rows(figures)), "utf-8")
    print(REPORT.read_text(encoding="utf-8"))


def measure(*, quick: bool) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Facts about the run, and the figures of each round; the last has what is measured once."""
    import torch

    from benchmarks.added_latency import measure_added_latency
    from benchmarks.alternatives import OTHERS, SCRIPT, start
    from benchmarks.bare import measure_bare
    from benchmarks.decode_path import measure_decode_path
    from benchmarks.machine import machine
    from benchmarks.others import Others
    from benchmarks.plain_predictor import plain_predictor
    from benchmarks.predictor_alone import measure_predictor
    from benchmarks.pressure import measure_bulk, measure_open_loop, measure_overload
    from benchmarks.scene import open_scene
    from benchmarks.servers import resident_mb
    from benchmarks.side_by_side import measure_side_by_side, with_bound
    from benchmarks.start_up import measure_start_up
    from benchmarks.transformer_alone import measure_transformer, transformer_alone

    facts: dict[str, Any] = {**machine(), "torch": torch.__version__}
    rounds: list[dict[str, float]] = []
    seconds, count = (2.5, 1) if quick else (6.0, 3)
    with open_scene() as scene, ExitStack() as stack:
        facts |= {
            "rounds": count,
            "image_kb": statistics.median(len(image) for image in scene.images) / 1000,
            "engine": scene.bare.engine.way.name,
            "precisions": dict(scene.bare.engine.card.precisions),
        }
        once = {
            "ready.service_s": scene.service.ready_s,
            "rss.service_mb": resident_mb(*scene.service.pids.values()),
        }
        alone = stack.enter_context(transformer_alone(scene))
        plain = stack.enter_context(plain_predictor(scene))
        peers = {
            peer: stack.enter_context(start(peer, scene.weights, scene.folder))
            for peer in ((SCRIPT,) if quick else (SCRIPT, *OTHERS))
        }
        for peer, started in peers.items():
            once |= {f"ready.{peer.key}_s": started.ready_s, f"rss.{peer.key}_mb": started.rss_mb}
        for number in range(count):
            say(f"round {number + 1} of {count}")
            others = Others()
            figures = measure_bare(scene.bare, scene.images, scene.cores, seconds / 3)
            figures |= measure_side_by_side(scene, peers, seconds)
            figures |= measure_added_latency(scene, alone.passing_on_url, 3)
            figures |= measure_predictor(scene, plain, seconds / 2)
            figures |= measure_decode_path(scene, seconds)
            figures |= measure_transformer(scene, alone, seconds)
            figures |= measure_open_loop(scene, seconds)
            figures |= measure_overload(scene, seconds)
            figures |= measure_bulk(scene, seconds)
            # Read first: servers that the next line starts and ends would count as others.
            figures["others.cores"] = others.cores()
            figures |= measure_start_up(scene)
            rounds.append(with_bound(figures))
    return facts, [*rounds, once]


def with_rows(text: str, rows: str) -> str:
    """The README with these rows in place of those it has."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{rows}\n{END}{after}"


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
