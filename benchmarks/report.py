"""The page of a run: the machine, goals and what was measured, and everybody side by side."""

from collections.abc import Mapping, Sequence

from benchmarks.alternatives import OTHERS, SCRIPT
from benchmarks.goals import Figures, measured_goals
from benchmarks.spread import Spread

Facts = Mapping[str, str | float]


def page(facts: Facts, figures: Figures) -> str:
    """All of it, in Markdown."""
    return (
        "# Benchmarks\n\n*Research use only, not a medical device.*\n\n"
        f"{introduction(facts, figures)}\n\n{goals(figures)}\n\n"
        f"## Side by side\n\n{peers(figures)}\n\n{SIDE_BY_SIDE}\n\n"
        f"## Where the time goes\n\n{parts(figures)}\n\n{METHOD}\n"
    )


def introduction(facts: Facts, figures: Figures) -> str:
    return (
        f"Written by `make bench` on {facts['date']}: {facts['cpu']} ({facts['features']}), "
        f"{facts['cores']} cores, {facts['memory_gb']} GB, {facts['system']}, Python "
        f"{facts['python']}, torch {facts['torch']}; load before: {facts['load_before']}. "
        f"A ResNet-18 of random weights, phantoms of {facts['image_kb']:.0f} KB as PNG, 512x512; "
        f"engine: {facts['engine']}. {facts['rounds']} rounds, in each of which everybody has its "
        "turn; a ratio is one of a round; in brackets the least and the greatest. Raw figures: "
        "[benchmarks.json](benchmarks.json).\n\n"
        f"**Bound** of these cores: {figures['bound'].text('{:.0f}')} requests/s. That is cores ÷ "
        f"({figures['bare.prepare_cpu_ms'].text('{:.1f}')} ms of CPU time for decode and resize + "
        f"{figures['bare.engine_cpu_ms'].text('{:.1f}')} ms for the forward pass, at the best "
        "batch size), an image, with no service around them."
    )


def goals(figures: Figures) -> str:
    rows = [goal.row(figures) for goal in measured_goals(figures)]
    return table(("measure", "goal", "measured", "met"), rows)


def peers(figures: Figures) -> str:
    named = {"service": "**this service**", SCRIPT.key: SCRIPT.name}
    named |= {peer.key: peer.name for peer in OTHERS}
    rows = []
    for key, name in named.items():
        for connections in (32, 8, 1):
            start = f"{key}.{connections}"
            if f"{start}.per_second" in figures:
                rows.append(
                    (
                        name,
                        str(connections),
                        figures[f"{start}.per_second"].text("{:.1f}"),
                        figures[f"{start}.p50_ms"].text("{:.0f}"),
                        figures[f"{start}.p99_ms"].text("{:.0f}"),
                        f"{figures[f'{start}.failures'].median:.0f}",
                        _once(figures, f"ready.{key}_s", "{:.1f}"),
                        _once(figures, f"rss.{key}_mb", "{:.0f}"),
                    )
                )
    head = (
        "server",
        "connections",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "not 200",
        "ready s",
        "memory MB",
    )
    return table(head, rows)


def parts(figures: Figures) -> str:
    lines = (
        ("cores that other programs used meanwhile", "others.cores", "{:.2f}"),
        ("one client: `/predict`", "one.served_ms", "{:.1f} ms"),
        ("— decode, statistics and resize alone", "one.prepare_ms", "{:.1f} ms"),
        ("— forward pass alone", "one.forward_ms", "{:.1f} ms"),
        ("— `/predict` after a tenth of a second of rest", "one.rested_ms", "{:.1f} ms"),
        (
            "beside it: two servers that only pass on, HTTP and gRPC",
            "one.passed_on_ms",
            "{:.1f} ms",
        ),
        ("predictor over gRPC ÷ bare engine, batches of 1", "ratio.predictor_1", "{:.2f}"),
        ("beside it: gRPC with nothing but the engine behind it", "ratio.plain_1", "{:.2f}"),
        (
            "32 connections: CPU time of the transformer, a request",
            "service.32.transformer_cpu_ms",
            "{:.1f} ms",
        ),
        (
            "32 connections: CPU time of the predictor, a request",
            "service.32.predictor_cpu_ms",
            "{:.1f} ms",
        ),
        ("32 connections: CPU time of the client, a request", "service.32.client_ms", "{:.2f} ms"),
        (
            "decode path, from file to prediction before any door: images/s",
            "decode_path.per_second",
            "{:.0f}",
        ),
        ("transformer with its doors and gRPC: images/s", "transformer.per_second", "{:.0f}"),
        ("— CPU time, an image", "transformer.cpu_ms", "{:.1f} ms"),
        ("— ÷ bare decode and resize", "ratio.transformer", "{:.2f}"),
        ("70 %, independent clients: p99 ÷ p50", "open.independent.p99_to_p50", "{:.1f}"),
        ("70 %, independent clients: p50", "open.independent.p50_ms", "{:.0f} ms"),
        ("twice the capacity: answered, p99", "overload.p99_ms", "{:.0f} ms"),
        ("twice the capacity: neither 200 nor 429", "overload.neither", "{:.0f}"),
        ("one batch of the largest size", "bulk.bucket_ms", "{:.0f} ms"),
        ("a slice beside 20 files, p99", "bulk.batch_20.p99_ms", "{:.0f} ms"),
        ("a slice beside 64 rows, p99", "bulk.v2_64.p99_ms", "{:.0f} ms"),
    )
    rows = [(text, figures[name].text(form)) for text, name, form in lines if name in figures]
    return table(("measure", "value"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def readme_rows(figures: Figures) -> str:
    """The few of them that stand in the README."""
    lines = (
        (
            "`/predict` of a 160 KB PNG, 32 connections",
            "service.32.per_second",
            "{:.0f} requests/s",
        ),
        ("— of what these cores could do bare", "ratio.bound", "{:.0%}"),
        ("— against the script it replaces", "ratio.script_32", "{:.1f}x"),
        ("— against the best of LitServe, BentoML, KServe", "ratio.best_peer_32", "{:.1f}x"),
        ("one client, p50", "one.served_ms", "{:.0f} ms"),
        ("— beyond decoding, resizing and the forward pass", "one.added_ms", "{:.1f} ms"),
        ("both services started to a prediction that would succeed", "ready.service_s", "{:.1f} s"),
        ("resident memory, transformer", "rss.transformer_mb", "{:.0f} MB"),
        ("resident memory, predictor", "rss.predictor_mb", "{:.0f} MB"),
    )
    return "| | |\n| --- | --- |\n" + "\n".join(
        f"| {text} | {form.format(figures[name].median)} |"
        for text, name, form in lines
        if name in figures
    )


def _once(figures: Figures, name: str, form: str) -> str:
    return form.format(figures[name].median) if name in figures else "-"


SIDE_BY_SIDE = (
    "All run the same weights with the same decoding and resizing. The script and the peers are "
    "what their users run (`benchmarks/peers/`): eager fp32, torch's own choice of threads, "
    "batching on where they have it. Memory is that of all processes of a server. A peer is "
    "stopped while it is not its turn: some poll."
)
METHOD = (
    "The client is one event loop on the same cores. An open loop sends at times fixed "
    "beforehand, and counts an answer's time from when its request was due. "
    "`python -m benchmarks.soak` watches memory for an hour of load."
)


def summary(figures: Mapping[str, Spread]) -> str:
    """What a quick run prints."""
    return "\n\n".join((goals(figures), peers(figures), parts(figures)))
