"""Which of many outcomes the service would accept: its gate, for rows that were scored before."""

from typing import Protocol

import numpy as np

from training.cue_swaps import NORMAL
from training.measures import Flags, Floats
from training.outcomes import Outcomes


class Bounds(Protocol):
    """What of a card's gate speaks of an answer; what speaks of the image lies in `reasons`."""

    @property
    def margin(self) -> float:
        """The least lead of the best class over the second, in probability."""

    @property
    def feature_distance(self) -> float | None:
        """The greatest distance to the training features; None: it is not looked at."""


def accepts(bounds: Bounds, shares: Floats, outcomes: Outcomes) -> Flags:
    """Whether each row [N] is accepted, from its calibrated probabilities [N,classes].

    A row whose distance is no number is not held against it: fold networks may have no features
    to compare with.
    """
    ordered = np.sort(shares, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] >= bounds.margin
    plain = (outcomes.reasons == "") & (outcomes.logits.argmax(1) != NORMAL)
    if bounds.feature_distance is not None:
        plain &= ~(outcomes.distance > bounds.feature_distance)
    found: Flags = clear & plain
    return found
