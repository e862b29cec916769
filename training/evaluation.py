"""The figures that pages and cards tell, computed from outcomes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from serving.card import CLASSES
from training.blanking import BLANKINGS
from training.calibration import fit_temperature
from training.cue_swaps import CUE_SWAPS
from training.measures import (
    Flags,
    Floats,
    Ints,
    Reliability,
    RiskCoverage,
    Share,
    balanced_accuracy,
    brier,
    confusion,
    reliability,
    risk_coverage,
    share,
)
from training.outcomes import AS_IS, Outcomes, joined
from training.pictures import NORMAL
from training.renderings import RENDERINGS, SHIFTS
from training.scoring import SWAP
from training.shortcuts import auc
from transformer.prediction import calibrated

# From calibrated probabilities [N,classes] and outcomes to which of them are accepted [N].
Gate = Callable[[Floats, Outcomes], Flags]


class EvaluationError(ValueError):
    """Outcomes that nothing can be said of; the text is one clear line."""


@dataclass(frozen=True)
class Score:
    """Figures of one variant of `total` pictures.

    `right` counts all; `cancers` those cancers that got their class, of four; `three` those that
    would, were the answer normal not there. `confidence` and `ece` speak of all.
    """

    variant: str
    total: int
    right: Share
    cancers: Share
    three: Share
    confidence: float
    brier: float
    ece: float

    @property
    def gap(self) -> float:
        """How far the mean confidence is from the accuracy; above 0: too sure."""
        return self.confidence - self.right.value


@dataclass(frozen=True)
class Sides:
    """Cancer against normal in one variant: who is on the right side, and AUC of p(normal).

    `cancers` and `normals` count all; `cancers_stay` and `normals_stay` those alone that are on the
    right side as they are, so that what the variant costs stands apart from what was lost before.
    """

    variant: str
    cancers: Share
    normals: Share
    cancers_stay: Share
    normals_stay: Share
    auc: float

    @property
    def balanced(self) -> float:
        """The mean of the two shares: one half for an answer that is always the same."""
        return (self.cancers.value + self.normals.value) / 2


@dataclass(frozen=True)
class Acceptance:
    """What a gate lets through of the slices that are not called normal."""

    accepted: Share
    wrong: Share
    wrong_of_all: Share


@dataclass(frozen=True)
class Evaluation:
    """Outcomes read at a temperature; every figure is computed when it is asked for."""

    outcomes: Outcomes
    temperature: float
    gate: Gate | None = None

    def __post_init__(self) -> None:
        if not len(self.as_is):
            raise EvaluationError("the outcomes hold no picture as it is: run make evaluate anew")

    @cached_property
    def as_is(self) -> Outcomes:
        """The pictures that nothing was done to."""
        return self.outcomes.of(AS_IS)

    @cached_property
    def score(self) -> Score:
        """Figures of the pictures as they are."""
        return self._score(AS_IS, self.as_is)

    @cached_property
    def renderings(self) -> list[Score]:
        """Figures of each rendering that was scored."""
        return self._scores(RENDERINGS)

    @cached_property
    def shifts(self) -> list[Score]:
        """Figures of each shift that was scored."""
        return self._scores(SHIFTS)

    @cached_property
    def swaps(self) -> list[Sides]:
        """Who stays on their side as it is, and under each cue swap."""
        return self._sides([AS_IS, *(SWAP + name for name in CUE_SWAPS)])

    @cached_property
    def blanked(self) -> list[Sides]:
        """Who stays on their side as it is, and with the lungs or all else blanked."""
        return self._sides([AS_IS, *BLANKINGS])

    @cached_property
    def confusion(self) -> Ints:
        """Counts [label,answer] of the pictures as they are."""
        return confusion(self.as_is.label, self._answers(self.as_is), len(CLASSES))

    @cached_property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes."""
        return balanced_accuracy(self.confusion)

    @cached_property
    def mean_loss(self) -> float:
        """Mean over the renderings of the share of cancers lost against as is; NaN without any."""
        losses = [self.loss(score) for score in self.renderings]
        return float(np.mean(losses)) if losses else float("nan")

    @cached_property
    def worst(self) -> Score | None:
        """The rendering that costs most."""
        return max(self.renderings, key=self.loss, default=None)

    @cached_property
    def by_fold(self) -> dict[int, Share]:
        """Cancers right in each fold, as they are."""
        return {
            int(fold): self._score(AS_IS, self.as_is.where(self.as_is.fold == fold)).cancers
            for fold in np.unique(self.as_is.fold)
        }

    @cached_property
    def estimate(self) -> tuple[float, float, float]:
        """Share of cancers right to expect on unseen slices, and an interval around it.

        The mean over the pictures as they are and shifted as slices from elsewhere are; from the
        lower end of the worst of them to the upper end of the best.
        """
        shares = [score.cancers for score in (self.score, *self.shifts)]
        ends = [share.interval for share in shares]
        middle = float(np.mean([share.value for share in shares]))
        return middle, min(low for low, _ in ends), max(high for _, high in ends)

    @cached_property
    def cross_fitted(self) -> Score | None:
        """As it is, each fold read at the temperature of the other folds; None for one fold.

        The card's temperature was fitted to all folds: this says what that flatters.
        """
        folds = np.unique(self.as_is.fold)
        if len(folds) < 2:
            return None
        parts = []
        for fold in folds:
            # Shifted too, as the card's temperature was fitted.
            fitting = np.isin(self.outcomes.variant, [AS_IS, *SHIFTS])
            others = self.outcomes.where(fitting & (self.outcomes.fold != fold))
            part = self.as_is.where(self.as_is.fold == fold)
            scale = self.temperature / fit_temperature(others.logits, others.label)
            parts.append(replace(part, logits=part.logits * scale))
        return self._score("cross-fitted", joined(parts))

    def loss(self, score: Score) -> float:
        """Share of cancers lost against the pictures as they are."""
        return self.score.cancers.value - score.cancers.value

    def reliability(self, variants: Sequence[str]) -> Reliability:
        """Confidence against being right over several variants."""
        chosen = self.outcomes.where(np.isin(self.outcomes.variant, variants))
        return reliability(self._confidence(chosen), self._right(chosen))

    def risk_coverage(self, variants: Sequence[str]) -> RiskCoverage:
        """Of the slices not called normal, answered in order of confidence."""
        chosen = self.outcomes.where(np.isin(self.outcomes.variant, variants))
        chosen = chosen.where(self._answers(chosen) != NORMAL)
        return risk_coverage(self._confidence(chosen), self._right(chosen))

    def acceptance(self, variants: Sequence[str]) -> Acceptance | None:
        """What the gate lets through; None where there is no gate."""
        if self.gate is None:
            return None
        chosen = self.outcomes.where(np.isin(self.outcomes.variant, variants))
        chosen = chosen.where(self._answers(chosen) != NORMAL)
        accepted = self.gate(self._shares(chosen), chosen)
        wrong = ~self._right(chosen)
        return Acceptance(share(accepted), share(wrong[accepted]), share(wrong))

    def figures(self) -> dict[str, Any]:
        """The main figures as plain values, for a card and for comparing seeds."""
        score = self.score
        middle, low, high = self.estimate
        return {
            "pictures": score.total,
            "accuracy": _plain(score.right),
            "cancers_right": _plain(score.cancers),
            "three_class": _plain(score.three),
            "balanced_accuracy": round(self.balanced_accuracy, 4),
            "brier": round(score.brier, 4),
            "ece": round(score.ece, 4),
            "mean_confidence": round(score.confidence, 4),
            "mean_loss_over_renderings": round(self.mean_loss, 4),
            "worst_rendering": None if self.worst is None else self.worst.variant,
            "worst_loss": None if self.worst is None else round(self.loss(self.worst), 4),
            "estimate_on_unseen_cancers": [round(value, 4) for value in (middle, low, high)],
        }

    def _scores(self, names: Iterable[str]) -> list[Score]:
        parts = [(name, self.outcomes.of(name)) for name in names]
        return [self._score(name, part) for name, part in parts if len(part)]

    def _score(self, name: str, chosen: Outcomes) -> Score:
        right, confidence = self._right(chosen), self._confidence(chosen)
        ill = chosen.label != NORMAL
        # Normal is the last class: without its column the cancers' classes keep their index.
        three = chosen.logits[:, :NORMAL].argmax(1) == chosen.label
        return Score(
            variant=name,
            total=len(chosen),
            right=share(right),
            cancers=share(right[ill]),
            three=share(three[ill]),
            confidence=float(confidence.mean()),
            brier=brier(self._shares(chosen), chosen.label),
            ece=reliability(confidence, right).ece,
        )

    def _sides(self, names: Iterable[str]) -> list[Sides]:
        before = self.as_is.picture[self._on_their_side(self.as_is)]
        sides = []
        for name in names:
            chosen = self.outcomes.of(name)
            if not len(chosen):
                continue
            normal, kept = chosen.label == NORMAL, self._on_their_side(chosen)
            stays = np.isin(chosen.picture, before)
            sides.append(
                Sides(
                    variant=name,
                    cancers=share(kept[~normal]),
                    normals=share(kept[normal]),
                    cancers_stay=share(kept[~normal & stays]),
                    normals_stay=share(kept[normal & stays]),
                    auc=auc(self._shares(chosen)[:, NORMAL], normal),
                )
            )
        return sides

    def _on_their_side(self, chosen: Outcomes) -> Flags:
        side: Flags = (self._answers(chosen) == NORMAL) == (chosen.label == NORMAL)
        return side

    def _shares(self, chosen: Outcomes) -> Floats:
        return calibrated(chosen.logits, self.temperature)

    def _confidence(self, chosen: Outcomes) -> Floats:
        best: Floats = self._shares(chosen).max(1)
        return best

    def _answers(self, chosen: Outcomes) -> Ints:
        best: Ints = chosen.logits.argmax(1)
        return best

    def _right(self, chosen: Outcomes) -> Flags:
        right: Flags = self._answers(chosen) == chosen.label
        return right


def _plain(found: Share) -> list[float]:
    """Share, lower and upper end, and of how many."""
    return [*(round(value, 4) for value in (found.value, *found.interval)), found.total]
