"""Bytes of an image file in, one slice out: everything a file can be is settled here.

A DICOM file goes its own way (`transformer/dicom/`), as it has no grey values before a CT window
makes them; all others are read by Pillow.

The sides are read from the header before any pixel is decoded, so that a file that only claims to
be huge costs nothing. Plugins are named here one by one instead of calling `Image.open`: no other
parser ever sees a client's bytes, and Pillow's global size warning is replaced by our own limit.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from serving.card import Window
from serving.errors import InvalidImage, ServiceError, TooLarge, UnsuitableImage
from serving.settings import Limits
from transformer.dicom import is_dicom, read_dicom
from transformer.parts import BoundedReader, require_few_parts
from transformer.sides import require_sides, sides_text

Opener = Callable[[io.BytesIO], ImageFile.ImageFile]

# Format → how its files begin, and the one plugin that reads it.
FORMATS: dict[str, tuple[tuple[bytes, ...], Opener]] = {
    "PNG": ((b"\x89PNG\r\n\x1a\n",), PngImageFile),
    "JPEG": ((b"\xff\xd8\xff",), jpeg_factory),
    "TIFF": ((b"II*\0", b"MM\0*"), TiffImageFile),
    "BMP": ((b"BM",), BmpImageFile),
    "GIF": ((b"GIF87a", b"GIF89a"), GifImageFile),
    "WEBP": ((b"RIFF",), WebPImageFile),
}
DICOM = "DICOM"
ACCEPTED = ", ".join((*FORMATS, DICOM))

WIDE_GREY_MODES = ("I;16", "I;16B", "I;16L", "I")
GREY_MODES = ("1", "L", "LA")
# Pixels looked at for colour, along each side: a picture that is coloured is so almost everywhere.
COARSE_SIDE = 64
COLOUR_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
TIFF_TILE_SIDES = (322, 323)
TIFF_PHOTOMETRIC = 262
WHITE_IS_ZERO = 0
BMP_RUN_LENGTHS = (1, 2)


@dataclass(frozen=True)
class Slice:
    """One decoded image without metadata; height and width in pixels.

    `pixels` has mode L where R = G = B in every pixel, which is a third of the work for whoever
    takes it from here, else RGB; decoders see to that. `is_dicom` says that its grey values are
    those of a CT window over Hounsfield units.
    """

    pixels: Image.Image
    height: int
    width: int
    is_dicom: bool = False

    @property
    def image(self) -> Image.Image:
        """The same in mode RGB, whatever `pixels` has."""
        return self.pixels.convert("RGB")

    @property
    def grey(self) -> Image.Image:
        """The same in mode L; `pixels` themselves where they are."""
        return self.pixels if self.pixels.mode == "L" else self.pixels.convert("L")

    @property
    def nbytes(self) -> int:
        """How much memory `pixels` takes."""
        return self.height * self.width * len(self.pixels.getbands())


def decode(data: bytes, limits: Limits, window: Window | None = None) -> Slice:
    """Decode one image file to 8-bit grey or RGB; `window` is the card's, for DICOM files.

    16-bit greys keep their high byte; alpha is dropped, never composited; the EXIF orientation of a
    photograph is not applied, because training never did.

    Raises:
        InvalidImage: empty, no image, another format, truncated, a broken checksum, or pixels
            that are neither 8- nor 16-bit.
        TooLarge: more bytes than `limits.file_bytes`.
        UnsuitableImage: a side outside the limits, or several frames; a DICOM file that is no CT
            slice in Hounsfield units, or without a window.
    """
    if not data:
        raise InvalidImage(f"the file is empty: send one image as {ACCEPTED}")
    require_size(len(data), limits)
    name = _format(data)
    require_few_parts(data, name)
    try:
        if name == DICOM:
            return _slice_of(read_dicom(data, limits, window), is_dicom=True)
        image = _opened(data, name, limits)
        image.load()
        if name == "PNG":
            _require_whole_png(data)
        return _as_slice(image)
    except ServiceError:
        raise
    except Image.DecompressionBombError as error:
        raise UnsuitableImage(sides_text("far too many", limits)) from error
    except Exception as error:
        # A decoder may fail on hostile bytes in any way; its own text is no answer to a client.
        raise InvalidImage(
            f"the file begins as a {name} but cannot be read to its end: it is truncated or "
            "damaged, send it whole"
        ) from error


def require_size(size: int, limits: Limits) -> None:
    """Refuse a file by its number of bytes; a door that knows it first need not read the file.

    Raises:
        TooLarge: more than `limits.file_bytes`.
    """
    if size > limits.file_bytes:
        raise TooLarge(
            f"the file has {size} bytes, at most {limits.file_bytes} are accepted: "
            "send a smaller one"
        )


def _format(data: bytes) -> str:
    # First, as what stands before those letters may pass for an image of another format.
    if is_dicom(data):
        return DICOM
    for name, (beginnings, _) in FORMATS.items():
        if data.startswith(beginnings) and (name != "WEBP" or data[8:12] == b"WEBP"):
            return name
    raise InvalidImage(f"the file is no image of a known format: send one of {ACCEPTED}")


def _opened(data: bytes, name: str, limits: Limits) -> ImageFile.ImageFile:
    """The image with its header read, of permitted sides and one frame; no pixel decoded."""
    image = FORMATS[name][1](BoundedReader(data, name))
    require_sides(image.width, image.height, limits)
    if isinstance(image, TiffImageFile):
        # One tile larger than the image it belongs to would be decoded in full.
        tile = max(int(image.tag_v2.get(tag, 0)) for tag in TIFF_TILE_SIDES)
        if tile > limits.max_side_px:
            raise UnsuitableImage(sides_text(f"tiles of {tile}", limits))
    if isinstance(image, BmpImageFile) and image.info["compression"] in BMP_RUN_LENGTHS:
        # Pillow unpacks these in Python, pixel by pixel: seconds for one file.
        raise InvalidImage("the BMP is run-length encoded, which is not read: save it uncompressed")
    if getattr(image, "is_animated", False):
        raise UnsuitableImage("the file holds several frames or pages: send one slice at a time")
    return image


def _require_whole_png(data: bytes) -> None:
    """Compare every chunk with its checksum up to IEND (Pillow skips those of the pixel data)."""
    view, position, kind = memoryview(data), 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        if zlib.crc32(view[position + 4 : position + 8 + length]) != checksum:
            raise InvalidImage("the PNG has a broken checksum: it was damaged, send it again")
        position += 12 + length


def _as_slice(image: Image.Image) -> Slice:
    # What the sender wrote beside the pixels ends here; so does a palette's transparency.
    image.info.clear()
    if image.mode in WIDE_GREY_MODES:
        # Pillow inverts such a TIFF of 8 bits itself, but not one of 16.
        inverted = (
            isinstance(image, TiffImageFile) and image.tag_v2.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO
        )
        image = _high_byte(image, inverted=inverted)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode not in COLOUR_MODES:
        raise InvalidImage(
            "the image's pixels are of a kind that is not read, such as floating-point numbers: "
            "send 8- or 16-bit greys or 8-bit colours"
        )
    return _slice_of(image)


def _slice_of(image: Image.Image, *, is_dicom: bool = False) -> Slice:
    grey = image.mode in GREY_MODES
    pixels = image.convert("L" if grey else "RGB")
    if not grey and _is_grey(pixels):
        pixels = pixels.getchannel("R")
    return Slice(pixels, pixels.height, pixels.width, is_dicom)


def coarse(rgb: Image.Image) -> NDArray[np.uint8]:
    """Some pixels of all over an RGB image: uint8 [64,64,3]."""
    return np.asarray(rgb.resize((COARSE_SIDE, COARSE_SIDE), Image.Resampling.NEAREST))


def _is_grey(rgb: Image.Image) -> bool:
    """Whether R = G = B in every pixel; a picture that is coloured says so on a coarse grid."""
    looked_at = coarse(rgb)
    if (looked_at != looked_at[..., :1]).any():
        return False
    red, green, blue = (channel.tobytes() for channel in rgb.split())
    return red == green == blue


def _high_byte(image: Image.Image, *, inverted: bool) -> Image.Image:
    """16-bit greys as 8-bit: value >> 8, as Pillow itself reads 16-bit colours."""
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 0xFFFF:
        raise InvalidImage(
            "the image's grey values lie outside 0 to 65535, such as Hounsfield units below 0: "
            "apply a CT window and send 8- or 16-bit greys"
        )
    if inverted:
        grey = 0xFFFF - grey
    return Image.fromarray((grey >> 8).astype(np.uint8))
