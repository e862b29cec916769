"""Stored values of a CT slice to Hounsfield units, and those to grey by the card's window.

The window is that of the weights, never the file's own: what a network sees must look like what it
was trained on, and the file's window is what one reader liked. MONOCHROME1 changes nothing here: it
asks a screen to show small values bright, while rescale slope and intercept make the same
Hounsfield units of a stored value either way, and air is dark in the training images.
Sources: DICOM PS3.3 §C.11.1.1.2 (rescale), §C.7.6.3.1.2 (photometric interpretation).
"""

import numpy as np
import numpy.typing as npt

from serving.card import Window
from transformer.dicom.header import Header

WHITE = 255


def grey_values(
    stored: npt.NDArray[np.uint16], bits: int, header: Header, window: Window
) -> npt.NDArray[np.uint8]:
    """Grey values uint8 [rows,columns] of the low `bits` of stored values.

    One table says what becomes of each stored value, so no array of floats is ever made.
    """
    grey: npt.NDArray[np.uint8] = _table(bits, header, window)[stored & np.uint16((1 << bits) - 1)]
    return grey


def _table(bits: int, header: Header, window: Window) -> npt.NDArray[np.uint8]:
    values = np.arange(1 << bits, dtype=np.int64)
    if header.signed:
        values[1 << (bits - 1) :] -= 1 << bits
    hounsfield = header.slope * values.astype(np.float64) + header.intercept
    grey = window_grey(hounsfield, window)
    if header.padding is not None:
        # What is no image is as dark as air.
        first, last = header.padding
        grey[(values >= first) & (values <= last)] = 0
    return grey


def window_grey(hounsfield: npt.NDArray[np.float64], window: Window) -> npt.NDArray[np.uint8]:
    """Clip to the window and scale to 0-255: LINEAR_EXACT of DICOM PS3.3 §C.11.2.1.3.2."""
    shares = (hounsfield - window.center) / window.width + 0.5
    grey: npt.NDArray[np.uint8] = np.rint(shares.clip(0, 1) * WHITE).astype(np.uint8)
    return grey
