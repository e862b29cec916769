"""The model card in Markdown: what the weights are, what they are not, and how that is known.

Sentences that depend on a figure are chosen by it. What was not measured is said to be missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.card import Card
from training.evaluation import Evaluation
from training.evaluation_page import points, sections
from training.markdown import table

# Of the card's notes those that have a section of their own, or are too long for a table.
ELSEWHERE = ("figures", "seeds", "intruders", "use", "provisional")

USE = """\
For research on how such a model is served, watched and explained, and for teaching. Not a medical
device: not for diagnosis, triage, screening or any other decision about a person.

- It knows four names and gives one of them to every picture: a benign nodule, a pneumonia, a
  metastasis or a small-cell cancer gets one too.
- **Histology from one CT slice is clinically doubtful.** Tissue is told from a biopsy. The labels
  are the names of folders of a public data set; nobody here has checked them.
- The data say nothing of age, sex, scanner, contrast agent or country, so nothing is known of how
  answers differ by them.
- DICOM files are read at a window that resembles the training pictures; no labelled DICOM was
  tested.
"""

NORMAL = """\
In the data, `normal` comes from other sources than the cancers: other sites, other windows,
other sizes, some with strokes drawn on them. There is no normal slice of the cancers' source. So
`normal` means *looks like the pictures that this data set calls normal*, and nothing here can show
that it means a healthy lung. The gate never accepts it. What the model sees without a lung is
[measured below](#without-the-lungs).
"""

DATA = """\
- **No patient ids.** Slices of one patient may lie in several folds; duplicates and lookalikes are
  kept together, and folds are blocks of the running number, which lessens that and cannot exclude
  it. The intervals take slices for independent and are therefore optimistic.
- **Class mix.** Probabilities assume the mix of classes in these data. Where cancers are rarer, or
  one kind of them is, they are wrong.
- **Duplicates and strokes.** Many files are copies of others, some under another class, some with
  strokes drawn on them: `make audit` lists them.
- **The augmentations were chosen knowing how other copies of these data differ**: the table in
  view, wider margins, other crops and other windows. The figures under such shifts are not those of
  a choice made blind.
- **The recipe was chosen by pictures that are scored here**: by two of the folds, among several
  recipes, which flatters its figures a little ([training](training.md#what-was-tried)).
"""


@dataclass(frozen=True)
class Extras:
    """What is measured elsewhere. `seeds` maps a run's name to the figures that it wrote."""

    seeds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def model_card(card: Card, evaluation: Evaluation, extras: Extras, figures: str) -> str:
    """The page; `figures` is the folder of the images as the page sees it, ending in a slash."""
    parts = (
        _head(card),
        ("## Use", "", USE),
        ("## What `normal` means", "", NORMAL),
        _data(card, evaluation),
        _estimate(evaluation),
        sections(evaluation, figures),
        _intruders(card.about.get("intruders")),
        _seeds(extras.seeds),
        _again(),
    )
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _head(card: Card) -> Iterator[str]:
    yield from ("# Model card", "", "Research use only, not a medical device.", "")
    yield (
        "`make evaluate` writes this page; no number on it is written by hand. What the service "
        "itself reads stands in [models/model.yaml](../models/model.yaml)."
    )
    yield ""
    if card.provisional:
        yield f"**Provisional.** {card.about.get('provisional', 'Better weights will follow.')}"
        yield ""
    precisions = ", ".join(f"{name} ({moved:g})" for name, moved in card.precisions.items())
    rows = [
        ("architecture", f"`{card.architecture}`"),
        ("input", f"{card.input.height} x {card.input.width} x {card.input.channels}"),
        ("CT window for DICOM", _window(card)),
        ("temperature", f"{card.temperature:.3f}"),
        ("precisions, greatest difference in probability", precisions),
        ("version", f"`{card.version}`"),
        ("weights, SHA-256", f"`{card.weights_sha256}`"),
    ]
    yield from table(("what", "value"), rows)


def _window(card: Card) -> str:
    window = card.input.window
    return "none" if window is None else f"{window.center:g} / {window.width:g} HU"


def _data(card: Card, evaluation: Evaluation) -> Iterator[str]:
    yield from ("## Data and training", "")
    rows = [(key.replace("_", " "), _note(value)) for key, value in card.about.items()]
    rows = [row for key, row in zip(card.about, rows, strict=True) if key not in ELSEWHERE]
    if rows:
        yield from table(("what", "value"), rows)
    counts = evaluation.confusion.sum(1)
    mix = ", ".join(f"{name} {count}" for name, count in zip(card.classes, counts, strict=True))
    yield from (f"Scored below, each picture once: {mix}.", "", DATA)


def _note(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_note(part)}" for key, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_note(part) for part in value)
    return str(value)


def _estimate(evaluation: Evaluation) -> Iterator[str]:
    middle, low, high = (f"{100 * value:.1f} %" for value in evaluation.estimate)
    yield from ("## What to expect on unseen slices", "")
    yield (
        f"**{middle} of cancers called by their class, between {low} and {high}**, on slices of "
        "the same kind from another copy of the data. It is the mean over the pictures as they "
        "are and under the shifts below, each scored by the network of a fold that had not seen "
        "it; the ends are the lowest and the highest of their 95 % intervals. The shipped weights "
        "come from the same recipe. On slices of another source nothing is known."
    )
    yield ""


def _intruders(found: Any) -> Iterator[str]:
    yield from ("## What is no chest CT", "")
    if not isinstance(found, Mapping) or not found:
        yield from ("Not measured for these weights: the card holds no `about.intruders`.", "")
        return
    columns = list(dict.fromkeys(key for row in found.values() for key in row))
    rows = [(kind, *(_note(row.get(key, "-")) for key in columns)) for kind, row in found.items()]
    yield from table(("kind", *(column.replace("_", " ") for column in columns)), rows)


def _seeds(seeds: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from ("## The same recipe from other seeds", "")
    if not seeds:
        yield (
            "Not measured yet: docs/evaluation.md says how runs of other seeds are made and named."
        )
        yield ""
        return
    names = {
        "cancers_right": "cancers right",
        "accuracy": "all right",
        "ece": "ECE",
    }
    rows = [(name, *(_figure(run, key) for key in names)) for name, run in seeds.items()]
    yield "One fold's network, trained from each seed and scored on the same held-out pictures."
    yield ""
    yield from table(("run", *names.values()), rows)
    shares = [run["cancers_right"][0] for run in seeds.values()]
    yield (
        f"Spread over {len(seeds)} runs: {points(max(shares) - min(shares))} points of cancers, "
        f"from {100 * min(shares):.1f} % to {100 * max(shares):.1f} %."
    )
    yield ""


def _figure(run: Mapping[str, Any], key: str) -> str:
    value = run.get(key, "-")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{100 * value[0]:.1f} %"
    return str(value)


def _again() -> Iterator[str]:
    yield from ("## How to get these numbers again", "")
    yield from (
        "```sh",
        "make audit DATA=path/to/data                       # the flaws of the data",
        "make train DATA=path/to/data                       # folds, weights and temperature",
        "make evaluate DATA=path/to/data FOLDS=runs/train   # this page and its figures",
        "make evaluate DATA=path/to/other                   # the weights on your own slices",
        "```",
        "",
        "Renderings, cue swaps and blanked lungs are code of their own, which no training ever",
        "uses: `training/renderings.py`, `training/cue_swaps.py`, `training/blanking.py`. Every",
        "answer behind the figures stands in `runs/evaluate/outcomes.npz`.",
    )
