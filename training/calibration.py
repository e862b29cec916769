"""The temperature: one number that makes the probabilities mean what they say."""

import numpy as np
import numpy.typing as npt

from transformer.prediction import calibrated

# Where the best temperature lies outside, the data do not tell it: all answers are right, say.
LEAST, GREATEST = 0.05, 20.0
# Each halves the interval in the logarithm: 60 leave nothing that a float could show.
HALVINGS = 60


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The temperature with the least negative log-likelihood of the labels.

    The likelihood is convex in the temperature's inverse, so its slope has one zero; it is found
    by halving. Guo et al. 2017, arXiv:1706.04599, section 4.2.

    Args:
        logits: float [N,classes]; of slices that the network was not trained on.
        labels: int [N], the index of the right class.

    Returns:
        A number between `LEAST` and `GREATEST`.

    Raises:
        ValueError: no rows, shapes that do not fit, or a logit that is no number.
    """
    rows, right = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if rows.ndim != 2 or not len(rows) or right.shape != rows.shape[:1]:
        raise ValueError(
            f"logits are {list(rows.shape)} and labels {list(right.shape)}: "
            "expected [N,classes] and [N] with N of at least 1"
        )
    if not np.isfinite(rows).all():
        raise ValueError("logits hold values that are no numbers: nothing can be fitted to them")
    of_label = rows[np.arange(len(rows)), right]

    def too_sharp(temperature: float) -> bool:
        """Whether a higher temperature is likelier: the mean logit expected exceeds the label's."""
        expected = (calibrated(rows, temperature) * rows).sum(1)
        return bool(expected.mean() > of_label.mean())

    low, high = np.log(LEAST), np.log(GREATEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if too_sharp(float(np.exp(middle))):
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))
