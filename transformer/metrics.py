"""The transformer's metrics; a new one is one line here and one where it is observed."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.card import CLASSES
from serving.metrics import BatchMetrics, Stages
from transformer.gate import DECISIONS, REASONS

GREY = (0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 255)
SHARES = (0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class TransformerMetrics:
    """All metrics that the transformer adds to those of HTTP and process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.stages = Stages(registry)
        self.batches = BatchMetrics(registry, self.stages)
        self.prediction_error = Counter(
            "prediction_error", "Corrections that say a prediction was wrong.", registry=registry
        )
        self.predictions = Counter(
            "ctscan_predictions_total", "Predictions by class.", ["pred_class"], registry=registry
        )
        self.decisions = Counter(
            "ctscan_decisions_total", "Predictions by decision.", ["decision"], registry=registry
        )
        self.gate_reasons = Counter(
            "ctscan_gate_reasons_total",
            "Predictions by reason not to accept them; one may have several.",
            ["reason"],
            registry=registry,
        )
        self.explanations = Counter(
            "ctscan_explanations_total",
            "Explanations by the class that was explained.",
            ["explained_class"],
            registry=registry,
        )
        self.confidence = Histogram(
            "ctscan_confidence",
            "Probability of the predicted class.",
            buckets=SHARES,
            registry=registry,
        )
        self.grey_mean = Histogram(
            "ctscan_input_grey_mean", "Mean grey value (0-255).", buckets=GREY, registry=registry
        )
        self.grey_std = Histogram(
            "ctscan_input_grey_std",
            "Standard deviation of the grey values.",
            buckets=GREY,
            registry=registry,
        )
        self.feedback = Counter(
            "ctscan_feedback_total",
            "Corrections stored, by class and agreement (correct, wrong).",
            ["label", "agreement"],
            registry=registry,
        )
        self.feedback_failed = Counter(
            "ctscan_feedback_failed_total",
            "Corrections that the feedback folder did not take.",
            registry=registry,
        )
        self.feedback_durable = Gauge(
            "ctscan_feedback_durable",
            "Whether corrections outlive this container: 1 or 0.",
            registry=registry,
        )
        self.drift_dropped = Counter(
            "ctscan_drift_dropped_total", "Drift rows that were not written.", registry=registry
        )
        self.predictor_ready = Gauge(
            "ctscan_predictor_ready",
            "1 while a predictor says that it would answer, else 0.",
            registry=registry,
        )
        self.call_retries = Counter(
            "ctscan_predictor_retries_total",
            "Calls to the predictor that were tried again.",
            registry=registry,
        )
        # A series that first appears at 1 has no increase that a rule could see.
        for name in CLASSES:
            self.predictions.labels(name)
            self.explanations.labels(name)
            for agreement in ("correct", "wrong"):
                self.feedback.labels(name, agreement)
        for decision in DECISIONS:
            self.decisions.labels(decision)
        for reason in REASONS:
            self.gate_reasons.labels(reason)
