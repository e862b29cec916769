"""The bounds of the gate that come from what held-out slices were answered."""

import numpy as np
import numpy.typing as npt

from serving.card import CLASSES
from training.calibration import probabilities
from training.outcomes import AS_IS, Outcomes

# Shares of the held-out slices that a bound turns away, each by itself.
UNCERTAIN = 0.10
FAR = 0.01

NORMAL = CLASSES.index("normal")
Floats = npt.NDArray[np.float64]


def margins(logits: npt.ArrayLike, temperature: float) -> Floats:
    """By how much the best class's probability exceeds the second's: [N] of logits [N,classes]."""
    ordered = np.sort(probabilities(logits, temperature), axis=1)
    found: Floats = ordered[:, -1] - ordered[:, -2]
    return found


def fit_margin(outcomes: Outcomes, temperature: float) -> float:
    """The margin that turns the most uncertain of the slices away that are not called normal.

    What is called normal is never accepted, so it does not count.
    """
    plain = outcomes.of(AS_IS)
    found = margins(plain.logits, temperature)[plain.logits.argmax(1) != NORMAL]
    return float(np.quantile(found, UNCERTAIN)) if len(found) else 0.0


def fit_feature_distance(
    own: npt.NDArray[np.float32], folds: list[tuple[npt.NDArray[np.float32], Floats]]
) -> float:
    """The distance beyond which a slice lies far from all that the network was trained on.

    Slices that a network was trained on lie closer to each other than new ones do. The networks of
    the folds tell how much closer: the bound is the median of their distances among each other,
    times the factor that lets all but a few of the held-out slices pass.

    Args:
        own: each training slice of the shipped network to its nearest others.
        folds: the same for each fold's network, and the distances of its held-out slices.
    """
    factors = [np.quantile(held, 1 - FAR) / np.median(among) for among, held in folds]
    return float(np.median(own) * np.mean(factors))
