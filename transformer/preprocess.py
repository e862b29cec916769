"""One grey or RGB image in, one row of the network's input out. Training calls it too."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from serving.card import InputSpec

RESIZE_KERNELS = {"bilinear-antialias": Image.Resampling.BILINEAR}


def preprocess(image: Image.Image, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Resize an image of mode L or RGB as the card says: uint8 [H, W, C], C-contiguous, C = 1 or 3.

    A network of three channels gets one where R = G = B in every pixel: the predictor repeats it.
    Resizing treats the channels alike, so a grey source stays grey, and what is sent is exactly
    what three channels would have said. Of an RGB source the resized row is compared.
    """
    if spec.channels == 1:
        image = image.convert("L")
    resized = image.resize((spec.width, spec.height), RESIZE_KERNELS[spec.resize])
    row = np.asarray(resized).reshape(spec.height, spec.width, len(resized.getbands()))
    if row.shape[2] == 3 and (row == row[..., :1]).all():
        return np.ascontiguousarray(row[..., :1])
    return row
