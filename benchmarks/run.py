"""`make bench`: what the service costs beyond the work itself, measured side by side.

Service and bare work take turns, image by image, so that both meet the same machine. Writes
`docs/benchmarks.md` and the raw figures beside it.
"""

import argparse
import http.client
import io
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load import closed_loop, multipart, post
from ctscan.pair import THREADS_SLEEP, Pair, ready
from ctscan.predict import free_address
from serving.phantom import phantom
from serving.settings import read_settings

REPORT = Path("docs/benchmarks.md")
RAW = Path("docs/benchmarks.json")
IMAGES = 16


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; prints, writes nothing")
    quick = parser.parse_args().quick
    figures = measure(rounds=3 if quick else 9, requests=64 if quick else 320)
    text = report(figures)
    if not quick:
        REPORT.write_text(text, encoding="utf-8")
        RAW.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(text)


def measure(rounds: int, requests: int) -> dict[str, Any]:
    """All figures, by name."""
    images = [png(seed) for seed in range(IMAGES)]
    with TemporaryDirectory() as folder:
        http, grpc = free_address(), free_address()
        environment = {
            **os.environ,
            "HTTP_ADDRESS": http,
            "GRPC_ADDRESS": grpc,
            "FEEDBACK_DIR": f"{folder}/feedback",
            "DRIFT_CURRENT_PATH": f"{folder}/drift.csv",
        }
        figures: dict[str, Any] = {"machine": machine(), "image_kb": size_kb(images)}
        start = time.perf_counter()
        with Pair(environment, http) as pair:
            figures["ready_s"] = ready_times(pair, start)
            figures["rss_mb"] = resident(pair)
            figures["way"], figures["one_client"] = one_client(pair, environment, images, rounds)
            loads = [closed_loop(pair.url, images, 32, requests) for _ in range(rounds)]
            figures["load_32"] = {
                "per_second": statistics.median(load.per_second for load in loads),
                "p50_ms": statistics.median(load.p50_ms for load in loads),
                "p99_ms": statistics.median(load.p99_ms for load in loads),
                "failures": sum(load.failures for load in loads),
                "requests": rounds * requests,
            }
            figures["rss_after_load_mb"] = resident(pair)
    return figures


def ready_times(pair: Pair, start: float) -> dict[str, float]:
    """Seconds from the start of both processes until each answers that it is ready."""
    pair.wait_until(alive, lambda: True)
    transformer = time.perf_counter() - start
    pair.wait_until(ready, lambda: True)
    return {"transformer": transformer, "predictor_and_prediction": time.perf_counter() - start}


def alive(client: httpx.Client) -> bool:
    """Whether the transformer answers at all."""
    return client.get("/livez").status_code == 200


def resident(pair: Pair) -> dict[str, float]:
    """Megabytes (10^6) of resident memory of each process."""
    return {
        name: psutil.Process(child.process.pid).memory_info().rss / 1e6
        for name, child in pair.children.items()
    }


def one_client(
    pair: Pair, environment: dict[str, str], images: Sequence[bytes], rounds: int
) -> tuple[str, dict[str, Any]]:
    """One request at a time against the same work with no service, in turns."""
    # OpenMP reads its environment when torch is loaded: only from here on, as the services have it.
    os.environ.update(THREADS_SLEEP)
    from benchmarks.bare import Bare

    bare = Bare(read_settings(environment))
    client = http.client.HTTPConnection(urlsplit(pair.url).netloc, timeout=60)
    bodies = [multipart(image) for image in images]
    post(client, bodies[0])
    served: list[float] = []
    prepare: list[float] = []
    forward: list[float] = []
    before = working_seconds(pair)
    for _ in range(rounds):
        for image, body in zip(images, bodies, strict=True):
            prepare_s, forward_s = bare.one(image)
            prepare.append(prepare_s * 1000)
            forward.append(forward_s * 1000)
            served.append(post(client, body)[0] * 1000)
    worked = (working_seconds(pair) - before) * 1000 / len(served)
    # Pair by pair, so that what slows the machine down for a while falls on both.
    added = [s - p - f for s, p, f in zip(served, prepare, forward, strict=True)]
    return bare.engine.way.name, {
        "served_ms": spread(served),
        "prepare_ms": spread(prepare),
        "forward_ms": spread(forward),
        "added_ms": spread(added),
        "added_beyond_stages_ms": statistics.mean(served) - worked,
    }


def working_seconds(pair: Pair) -> float:
    """What both services' own timers say of decode, preprocess and compute so far, in seconds."""
    transport = httpx.HTTPTransport(uds=pair.predictor_http.removeprefix("unix:"))
    with httpx.Client(transport=transport, base_url="http://predictor") as predictor:
        pages = (predictor.get("/metrics").text, httpx.get(f"{pair.url}/metrics").text)
    return sum(
        sample.value
        for page in pages
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "ctscan_stage_seconds_sum"
        and sample.labels["stage"] in ("decode", "preprocess", "compute")
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(values, n=4)
    return {"low": low, "median": median, "high": high}


def png(seed: int) -> bytes:
    """A phantom as a PNG of real size."""
    target = io.BytesIO()
    Image.fromarray(phantom(seed)).save(target, "PNG")
    return target.getvalue()


def size_kb(images: Sequence[bytes]) -> float:
    return statistics.median(len(image) for image in images) / 1000


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def cpu_name() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((ln.partition(":")[2].strip() for ln in lines if ln.startswith("model name")), "")


def report(figures: dict[str, Any]) -> str:
    """The page, in Markdown."""
    one, load, host = figures["one_client"], figures["load_32"], figures["machine"]
    rss, ready = figures["rss_mb"], figures["ready_s"]
    rows = (
        ("transformer answers after", f"{ready['transformer']:.1f} s"),
        ("a prediction would succeed after", f"{ready['predictor_and_prediction']:.1f} s"),
        ("resident memory, idle: transformer", f"{rss['transformer']:.0f} MB"),
        ("resident memory, idle: predictor", f"{rss['predictor']:.0f} MB"),
        ("one client: `/predict`, p50", ms(one["served_ms"])),
        ("— decode, statistics and resize alone", ms(one["prepare_ms"])),
        ("— forward pass alone", ms(one["forward_ms"])),
        ("**— added by the service**: difference of each pair", ms(one["added_ms"])),
        (
            "— the same, mean: beyond what its own timers say of that work",
            f"{one['added_beyond_stages_ms']:.1f} ms",
        ),
        ("32 clients: requests/s", f"{load['per_second']:.1f}"),
        (
            "32 clients: p50 / p99",
            f"{load['p50_ms']:.0f} / {load['p99_ms']:.0f} ms",
        ),
        ("32 clients: answers that were not 200", f"{load['failures']} of {load['requests']}"),
    )
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        "# Benchmarks\n\n*Research use only, not a medical device.*\n\n"
        f"Written by `make bench` on {host['date']}: {host['cpu']}, {host['cores']} cores, "
        f"{host['memory_gb']} GB, {host['system']}, Python {host['python']}; load before: "
        f"{host['load_before']}. Images: phantoms of {figures['image_kb']:.0f} KB (median) as PNG, "
        f"512x512. Engine: {figures['way']}. Service and bare work take turns, image "
        "by image, in one run; quartiles in brackets. Raw figures: "
        "[benchmarks.json](benchmarks.json).\n\n"
        f"| measure | value |\n|---|---|\n{table}\n"
    )


def ms(value: dict[str, float]) -> str:
    return f"{value['median']:.1f} ms [{value['low']:.1f}, {value['high']:.1f}]"


if __name__ == "__main__":
    main()
