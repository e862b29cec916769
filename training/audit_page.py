"""The page of an audit, in Markdown."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from training.duplicates import ALIKE, COPY, members
from training.findings import Findings
from training.giveaways import KIND, column
from training.markdown import percent, table
from training.samples import Place, Unreadable

# Longer lists are cut on the page; files.csv has everything.
LONGEST_LIST = 10
MOST_NAMES = 4
GREY_FEATURES = ("mean", "std", "p01", "p50", "p99")

METHOD = f"""## How it was measured

Files are read as the service reads them: 8-bit RGB, alpha dropped. *Distinct*: equal size and
pixels after decoding count once. *Copy*: likeness of at least {COPY}; *lookalike*: of at least
{ALIKE}, often the same slice in another crop or a neighbouring slice of the same patient. Likeness
is the median correlation of 4 x 4 tiles of a grey thumbnail (64 x 64). It ignores size, brightness,
contrast and strokes; a crop of more than 1 % hides a copy, though not always a lookalike. Groups
chain: where A is like B and B like C, all three are one group.

AUC and nearest neighbours count a picture once for each split and class. AUC is the probability
that a file of the class has the higher value, ties one half; that of *file kind* uses the class's
share of each kind and is fitted to the files it is told for.
"""


def page(name: str, findings: Findings, unreadable: Sequence[Unreadable]) -> str:
    """All sections, from what stands out to how it was measured."""
    sections = (
        _summary(name, findings, unreadable),
        _files(findings),
        _unreadable(unreadable),
        _across(findings),
        _listed(findings),
        _giveaways(findings),
        _guesses(findings),
        _grey_levels(findings),
    )
    return "\n".join(line for section in sections for line in section) + "\n" + METHOD


def _summary(name: str, findings: Findings, unreadable: Sequence[Unreadable]) -> Iterator[str]:
    groups, total = findings.groups, len(findings.samples)
    yield from (f"# Audit of {name}", "")
    refused = len(unreadable)
    yield f"- Files: {total + refused}, of which the service would refuse {refused}."
    equal, copies, alike = (len(set(kind)) for kind in (groups.equal, groups.copies, groups.alike))
    yield f"- Distinct pictures: {equal}; without copies {copies}; without lookalikes {alike}."
    for first, second in combinations(findings.splits, 2):
        equal, copies, alike = findings.shared(first, second)
        yield (
            f"- Files of {second} that are also in {first}: {equal}; with copies {copies}; "
            f"with lookalikes {alike}."
        )
    equal, copies = (len(findings.conflicts(kind)) for kind in (groups.equal, groups.copies))
    yield f"- Pictures under several classes: {equal}; with copies {copies}."
    best = findings.strongest()
    if best:
        yield f"- {best.feature} alone tells {best.target} in {best.split}: AUC {_auc(best.auc)}."
    yield ""


def _files(findings: Findings) -> Iterator[str]:
    yield from ("## Files", "", "Sizes in pixels: least / median / greatest.", "")
    rows = []
    for split in findings.splits:
        for label in (*findings.classes, None):
            at = findings.of(split, label)
            groups = findings.groups
            counts = [len(set(part[at])) for part in (groups.equal, groups.copies, groups.alike)]
            if at:
                rows.append((split, label or "**all**", len(at), *counts, *_sizes(findings, at)))
    distinct = ("distinct", "without copies", "without lookalikes")
    yield from table(("split", "class", "files", *distinct, "height", "width"), rows)
    kinds = Counter((s.kind, s.place.split, s.place.label) for s in findings.samples)
    head = ("kind of file", "split", "class", "files")
    yield from table(head, [(*key, count) for key, count in sorted(kinds.items())])


def _sizes(findings: Findings, at: list[int]) -> Iterator[str]:
    for name in ("height", "width"):
        values = column([findings.samples[index] for index in at], name)
        yield " / ".join(f"{value:.0f}" for value in np.percentile(values, (0, 50, 100)))


def _unreadable(unreadable: Sequence[Unreadable]) -> Iterator[str]:
    if unreadable:
        yield from ("## Files that the service would refuse", "")
        rows = [
            (refused.place.index, _name(refused.place), refused.reason) for refused in unreadable
        ]
        yield from table(("index", "file", "why"), rows)


def _across(findings: Findings) -> Iterator[str]:
    yield from ("## Duplicates", "", "![likeness](likeness.png)", "")
    rows = [
        (second, first, *findings.shared(first, second))
        for first, second in combinations(findings.splits, 2)
    ]
    if rows:
        head = ("files of", "that are also in", "equal pixels", "with copies", "with lookalikes")
        yield from table(head, rows)


def _listed(findings: Findings) -> Iterator[str]:
    """Groups of files, by what is wrong with them; a group is a line."""
    groups = findings.groups
    conflicts = findings.conflicts(groups.copies)
    known = {at for group in conflicts for at in group}
    further = [group for group in findings.conflicts(groups.alike) if not known & {*group}]
    lists = {
        "Conflicting labels: equal pixels and copies": conflicts,
        "Conflicting labels: further lookalikes": further,
        "Copies across splits": findings.across(groups.copies),
        "Copies, largest groups first": members(groups.copies),
    }
    for title, found in lists.items():
        yield from (f"### {title}: {len(found)}", "")
        yield from (f"- {_names(findings, group)}" for group in found[:LONGEST_LIST])
        if len(found) > LONGEST_LIST:
            yield f"- and {len(found) - LONGEST_LIST} more, see files.csv"
        if found:
            yield ""


def _giveaways(findings: Findings) -> Iterator[str]:
    yield from ("## What one number tells", "", "![AUC](auc.png)", "")
    best = findings.strongest()
    if best and best.feature != KIND:
        yield from ("![the strongest](strongest.png)", "")
    values: dict[tuple[str, str], list[str]] = {}
    for giveaway in findings.giveaways:
        key = (giveaway.target, giveaway.feature)
        values.setdefault(key, []).append(_auc(giveaway.auc))
    head = ("class", "number", *(f"AUC {split}" for split in findings.splits))
    yield from table(head, [(*key, *cells) for key, cells in values.items()])


def _guesses(findings: Findings) -> Iterator[str]:
    yield from ("## What the nearest neighbour tells", "")
    yield "Share of right classes by 1-NN, and for each class; *strangers*: no lookalike is asked."
    yield ""
    head = ("near in", "from", "to", "asked", "right", *findings.classes)
    rows = []
    for guess in findings.guesses:
        answer = guess.neighbours
        shares = [percent(share) for share in (answer.right, *answer.recall)]
        source = guess.reference + (", strangers" if guess.strangers else "")
        rows.append((guess.features, source, guess.split, answer.asked, *shares))
    yield from table(head, rows)


def _grey_levels(findings: Findings) -> Iterator[str]:
    yield from ("## Grey levels", "", "![grey levels](grey_levels.png)", "")
    yield from (
        "Mean over the distinct pictures; in the figure, peaks at both ends may be cut.",
        "",
    )
    rows = []
    for split in findings.splits:
        for label in findings.classes:
            chosen = findings.distinct_of(split, label)
            if chosen:
                means = [f"{column(chosen, name).mean():.1f}" for name in GREY_FEATURES]
                rows.append((split, label, *means))
    yield from table(("split", "class", *GREY_FEATURES), rows)


def _names(findings: Findings, group: Sequence[int]) -> str:
    """The first members of a group, those of other splits and classes before mere copies."""
    places = [findings.samples[at].place for at in group]
    kinds: dict[tuple[str, str], Place] = {}
    for place in places:
        kinds.setdefault((place.split, place.label), place)
    first = list(kinds.values())
    ordered = first + [place for place in places if place not in first]
    rest = f" and {len(places) - MOST_NAMES} more" if len(places) > MOST_NAMES else ""
    return " = ".join(_name(place) for place in ordered[:MOST_NAMES]) + rest


def _name(place: Place) -> str:
    return f"`{place.split}/{place.label}/{place.path.name}`"


def _auc(value: float) -> str:
    """How well it tells, from 0.5 to 1, and in which direction."""
    if math.isnan(value):
        return "-"
    return f"{value:.3f} higher" if value >= 0.5 else f"{1 - value:.3f} lower"
