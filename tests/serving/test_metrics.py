from unittest.mock import Mock

import httpx
import psutil
import pytest
from fastapi import FastAPI
from kserve.errors import ModelNotFound
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from serving import errors
from serving.byte_budget import ByteBudget
from serving.http_door import install_http_door
from serving.kserve.statuses import SDK_ERRORS, translate
from serving.metrics import SECONDS, BatchMetrics, Stages, expose, watch_process
from serving.settings import Limits


def test_a_stage_is_observed_once_even_where_it_fails() -> None:
    registry = CollectorRegistry()
    stages = Stages(registry)
    with stages.stage("decode"):
        pass
    with pytest.raises(ZeroDivisionError), stages.stage("decode"):
        raise ZeroDivisionError
    stages.observe("queue", 0.25)
    value = registry.get_sample_value
    assert value("ctscan_stage_seconds_count", {"stage": "decode"}) == 2
    assert value("ctscan_stage_seconds_sum", {"stage": "queue"}) == 0.25
    assert value("ctscan_stage_seconds_bucket", {"stage": "queue", "le": "0.25"}) == 1
    assert value("ctscan_stage_seconds_bucket", {"stage": "queue", "le": "0.1"}) == 0


def test_buckets_reach_from_below_a_millisecond_to_the_default_deadline() -> None:
    assert list(SECONDS) == sorted(SECONDS)
    assert SECONDS[0] < 0.001
    assert SECONDS[-1] == Limits().request_timeout_s


def test_batches_are_counted_in_rows_and_refusals_by_reason() -> None:
    registry = CollectorRegistry()
    metrics = BatchMetrics(registry, Stages(registry))
    metrics.batch(32)
    metrics.queued(5)
    metrics.waited(0.5)
    metrics.shed("queue_full")
    value = registry.get_sample_value
    assert value("ctscan_batch_rows_bucket", {"le": "32.0"}) == 1
    assert value("ctscan_batch_rows_bucket", {"le": "16.0"}) == 0
    assert value("ctscan_queue_rows") == 5
    assert value("ctscan_stage_seconds_sum", {"stage": "queue"}) == 0.5
    assert value("ctscan_shed_total", {"reason": "queue_full"}) == 1
    assert value("ctscan_shed_total", {"reason": "deadline"}) == 0


def test_the_old_gauges_keep_their_names_and_are_read_when_scraped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = CollectorRegistry()
    watch_process(registry)
    values = {family.name: family.samples[0].value for family in registry.collect()}
    assert set(values) == {"system_cpu_percent", "system_memory_percent", "process_rss_bytes"}
    assert 0 < values["system_memory_percent"] < 100
    assert values["process_rss_bytes"] > 1_000_000
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _: Mock(rss=123_456_789))
    assert registry.get_sample_value("process_rss_bytes") == 123_456_789


async def test_http_metrics_have_the_names_and_labels_of_the_old_script() -> None:
    registry = CollectorRegistry()
    app = FastAPI()

    @app.post("/predict")
    async def predict() -> None:
        raise errors.Overloaded("full")

    @app.get("/things/{name}")
    async def thing(name: str) -> str:
        return name

    expose(app, registry)
    install_http_door(
        app, Limits(), translate, SDK_ERRORS, ByteBudget(Limits().bodies_bytes, print)
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.post("/predict")
        await client.get("/things/secret")
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    counted = "http_requests_total"
    predict_labels = (("handler", "/predict"), ("method", "POST"), ("status", "4xx"))
    thing_labels = (("handler", "/things/{name}"), ("method", "GET"), ("status", "2xx"))
    assert samples[counted, predict_labels] == 1
    assert samples[counted, thing_labels] == 1
    timed = "http_request_duration_seconds_count"
    assert samples[timed, (("handler", "/predict"), ("method", "POST"))] == 1
    assert "secret" not in answer.text
    # The old script's buckets are still there, among finer ones.
    buckets = {
        dict(labels)["le"]
        for name, labels in samples
        if name == "http_request_duration_seconds_bucket"
    }
    assert buckets >= {"0.1", "0.5", "1.0", "0.005", "30.0", "+Inf"}


async def test_a_body_that_is_refused_for_its_size_is_counted_too() -> None:
    registry = CollectorRegistry()
    app = FastAPI()

    @app.post("/predict")
    async def predict(body: dict[str, str]) -> None: ...

    expose(app, registry)
    install_http_door(
        app, Limits(body_bytes=10), translate, SDK_ERRORS, ByteBudget(Limits().bodies_bytes, print)
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post("/predict", json={"a": "much too long"})).status_code == 413
    labels = {"handler": "/predict", "method": "POST", "status": "4xx"}
    assert registry.get_sample_value("http_requests_total", labels) == 1


async def test_an_unknown_model_is_counted_as_the_clients_mistake() -> None:
    registry = CollectorRegistry()
    app = FastAPI()

    @app.get("/v2/models/{name}")
    async def model(name: str) -> None:
        raise ModelNotFound(name)

    expose(app, registry)
    install_http_door(
        app, Limits(), translate, SDK_ERRORS, ByteBudget(Limits().bodies_bytes, print)
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/v2/models/none")).status_code == 404
    labels = {"handler": "/v2/models/{name}", "method": "GET", "status": "4xx"}
    assert registry.get_sample_value("http_requests_total", labels) == 1
