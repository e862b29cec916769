"""Why a class: how much each cell of a slice adds to the logit, exactly and in the same pass.

The network ends in average pooling and one linear layer, so a class's logit is the mean of its
class activation map plus a constant, the bias. The parts of that mean are what is shown. Source:
Zhou et al. 2016, arXiv:1512.04150.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serving.card import CLASSES
from serving.errors import FieldError, InvalidField
from transformer.prediction import Prediction

METHOD = "class activation map"


@dataclass(frozen=True, kw_only=True)
class Explanation(Prediction):
    """A prediction, and what in the slice spoke for or against one class.

    It shows what the model went by, not where a lesion is. Research use only.
    """

    explained_class: Annotated[
        str,
        Field(
            description="The class explained: the one asked for, else `pred_class`.",
            examples=["normal"],
        ),
    ]
    method: Annotated[str, Field(description="How it was worked out.", examples=[METHOD])]
    grid: Annotated[
        list[list[float]],
        Field(
            description=(
                "Rows from top to bottom of cells from left to right, spread evenly over the whole "
                "image: what each cell adds to the class's logit, negative if it speaks against."
            ),
            examples=[[[0.25, -0.125], [1.5, 0.0]]],
        ),
    ]
    logit: Annotated[
        float,
        Field(
            description=(
                "The class's score before temperature and softmax: the sum of `grid` plus the "
                "class's bias, which is the same for every image."
            ),
            examples=[1.75],
        ),
    ]


def explain_from(
    prediction: Prediction,
    logits: NDArray[np.float32],
    cam: NDArray[np.float32],
    wanted: str | None,
) -> Explanation:
    """What logits [classes] and maps [classes, h, w] of one row say of `wanted`, or of its class.

    A cell's part of the mean of map c is cam_c / (h * w).
    """
    explained = wanted or prediction.pred_class
    index = CLASSES.index(explained)
    cells = cam[index].astype(np.float64)
    return Explanation(
        **vars(prediction),
        explained_class=explained,
        method=METHOD,
        grid=(cells / cells.size).tolist(),
        logit=float(logits[index]),
    )


def require_class(value: object, field: str) -> str | None:
    """The class that a request names, or None if it names none.

    Raises:
        InvalidField: there is no such class; `field` names the place.
    """
    if value is None or (isinstance(value, str) and value in CLASSES):
        return value
    expected = f"expected one of {', '.join(CLASSES)}"
    raise InvalidField(f"{field}: {expected}", fields=(FieldError(field, expected),))
