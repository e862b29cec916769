"""An evaluation in Markdown: sections that a report and the model card share."""

import math
from collections.abc import Iterator, Sequence

from serving.card import CLASSES
from training.evaluation import Evaluation, Score, Sides
from training.evaluation_figures import CONFUSION, RELIABILITY, RISK, groups_of
from training.markdown import table
from training.measures import BINS, Share, precision, recall
from training.outcomes import AS_IS
from training.renderings import RENDERINGS, SHIFTS
from training.variants import words

# Cancer against normal above this without a lung in sight: the model reads the source.
READS_SOURCE = 0.9
COVERAGES = (0.5, 0.7, 0.85, 0.95, 1.0)


def report(name: str, evaluation: Evaluation) -> str:
    """The page of an evaluation on one folder."""
    head = [
        f"# Evaluation on {name}",
        "",
        "Research use only, not a medical device.",
        "",
        f"Pictures are read at the card's temperature, {evaluation.temperature:.3f}.",
        "",
    ]
    return "\n".join([*head, *sections(evaluation)]) + "\n"


def sections(evaluation: Evaluation, figures: str = "") -> Iterator[str]:
    """All sections; `figures` is the folder of the images as the page sees it."""
    yield from _overall(evaluation)
    yield from _classes(evaluation, figures)
    yield from _calibration(evaluation, figures)
    yield from _renderings(evaluation)
    yield from _swaps(evaluation)
    yield from _blanked(evaluation)
    yield from _answering(evaluation, figures)


def with_interval(share: Share) -> str:
    """A share in percent, its 95 % interval and of how many."""
    if not share.total:
        return "- (n 0)"
    low, high = share.interval
    return f"{100 * share.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}] (n {share.total})"


def points(difference: float) -> str:
    """A difference of shares in percentage points."""
    return "-" if math.isnan(difference) else f"{100 * difference:.1f}"


def _overall(evaluation: Evaluation) -> Iterator[str]:
    score = evaluation.score
    yield from ("## How often it is right", "")
    yield from (
        "In brackets the 95 % interval (Wilson), as if slices were independent: they are not where",
        "several are of one patient, so the truth is less sure than it looks.",
        "",
    )
    rows = [
        ("cancers called by their class, of four", with_interval(score.cancers)),
        ("cancers, were the answer `normal` not there", with_interval(score.three)),
        ("all four classes", with_interval(score.right)),
        ("mean of the classes' recall", f"{100 * evaluation.balanced_accuracy:.1f} %"),
    ]
    yield from table(("what", "right"), rows)
    if len(evaluation.by_fold) > 1:
        shares = list(evaluation.by_fold.values())
        lowest, highest = (choose(shares, key=_value) for choose in (min, max))
        yield (
            f"The worst of {len(shares)} folds gets {with_interval(lowest)} of its cancers, "
            f"the best {with_interval(highest)}."
        )
        yield ""


def _value(share: Share) -> float:
    return share.value if share.total else 0.0


def _classes(evaluation: Evaluation, figures: str) -> Iterator[str]:
    yield from ("## Class by class", "", f"![confusion]({figures}{CONFUSION})", "")
    counts = evaluation.confusion
    rows = [
        (
            f"`{name}`",
            counts[index].sum(),
            with_interval(recall(counts, index)),
            with_interval(precision(counts, index)),
        )
        for index, name in enumerate(CLASSES)
    ]
    yield from table(("class", "pictures", "recall", "precision"), rows)


def _calibration(evaluation: Evaluation, figures: str) -> Iterator[str]:
    yield from ("## What a probability is worth", "", f"![reliability]({figures}{RELIABILITY})", "")
    scores = [evaluation.score]
    if evaluation.cross_fitted is not None:
        scores.append(evaluation.cross_fitted)
    scores += [score for score in evaluation.shifts if score.variant == "shifted"]
    rows = [
        (
            words(score.variant),
            score.total,
            f"{score.confidence:.3f}",
            f"{score.right.value:.3f}",
            f"{score.gap:+.3f}",
            f"{score.ece:.3f}",
            f"{score.brier:.3f}",
        )
        for score in scores
    ]
    head = ("pictures", "n", "mean confidence", "right", "difference", "ECE", "Brier")
    yield from table(head, rows)
    yield (
        f"ECE: expected calibration error over {BINS} bins of equal width; with few pictures it is "
        "above 0 even where every probability is true. Brier: from 0 to 2."
    )
    if evaluation.cross_fitted is not None:
        yield (
            "Cross-fitted: each fold read at the temperature that the other folds ask for, since "
            "the card's own was fitted to all of them."
        )
    yield ""


