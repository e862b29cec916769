"""Small phantoms of chest CT, and folders of them as a data set: cancers grey, normals bright."""

from pathlib import Path

import numpy as np
from PIL import Image

from serving.card import CLASSES
from serving.phantom import phantom

HEIGHT, WIDTH = 96, 128


def slice_of(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """One phantom as RGB."""
    return Image.fromarray(phantom(seed, height, width)).convert("RGB")


def bright(image: Image.Image) -> Image.Image:
    """As another source would render it: tissue far brighter, air as it was."""
    return image.point([min(255, round(value * 1.6)) for value in range(256)] * 3)


def plant(folder: Path, each: int = 2) -> None:
    """`each` pictures in every class of `folder/<class>/`; normals have another source."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            image = slice_of(10 * label + index)
            if name == "normal":
                image = bright(image).resize((150, 150))
            image.save(folder / name / f"{index}.png")


def grey(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(image.convert("L"))
