"""A slice without its lungs, or with nothing else: what is left to tell cancer from normal?

Where cancers and normals are told apart without a lung in sight, the model reads the source.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from training.lungs import between_air_and_tissue, find_lungs

Blanking = Callable[[Image.Image], Image.Image | None]

# For all but the lungs: the same in every picture, so that the filling says nothing of the source.
NEUTRAL_GREY = 128


def without_lungs(image: Image.Image) -> Image.Image | None:
    """The lungs filled with the picture's own soft tissue; None where no lung is found."""
    return _filled(image, find_lungs(image))


def without_chest(image: Image.Image) -> Image.Image | None:
    """Everything between the outer borders of the lungs filled: no tumour there can be left."""
    return _filled(image, find_lungs(image, together=True))


def only_lungs(image: Image.Image) -> Image.Image | None:
    """The lungs on a grey that is the same in every picture; None where no lung is found."""
    mask = find_lungs(image)
    if mask is None:
        return None
    sheet = Image.new("RGB", image.size, (NEUTRAL_GREY,) * 3)
    sheet.paste(image, mask=mask)
    return sheet


BLANKINGS: dict[str, Blanking] = {
    "lungs_blanked": without_lungs,
    "chest_blanked": without_chest,
    "only_lungs": only_lungs,
}


def _filled(image: Image.Image, mask: Image.Image | None) -> Image.Image | None:
    if mask is None:
        return None
    grey = np.asarray(image.convert("L"))
    tissue = int(np.median(grey[grey > between_air_and_tissue(grey)]))
    copy = image.copy()
    copy.paste((tissue,) * 3, mask=mask)
    return copy
