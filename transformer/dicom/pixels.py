"""The stored values of the one frame of a DICOM file, whatever they are packed in.

What comes out of a decoder is never larger than what the header said, and that was checked before.
"""

import numpy as np
import numpy.typing as npt
from jpeg_ls import decode_buffer
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from serving.errors import InvalidImage, UnsuitableImage
from transformer.dicom.codestream import Codestream, require_codestream
from transformer.dicom.elements import UNDEFINED, fragments
from transformer.dicom.header import Header
from transformer.dicom.jpeg_2000 import decode_apart
from transformer.dicom.syntaxes import Packing
from transformer.parts import BoundedReader, require_few_parts

Stored = npt.NDArray[np.uint16]

RLE_HEADER_BYTES = 64
# Longer tables of offsets point to several frames.
ONE_OFFSET_BYTES = 4


def stored_values(data: bytes, header: Header) -> tuple[Stored, int]:
    """Stored values uint16 [rows,columns], and how many of their low bits count.

    Raises:
        InvalidImage: there are more or fewer pixels than the header says, or they contradict it.
        UnsuitableImage: several frames, or a kind of codestream that is not read.
        Exception: of any kind, from a decoder.
    """
    packing = header.syntax.packing
    if packing is Packing.NATIVE:
        return _native(data, header) >> np.uint16(header.low_bit), header.bits_stored
    frame = _one_frame(data, header)
    if packing is Packing.RLE:
        return _run_lengths(frame, header) >> np.uint16(header.low_bit), header.bits_stored
    codestream = require_codestream(frame, header)
    decoded = DECODERS[packing](frame, codestream)
    return decoded.reshape(header.rows, header.columns), _bits(codestream, header)


def _bits(codestream: Codestream, header: Header) -> int:
    """Where the sign is: some encoders take numbers with a sign for larger ones without."""
    if header.signed and not codestream.signed:
        return min(codestream.bits, header.bits_stored)
    return codestream.bits


def _native(data: bytes, header: Header) -> Stored:
    """Pixels as they are; some writers fill them up, by less than what would be another image."""
    row = header.columns * header.bits_allocated // 8
    pixels, expected = header.pixels, header.rows * row
    whole = pixels.start + pixels.length <= len(data)
    if pixels.length == UNDEFINED or not whole or not 0 <= pixels.length - expected <= row:
        raise InvalidImage(
            f"the DICOM file has more or fewer pixels than the {header.columns} x {header.rows} "
            "that its header says: it is truncated or damaged, send it whole"
        )
    kind = "u1" if header.bits_allocated == 8 else header.syntax.encoding.order + "u2"
    values = np.frombuffer(data, kind, header.rows * header.columns, pixels.start)
    return values.astype(np.uint16).reshape(header.rows, header.columns)


def _one_frame(data: bytes, header: Header) -> bytes:
    """The fragments of the one frame, joined."""
    if header.pixels.length != UNDEFINED:
        raise InvalidImage(
            "the DICOM file's pixels are not compressed, though its transfer syntax says so: "
            "store it anew"
        )
    offsets, *pieces = fragments(data, header.pixels.start)
    if offsets.length > ONE_OFFSET_BYTES:
        raise UnsuitableImage(
            "the DICOM file holds several frames, expected one: send one slice at a time"
        )
    return b"".join(piece.value(data) for piece in pieces)


def _run_lengths(frame: bytes, header: Header) -> Stored:
    """PS3.5 annex G: the high bytes of all pixels, then the low bytes, each packed by PackBits."""
    count, *offsets = np.frombuffer(frame, "<u4", RLE_HEADER_BYTES // 4).tolist()
    if count != header.bits_allocated // 8:
        raise InvalidImage("the DICOM file's RLE pixels have other parts than its header says")
    # As an image of one line: Pillow would not let a run go on in the next.
    size = (header.rows * header.columns, 1)
    values = np.zeros(size[0], np.uint16)
    for begin, end in zip(offsets[:count], [*offsets[1:count], len(frame)], strict=True):
        part = Image.frombytes("L", size, frame[begin:end], "packbits", "L")
        values = values << 8 | np.asarray(part, np.uint16)[0]
    return values.reshape(header.rows, header.columns)


def _jpeg(frame: bytes, codestream: Codestream) -> Stored:
    require_few_parts(frame, "JPEG")
    image = JpegImageFile(BoundedReader(frame, "JPEG"))
    if image.size != (codestream.columns, codestream.rows) or image.mode != "L":
        raise InvalidImage("the DICOM file's JPEG pixels hold a second frame")
    return np.asarray(image, np.uint16)


def _jpeg_ls(frame: bytes, codestream: Codestream) -> Stored:
    decoded, _ = decode_buffer(frame)
    kind = np.uint8 if codestream.bits <= 8 else "<u2"
    return np.frombuffer(decoded, kind).astype(np.uint16)


def _jpeg_2000(frame: bytes, codestream: Codestream) -> Stored:
    """Samples as the codestream has them: Pillow moves them up to 8 or 16 bits and above 0."""
    wide = codestream.bits > 8
    decoded = decode_apart(frame, codestream.rows * codestream.columns * (1 + wide))
    values = np.frombuffer(decoded, "<u2" if wide else np.uint8).astype(np.uint16)
    values >>= (16 if wide else 8) - codestream.bits
    if codestream.signed:
        values ^= 1 << (codestream.bits - 1)
    return values


DECODERS = {
    Packing.JPEG: _jpeg,
    Packing.JPEG_LS: _jpeg_ls,
    Packing.JPEG_2000: _jpeg_2000,
}