def _renderings(evaluation: Evaluation) -> Iterator[str]:
    if not evaluation.renderings and not evaluation.shifts:
        return
    yield from ("## The same slices saved otherwise", "")
    if evaluation.worst is not None:
        worst = evaluation.worst
        yield (
            f"Percentage points of cancers lost against the slices as they are: "
            f"{points(evaluation.mean_loss)} in the mean over {len(evaluation.renderings)} "
            f"renderings, {points(evaluation.loss(worst))} at the worst, {words(worst.variant)}."
        )
        yield ""
    for title, scores in (("rendering", evaluation.renderings), ("shift", evaluation.shifts)):
        head = (title, "cancers right", "lost, points", "all right", "too sure by", "ECE")
        if scores:
            yield from table(head, [_variant_row(evaluation, score) for score in scores])


def _variant_row(evaluation: Evaluation, score: Score) -> Sequence[object]:
    return (
        words(score.variant),
        with_interval(score.cancers),
        points(evaluation.loss(score)),
        f"{100 * score.right.value:.1f} %",
        f"{score.gap:+.3f}",
        f"{score.ece:.3f}",
    )


def _sides_row(sides: Sides) -> Sequence[object]:
    return words(sides.variant), with_interval(sides.cancers), with_interval(sides.normals)


def _swaps(evaluation: Evaluation) -> Iterator[str]:
    if len(evaluation.swaps) < 2:
        return
    yield from ("## In the other source's clothes", "")
    yield (
        "Each cancer takes a cue of a normal slice, each normal one of a cancer, the donor drawn "
        "once for each picture. A model that reads the lung keeps its answer. *Stay* counts those "
        "that are told right as they are: what the cue costs, apart from what was lost before."
    )
    yield ""
    rows = [
        (*_sides_row(sides), with_interval(sides.cancers_stay), with_interval(sides.normals_stay))
        for sides in evaluation.swaps
    ]
    head = ("cue", "cancers not called normal", "normals called so", "cancers stay", "normals stay")
    yield from table(head, rows)


def _blanked(evaluation: Evaluation) -> Iterator[str]:
    if len(evaluation.blanked) < 2:
        return
    yield from ("## Without the lungs", "")
    yield (
        "Lungs are found by grey values; pictures where none is found are left out. AUC: how well "
        "the probability of `normal` tells normals from cancers at any threshold, 0.5 for chance."
    )
    yield ""
    rows = [
        (*_sides_row(sides), f"{100 * sides.balanced:.1f} %", f"{sides.auc:.3f}")
        for sides in evaluation.blanked
    ]
    head = ("what is shown", "cancers not called normal", "normals called so", "mean", "AUC")
    yield from table(head, rows)
    yield from (_verdict(evaluation.blanked), "")


def _verdict(blanked: Sequence[Sides]) -> str:
    """What it means that cancer and normal are told apart with no lung in sight, or are not."""
    hidden = [sides for sides in blanked if sides.variant in ("lungs_blanked", "chest_blanked")]
    auc = max((sides.auc for sides in hidden), default=math.nan)
    balanced = max((sides.balanced for sides in hidden), default=math.nan)
    if math.isnan(auc):
        return "Without pictures of both kinds nothing can be said of what the model reads."
    told = (
        f"at the usual threshold {100 * balanced:.1f} % in the mean, over all an AUC of {auc:.3f}"
    )
    if max(auc, balanced) > READS_SOURCE:
        return (
            f"**The model reads the source.** With no lung to be seen it still tells cancer from "
            f"normal ({told}): it goes by what the two sources of the data differ in. An answer "
            "`normal`, and the absence of one, say little about a lung."
        )
    return (
        f"With no lung to be seen the model tells cancer from normal less well ({told}). What "
        "remains above chance is what the two sources of the data differ in."
    )


def _answering(evaluation: Evaluation, figures: str) -> Iterator[str]:
    yield from ("## When it should not answer", "", f"![risk]({figures}{RISK})", "")
    groups = groups_of(evaluation)
    rows = []
    for coverage in COVERAGES:
        risks = [evaluation.risk_coverage(variants) for variants in groups.values()]
        cells = [f"{100 * risk.at(coverage):.1f} %" if len(risk.risk) else "-" for risk in risks]
        rows.append((f"{coverage:.0%}", *cells))
    yield "Of the slices not called normal, the share that is wrong when only the surest are taken:"
    yield ""
    yield from table(("answered", *(f"wrong, {name}" for name in groups)), rows)
    yield from _gate(evaluation)


def _gate(evaluation: Evaluation) -> Iterator[str]:
    rows = []
    for name, variants in (
        ("as it is", [AS_IS]),
        ("shifts", [*SHIFTS]),
        ("renderings", [*RENDERINGS]),
    ):
        found = evaluation.acceptance(variants)
        if found is not None and found.accepted.total:
            rows.append(
                (
                    name,
                    with_interval(found.accepted),
                    with_interval(found.wrong),
                    with_interval(found.wrong_of_all),
                )
            )
    if rows:
        yield "What the gate accepts of the slices not called normal (`normal` is never accepted):"
        yield ""
        yield from table(("pictures", "accepted", "wrong among these", "wrong of all"), rows)
