"""The predictor's metrics; a new one is one line here and one where it is observed."""

from prometheus_client import CollectorRegistry, Info

from serving.metrics import BatchMetrics, Stages


class PredictorMetrics:
    """All metrics that the predictor adds to those of HTTP and process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.stages = Stages(registry)
        self.batches = BatchMetrics(registry, self.stages)
        self.model = Info(
            "ctscan_model",
            "The weights in use: version, architecture, device, precision and engine.",
            registry=registry,
        )
