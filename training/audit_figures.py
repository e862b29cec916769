"""The figures of an audit: counts and averages alone, never a picture of the data set."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from training.duplicates import ALIKE, COPY
from training.figures import BarPanel, Line, LinePanel, draw_bars, draw_lines
from training.findings import Findings
from training.giveaways import KIND, column
from training.samples import Sample
from training.shortcuts import Numbers

GREY_BINS = 64
VALUE_BINS = 30
LIKENESS_BINS = 50


def write_figures(findings: Findings, folder: Path) -> None:
    """Write likeness.png, auc.png, grey_levels.png, and strongest.png where there is one."""
    draw_lines([_likeness(findings)]).save(folder / "likeness.png")
    draw_lines(list(_grey_levels(findings))).save(folder / "grey_levels.png")
    draw_bars(list(_aucs(findings))).save(folder / "auc.png")
    best = findings.strongest()
    if best and best.feature != KIND:
        panels = list(_by_class(findings, best.feature))
        draw_lines(panels).save(folder / "strongest.png")


def _likeness(findings: Findings) -> LinePanel:
    edges = np.linspace(0, 1, LIKENESS_BINS + 1)
    counts, _ = np.histogram(findings.pairs.closest.clip(0, 1), edges)
    return LinePanel(
        title="Each file and the one most like it",
        x_label="likeness",
        y_label="files",
        lines=[_steps("files", edges, counts.astype(np.float64))],
        x_range=(0, 1),
        y_top=max(float(counts.max()) * 1.1, 1),
        marks=((ALIKE, "lookalike"), (COPY, "")),
    )


def _grey_levels(findings: Findings) -> Iterator[LinePanel]:
    """Mean histograms; the first and last bin, often far higher, do not set the scale."""
    for split in findings.splits:
        profiles = {
            label: _profile(chosen)
            for label in findings.classes
            if (chosen := findings.distinct_of(split, label))
        }
        edges = np.linspace(0, 256, GREY_BINS + 1)
        top = max(float(profile[1:-1].max()) for profile in profiles.values())
        yield LinePanel(
            title=f"{split}: mean share of pixels by grey value",
            x_label="grey value",
            y_label="% of pixels",
            lines=[_steps(label, edges, profile) for label, profile in profiles.items()],
            x_range=(0, 256),
            y_top=max(top * 1.1, 1e-3),
        )


def _profile(samples: list[Sample]) -> Numbers:
    """Mean histogram of the samples in percent of their pixels, [GREY_BINS]."""
    counts = np.array([sample.statistics.histogram for sample in samples], np.float64)
    shares = counts / counts.sum(1, keepdims=True)
    profile: Numbers = 100 * shares.mean(0).reshape(GREY_BINS, -1).sum(1)
    return profile


def _by_class(findings: Findings, feature: str) -> Iterator[LinePanel]:
    """How one statistic is distributed in each class of each split."""
    values = column(findings.samples, feature)
    edges = np.linspace(values.min(), max(values.max(), values.min() + 1), VALUE_BINS + 1)
    for split in findings.splits:
        lines = []
        for label in findings.classes:
            chosen = findings.distinct_of(split, label)
            counts, _ = np.histogram(column(chosen, feature), edges)
            lines.append(_steps(label, edges, 100 * counts / max(len(chosen), 1)))
        yield LinePanel(
            title=f"{split}: {feature} by class",
            x_label=feature,
            y_label="% of pictures",
            lines=lines,
            x_range=(float(edges[0]), float(edges[-1])),
            y_top=max(max(line.y) for line in lines) * 1.1 or 1,
        )


def _aucs(findings: Findings) -> Iterator[BarPanel]:
    asked = dict.fromkeys((g.split, g.target) for g in findings.giveaways)
    for split, target in asked:
        found = [g for g in findings.giveaways if (g.split, g.target) == (split, target)]
        yield BarPanel(
            title=f"{split}: {target} told from the rest",
            x_label="AUC (0.5: tells nothing; below: lower in this class)",
            names=[giveaway.feature for giveaway in found],
            values=[giveaway.auc for giveaway in found],
            base=0.5,
            x_range=(0, 1),
        )


def _steps(name: str, edges: Numbers, heights: Numbers) -> Line:
    """A histogram's outline."""
    return Line(name, edges.repeat(2)[1:-1].tolist(), heights.repeat(2).tolist())
