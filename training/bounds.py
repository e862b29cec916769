"""The bounds of the gate that come from what held-out slices were answered."""

import numpy as np
import numpy.typing as npt

from training.measures import margins
from training.outcomes import AS_IS, Outcomes
from training.pictures import NORMAL
from transformer.prediction import calibrated

# Shares of the held-out slices that a bound turns away, each by itself.
UNCERTAIN = 0.10
FAR = 0.01


def fit_margin(outcomes: Outcomes, temperature: float) -> float:
    """The margin that turns the most uncertain of the slices away that are not called normal.

    What is called normal is never accepted, so it does not count.
    """
    plain = outcomes.of(AS_IS)
    found = margins(calibrated(plain.logits, temperature))[plain.logits.argmax(1) != NORMAL]
    return float(np.quantile(found, UNCERTAIN)) if len(found) else 0.0


def fit_feature_distance(relative: npt.ArrayLike, spread: float) -> float:
    """The distance beyond which a slice lies far from all that the network was trained on.

    Slices that a network was trained on lie closer to each other than new ones do. How much closer
    is what the networks of the folds tell: the bound lets all but a few of their held-out slices
    pass.

    Args:
        relative: distances [N] of held-out slices, each in spreads of its fold's network.
        spread: of the shipped network.
    """
    return float(np.quantile(np.asarray(relative, np.float64), 1 - FAR) * spread)
