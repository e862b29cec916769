"""What the dashboard shows: questions that somebody asks of the service, and their queries."""

from dataclasses import dataclass, field

ANY = 'namespace="$namespace"'
TRANSFORMER = f'{ANY}, component="transformer"'
PREDICTOR = f'{ANY}, component="predictor"'
PODS = f'{ANY}, component=~"transformer|predictor"'
RATE = "[$__rate_interval]"
HALF_AND_TAIL = {0.5: "p50", 0.99: "p99"}
SPREAD = {0.1: "p10", 0.5: "median", 0.9: "p90"}


@dataclass(frozen=True)
class Panel:
    """One question. `queries`: PromQL by legend; `unit` and `kind` are Grafana's words."""

    title: str
    what: str
    unit: str
    queries: dict[str, str] = field(default_factory=dict)
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False


def stat(title: str, what: str, unit: str, query: str, legend: str = "") -> Panel:
    """A single number, six to a line."""
    return Panel(title, what, unit, {legend: query}, kind="stat", width=4)


def rate(metric: str, selector: str, by: str) -> str:
    """A counter's increase in a second, over all replicas, apart by the labels `by`."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}{RATE}))"


def mean(metric: str, selector: str, by: str) -> str:
    """The mean of a histogram's observations, likewise."""
    return f"{rate(f'{metric}_sum', selector, by)} / ({rate(f'{metric}_count', selector, by)} > 0)"


def quantiles(metric: str, shares: dict[float, str], by: str = "", tag: str = "") -> dict[str, str]:
    """Quantiles of a histogram of the transformer, by legend."""
    kept = ", ".join(filter(None, ["le", by]))
    legend = f"{tag}{{{{{by}}}}} " if by else tag
    counts = rate(f"{metric}_bucket", TRANSFORMER, kept)
    return {f"{legend}{name}": f"histogram_quantile({q}, {counts})" for q, name in shares.items()}


HTTP, GRPC = "http_requests_total", "ctscan_grpc_requests_total"
STAGES = "ctscan_stage_seconds"
FEEDBACK = "ctscan_feedback_total"
AGREED = f'{FEEDBACK}{{{TRANSFORMER}, agreement="correct"}}[1d]'
CORRECTIONS = f"{FEEDBACK}{{{TRANSFORMER}}}[1d]"

