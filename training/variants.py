"""What the variants of a picture are called on pages."""

from training.outcomes import AS_IS
from training.scoring import SWAP

WORDS = {
    AS_IS: "as it is",
    "gamma_0.8": "gamma 0.8 (brighter)",
    "gamma_1.25": "gamma 1.25 (darker)",
    "contrast_0.8": "contrast x 0.8",
    "contrast_1.2": "contrast x 1.2",
    "jpeg_80": "JPEG, quality 80",
    "crop_5": "5 % cut off at each side",
    "crop_10": "10 % cut off at each side",
    "pad_10": "10 % of black at each side",
    "pad_25": "25 % of black at each side",
    "half_size": "half the size",
    "half_detail": "half the detail at the old size",
    "table": "the table in view below the body",
    "window_bright": "a brighter window (greys 0-190 to 0-255)",
    "window_wide": "a wider window (greys 0-320)",
    "window_narrow": "a narrower window (greys 35-215)",
    "shifted": "table, wider margins and gamma 0.9 at once",
    SWAP + "size": "number of pixels",
    SWAP + "stretch": "height and width, proportions given up",
    SWAP + "contrast": "mean and standard deviation of the greys",
    SWAP + "rendering": "greys of air and of tissue, each matched",
    SWAP + "profile": "the whole histogram, background and all",
    SWAP + "border": "margins around the body",
    SWAP + "everything": "rendering, border and size at once",
    "lungs_blanked": "the lungs filled with soft tissue",
    "chest_blanked": "all between the lungs' outer borders filled",
    "only_lungs": "nothing but the lungs",
}


def words(variant: str) -> str:
    """A variant in words; its own name where it has none."""
    return WORDS.get(variant, variant)
