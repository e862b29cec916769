"""Metrics that both services have: stages, batches, HTTP and the process itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import psutil
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_fastapi_instrumentator import Instrumentator

# From a queue that is empty to a request at its deadline.
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Of a whole request, by route; the three that the old script had are among them.
REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SHED_REASONS = ("queue_full", "no_time", "bytes", "deadline", "departed", "no_predictor")


class Stages:
    """One histogram for every stage: decode, preprocess, queue, transfer, compute, draw."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "ctscan_stage_seconds",
            "Time in one stage of the path, in seconds.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as one observation of the stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.observe(name, time.perf_counter() - start)

    def observe(self, name: str, seconds: float) -> None:
        """Add a duration that was measured elsewhere."""
        self._seconds.labels(name).observe(seconds)


class BatchMetrics:
    """What the batcher reports, at the moment it decides."""

    def __init__(self, registry: CollectorRegistry, stages: Stages) -> None:
        self._stages = stages
        self._batch_rows = Histogram(
            "ctscan_batch_rows", "Rows in a batch.", buckets=ROWS, registry=registry
        )
        self._queue_rows = Gauge(
            "ctscan_queue_rows", "Rows waiting and in flight.", registry=registry
        )
        self._shed = Counter(
            "ctscan_shed_total",
            f"Requests not run, by reason: {', '.join(SHED_REASONS)}.",
            ["reason"],
            registry=registry,
        )
        # A series that first appears at 1 has no increase that a rule could see.
        for reason in SHED_REASONS:
            self._shed.labels(reason)

    def queued(self, rows: int) -> None:
        self._queue_rows.set(rows)

    def batch(self, rows: int) -> None:
        self._batch_rows.observe(rows)

    def waited(self, seconds: float) -> None:
        self._stages.observe("queue", seconds)

    def shed(self, reason: str) -> None:
        self._shed.labels(reason).inc()


class GrpcMetrics:
    """What the gRPC door answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ctscan_grpc_requests_total",
            "gRPC requests by method and status code.",
            ["method", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "ctscan_grpc_request_duration_seconds",
            "Duration of a gRPC request, by method.",
            ["method"],
            buckets=REQUEST_SECONDS,
            registry=registry,
        )

    def answered(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        self._requests.labels(method, code.name).inc()
        self._seconds.labels(method).observe(seconds)


def watch_process(registry: CollectorRegistry) -> None:
    """The old script's gauges of machine and process, read when they are scraped."""
    process = psutil.Process()
    psutil.cpu_percent()  # the first value of psutil is meaningless: it has nothing to compare with
    gauges: dict[str, tuple[str, Callable[[], float]]] = {
        "system_cpu_percent": ("System CPU utilization percent", psutil.cpu_percent),
        "system_memory_percent": (
            "System memory utilization percent",
            lambda: psutil.virtual_memory().percent,
        ),
        "process_rss_bytes": (
            "Process resident set size in bytes",
            lambda: process.memory_info().rss,
        ),
    }
    for name, (documentation, read) in gauges.items():
        Gauge(name, documentation, registry=registry).set_function(read)


def expose(app: FastAPI, registry: CollectorRegistry) -> None:
    """HTTP metrics under the names of prometheus-fastapi-instrumentator, and `GET /metrics`."""
    Instrumentator(registry=registry).instrument(app, latency_lowr_buckets=REQUEST_SECONDS)

    @app.get("/metrics", tags=["operation"], response_class=Response, summary="Prometheus text")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
