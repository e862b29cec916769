"""What a network said of pictures that it had not seen: the raw material of every figure."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# The variant of a picture that nothing was done to.
AS_IS = "as_is"

Texts = npt.NDArray[np.str_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

TYPES: dict[str, Any] = {
    "picture": np.str_,
    "label": np.int64,
    "fold": np.int64,
    "variant": np.str_,
    "logits": np.float32,
    "distance": np.float32,
    "reasons": np.str_,
}


# What numpy raises for a file of another kind, an array by itself among them.
NO_ARCHIVE = (OSError, EOFError, TypeError, AttributeError, zipfile.BadZipFile)


class OutcomesError(ValueError):
    """A file that holds no outcomes; the text is one clear line."""


@dataclass(frozen=True)
class Outcomes:
    """N answers, each to one picture in one variant.

    `picture` [N] is the digest of the source pixels, `label` [N] the index of its class, `fold` [N]
    the fold that it lies in (0 where there are none), `variant` [N] what was done to it, `logits`
    [N,classes] the raw answer, `distance` [N] how far from the training features it lies (NaN where
    the network does not say) and `reasons` [N] what the input gate objects to, joined by commas.
    """

    picture: Texts
    label: Ints
    fold: Ints
    variant: Texts
    logits: Floats
    distance: Floats
    reasons: Texts

    def __post_init__(self) -> None:
        for item in fields(self):
            values = np.asarray(getattr(self, item.name), TYPES[item.name])
            if len(values) != len(self.picture):
                raise OutcomesError(
                    f"{item.name} has {len(values)} rows, expected {len(self.picture)}"
                )
            object.__setattr__(self, item.name, values)
        if self.logits.ndim != 2:
            raise OutcomesError(f"logits are {list(self.logits.shape)}, expected [N,classes]")

    def __len__(self) -> int:
        return len(self.picture)

    def where(self, chosen: Flags) -> "Outcomes":
        """The rows that a mask [N] marks."""
        return Outcomes(*(getattr(self, item.name)[chosen] for item in fields(self)))

    def of(self, variant: str) -> "Outcomes":
        """The rows of one variant."""
        return self.where(self.variant == variant)

    def variants(self) -> list[str]:
        """The names of the variants, in the order in which they first occur."""
        return list(dict.fromkeys(self.variant.tolist()))

    def save(self, path: Path) -> None:
        """Write a compressed .npz."""
        with path.open("wb") as file:
            np.savez_compressed(file, **{i.name: getattr(self, i.name) for i in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Outcomes":
        """Read what `save` wrote.

        Raises:
            OutcomesError: the file is missing or holds something else.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return cls(*(stored[item.name] for item in fields(cls)))
        except FileNotFoundError as error:
            raise OutcomesError(f"{path} does not exist: run make evaluate first") from error
        except (*NO_ARCHIVE, ValueError, KeyError) as error:
            raise OutcomesError(f"{path} holds no outcomes: run make evaluate anew") from error


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """All rows of several outcomes, in order; at least one part is needed."""
    return Outcomes(
        *(np.concatenate([getattr(part, i.name) for part in parts]) for i in fields(Outcomes))
    )
