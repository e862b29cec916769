"""Which of many outcomes the service would accept: its gate, for rows that were scored before."""

from serving.card import Gate
from training.measures import Flags, Floats, margins
from training.outcomes import Outcomes
from training.pictures import NORMAL


def accepts(gate: Gate, shares: Floats, outcomes: Outcomes) -> Flags:
    """Whether each row [N] is accepted, from its calibrated probabilities [N,classes].

    A row whose distance is no number is not held against it: fold networks may have no features
    to compare with.
    """
    clear = margins(shares) >= gate.margin
    plain = (outcomes.reasons == "") & (outcomes.logits.argmax(1) != NORMAL)
    if gate.feature_distance is not None:
        plain &= ~(outcomes.distance > gate.feature_distance)
    found: Flags = clear & plain
    return found