ROWS: dict[str, list[Panel]] = {
    "Now": [
        stat(
            "Would a prediction succeed",
            "Whether a predictor says that it would answer.",
            "bool_yes_no",
            f"max(ctscan_predictor_ready{{{TRANSFORMER}}})",
        ),
        stat(
            "Replicas",
            "Pods that Prometheus reaches.",
            "none",
            f"sum by (component) (up{{{PODS}}})",
            "{{component}}",
        ),
        stat(
            "Requests",
            "Requests that ask for work, over REST and gRPC.",
            "reqps",
            f"ctscan:requests:rate5m{{{ANY}}}",
        ),
        stat(
            "Failing",
            "Share of these that fail for a reason of ours.",
            "percentunit",
            f"ctscan:request_errors:ratio_rate5m{{{ANY}}}",
        ),
        stat(
            "p99 of /predict",
            "One call in a hundred takes longer.",
            "s",
            f"ctscan:predict_seconds:p99_5m{{{ANY}}}",
        ),
        stat(
            "Feedback outlives its pod",
            "No: corrections lie on a volume that goes with the pod.",
            "bool_yes_no",
            f"min(ctscan_feedback_durable{{{TRANSFORMER}}})",
        ),
    ],
    "Requests": [
        Panel(
            "Requests by route",
            "What clients ask for; gRPC by its method.",
            "reqps",
            {
                "{{handler}}": rate(HTTP, TRANSFORMER, "handler"),
                "gRPC {{method}}": rate(GRPC, TRANSFORMER, "method"),
            },
        ),
        Panel(
            "Errors by route",
            "4xx is the client's, 5xx ours; gRPC by its code.",
            "reqps",
            {
                "{{handler}} {{status}}": rate(
                    HTTP, f'{TRANSFORMER}, status=~"4xx|5xx"', "handler, status"
                ),
                "gRPC {{method}} {{code}}": rate(
                    GRPC, f'{TRANSFORMER}, code!="OK"', "method, code"
                ),
            },
        ),
        Panel(
            "Time by route",
            "The median and the slowest hundredth.",
            "s",
            {
                **quantiles("http_request_duration_seconds", HALF_AND_TAIL, "handler"),
                **quantiles(
                    "ctscan_grpc_request_duration_seconds", HALF_AND_TAIL, "method", "gRPC "
                ),
            },
        ),
    ],
    "Queue and batches": [
        Panel(
            "Rows waiting and in flight",
            "As they are at each scrape: a burst between two of them is not seen.",
            "short",
            {"{{component}}": f"sum by (component) (ctscan_queue_rows{{{ANY}}})"},
        ),
        Panel(
            "Requests waiting on average",
            "Seconds waited in a second. Autoscaling on the queue goes by the transformer's.",
            "short",
            {"{{component}}": rate(f"{STAGES}_sum", f'{ANY}, stage="queue"', "component")},
        ),
        Panel(
            "Not run, by reason",
            "queue_full, no_time and deadline: too few replicas. bytes: too many large bodies at a "
            "time. departed: the client left. no_predictor: "
            "none answered. Calls that were tried again found another predictor, or none.",
            "reqps",
            {
                "{{component}} {{reason}}": rate("ctscan_shed_total", ANY, "component, reason"),
                "calls tried again": rate(
                    "ctscan_predictor_retries_total", TRANSFORMER, "component"
                ),
            },
        ),
        Panel(
            "Rows in a batch",
            "How well requests share calls (transformer) and forward passes (predictor).",
            "short",
            {"{{component}}": mean("ctscan_batch_rows", ANY, "component")},
        ),
        Panel(
            "Time by stage",
            "Mean time in each stage. transfer holds the predictor's queue and compute.",
            "s",
            {"{{component}} {{stage}}": mean(STAGES, ANY, "component, stage")},
        ),
        Panel(
            "Batches under way",
            "In a predictor, in the mean; predictor.in_flight is the most: two on a CPU.",
            "short",
            {"{{pod}}": rate(f"{STAGES}_sum", f'{PREDICTOR}, stage="compute"', "pod")},
        ),
    ],
    "What is predicted": [
        Panel(
            "Predictions by class",
            "Predictions in a second.",
            "cps",
            {"{{pred_class}}": rate("ctscan_predictions_total", TRANSFORMER, "pred_class")},
            stacked=True,
        ),
        Panel(
            "Class mix, last day",
            "Share of each class in a day, and how much of it moved since the week before.",
            "percentunit",
            {
                "{{pred_class}}": f"ctscan:class_share:1d{{{ANY}}}",
                "moved": f"ctscan:class_mix_shift:1d{{{ANY}}}",
            },
        ),
        Panel(
            "Decisions",
            "How much of what is predicted is accepted, and how much a person should look at.",
            "cps",
            {"{{decision}}": rate("ctscan_decisions_total", TRANSFORMER, "decision")},
            stacked=True,
        ),
        Panel(
            "Reasons not to accept",
            "One prediction may have several; docs/api.md says what each means.",
            "cps",
            {"{{reason}}": rate("ctscan_gate_reasons_total", TRANSFORMER, "reason")},
        ),
        Panel(
            "Confidence",
            "Probability of the predicted class.",
            "percentunit",
            quantiles("ctscan_confidence", SPREAD),
        ),
        Panel(
            "Grey values of the input: mean",
            "Quantiles of the images' mean grey value, 0 to 255.",
            "short",
            quantiles("ctscan_input_grey_mean", SPREAD),
        ),
        Panel(
            "Grey values of the input: spread",
            "Quantiles of the images' standard deviation.",
            "short",
            quantiles("ctscan_input_grey_std", SPREAD),
        ),
        Panel(
            "Explanations by class",
            "Explanations in a second.",
            "cps",
            {
                "{{explained_class}}": rate(
                    "ctscan_explanations_total", TRANSFORMER, "explained_class"
                )
            },
            stacked=True,
        ),
    ],
    "Feedback and drift log": [
        Panel(
            "Corrections, last day",
            "By class and agreement.",
            "short",
            {
                "{{label}} {{agreement}}": f"sum by (label, agreement) (increase({CORRECTIONS}))",
            },
            stacked=True,
        ),
        Panel(
            "Corrections that agree, last day",
            "Share of all. People send what they doubt: this is no accuracy.",
            "percentunit",
            {"agree": f"sum(increase({AGREED})) / (sum(increase({CORRECTIONS})) > 0)"},
        ),
        Panel(
            "Lost",
            "Corrections that the folder did not take, and drift rows that were not written.",
            "cps",
            {
                "corrections {{pod}}": rate("ctscan_feedback_failed_total", TRANSFORMER, "pod"),
                "drift rows {{pod}}": rate("ctscan_drift_dropped_total", TRANSFORMER, "pod"),
            },
        ),
    ],
    "Replicas": [
        Panel(
            "Weights in use",
            "One row a predictor; all should name one version.",
            "none",
            {"": f"ctscan_model_info{{{PREDICTOR}}}"},
            kind="table",
        ),
        Panel(
            "Memory",
            "Resident memory of each pod.",
            "bytes",
            {"{{pod}}": f"sum by (pod) (process_rss_bytes{{{PODS}}})"},
        ),
        Panel(
            "CPU",
            "Cores in use in each pod.",
            "short",
            {"{{pod}}": rate("process_cpu_seconds_total", PODS, "pod")},
        ),
    ],
}
