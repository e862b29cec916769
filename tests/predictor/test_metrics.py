from prometheus_client import CollectorRegistry

from predictor.metrics import PredictorMetrics


def test_stages_batches_and_the_model_are_in_one_registry() -> None:
    registry = CollectorRegistry()
    metrics = PredictorMetrics(registry)
    metrics.model.info({"version": "0f3a", "precision": "bf16"})
    metrics.stages.observe("compute", 0.25)
    metrics.batches.batch(3)
    metrics.batches.waited(0.5)

    assert registry.get_sample_value("ctscan_model_info", {"version": "0f3a", "precision": "bf16"})
    for stage, seconds in (("compute", 0.25), ("queue", 0.5)):
        assert registry.get_sample_value("ctscan_stage_seconds_sum", {"stage": stage}) == seconds
    assert registry.get_sample_value("ctscan_batch_rows_sum") == 3
