"""DICOM in: one CT slice of a file becomes the grey image that the card's window makes of it.

    elements     where the file's data elements lie (PS3.5)
    syntaxes     how their pixels may be packed, and which of that is read
    header       the twenty values that matter, and every reason to refuse a file by them
    codestream   what a compressed frame says of itself, compared before it is decoded
    pixels       the stored values
    hounsfield   stored values to Hounsfield units to grey

No other value of a header is looked at, and none is kept, logged or quoted.
"""

from PIL import Image

from serving.card import Window
from serving.errors import UnsuitableImage
from serving.settings import Limits
from transformer.dicom.header import read_header
from transformer.dicom.hounsfield import grey_values
from transformer.dicom.pixels import stored_values

MAGIC = b"DICM"
MAGIC_AT = 128


def is_dicom(data: bytes) -> bool:
    """Whether a file says that it is one: four letters behind a preamble that may be anything."""
    return data[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC


def read_dicom(data: bytes, limits: Limits, window: Window | None) -> Image.Image:
    """The slice of a DICOM file in 256 grey values; `window` is that of the card.

    Raises:
        InvalidImage: the file is damaged or contradicts itself.
        UnsuitableImage: it is no single-frame CT slice in Hounsfield units, it is packed in a way
            that is not read, or there is no window.
        Exception: of any kind, where hostile bytes lead a parser or decoder astray.
    """
    if window is None:
        raise UnsuitableImage(
            "the file is a DICOM file, and the card of these weights names no CT window that would "
            "make it an image: send the slice as an image, or have input.window added to the card"
        )
    header = read_header(data, limits)
    stored, bits = stored_values(data, header)
    return Image.fromarray(grey_values(stored, bits, header, window))
