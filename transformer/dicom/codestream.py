"""What a compressed frame says of itself, read from its first bytes and compared with the header.

A header of 512 x 512 over a codestream of 60,000 x 60,000 would be decoded to gigabytes before
anybody noticed. Sources: ISO 15444-1 annex A.5.1 (SIZ), ISO 10918-1 annex B.2.2 (SOF), ISO 14495-1
annex C.2.2 (SOF55).
"""

import struct
from dataclasses import dataclass

from serving.errors import InvalidImage, UnsuitableImage
from transformer.dicom.header import Header
from transformer.dicom.syntaxes import Packing

END = b"\xff\xd9"
# What writers put behind it to make the length even.
FILLING = b"\0\xff"
START_OF_JPEG = b"\xff\xd8"
START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"
# SOF0 and SOF1: sequential, Huffman. Others that bear a frame's size: progressive, lossless, ...
SEQUENTIAL = (0xC0, 0xC1)
JPEG_LS = (0xF7,)
START_OF_SCAN = 0xDA
# An encoder writes about ten segments before the frame; each costs time to pass over.
MAX_SEGMENTS = 1000
SIGN = 0x80


@dataclass(frozen=True)
class Codestream:
    """Size of a frame, and the bits of its samples; `signed` if these have a sign by themselves."""

    rows: int
    columns: int
    bits: int
    signed: bool = False


def require_codestream(frame: bytes, header: Header) -> Codestream:
    """What the codestream of a compressed frame says; no sample is decoded.

    Raises:
        InvalidImage: it is not of its kind, incomplete, or of another size than the header says.
        UnsuitableImage: it is of a kind that is not read.
        struct.error: it ends too early.
    """
    packing = header.syntax.packing
    if not frame.rstrip(FILLING).endswith(END):
        raise InvalidImage(
            f"the DICOM file's {packing.value} pixels do not come to their end: they are "
            "truncated or damaged, send the file whole"
        )
    found = _jpeg_2000(frame) if packing is Packing.JPEG_2000 else _jpeg(frame, packing)
    if (found.rows, found.columns) != (header.rows, header.columns):
        raise InvalidImage(
            f"the DICOM file contradicts itself: its header says {header.columns} x {header.rows} "
            f"pixels, its {packing.value} data {found.columns} x {found.rows}"
        )
    if not 1 <= found.bits <= header.bits_allocated:
        raise InvalidImage(
            f"the DICOM file contradicts itself: its header says {header.bits_allocated} bits a "
            f"pixel, its {packing.value} data {found.bits}"
        )
    return found


def _jpeg_2000(frame: bytes) -> Codestream:
    if not frame.startswith(START_OF_JPEG_2000):
        raise _other_kind(Packing.JPEG_2000)
    right, bottom, left, top = struct.unpack_from(">4I", frame, 8)
    components, depth, across, down = struct.unpack_from(">HBBB", frame, 40)
    if (components, across, down) != (1, 1, 1):
        raise _not_grey(Packing.JPEG_2000)
    return Codestream(bottom - top, right - left, (depth & ~SIGN) + 1, bool(depth & SIGN))


def _jpeg(frame: bytes, packing: Packing) -> Codestream:
    """The frame segment of JPEG or JPEG-LS, whose segments are laid out alike."""
    if not frame.startswith(START_OF_JPEG):
        raise _other_kind(packing)
    wanted = JPEG_LS if packing is Packing.JPEG_LS else SEQUENTIAL
    position = len(START_OF_JPEG)
    for _ in range(MAX_SEGMENTS):
        fill, marker, length = struct.unpack_from(">BBH", frame, position)
        if fill != 0xFF or marker == START_OF_SCAN or length < 2:
            break
        if marker in wanted:
            bits, rows, columns, components = struct.unpack_from(">BHHB", frame, position + 4)
            if components != 1:
                raise _not_grey(packing)
            if packing is Packing.JPEG and bits != 8:
                raise UnsuitableImage(
                    f"the DICOM file's pixels are JPEG of {bits} bits, which is not read: store "
                    "them uncompressed or as JPEG 2000"
                )
            return Codestream(rows, columns, bits)
        position += 2 + length
    raise _other_kind(packing)


def _other_kind(packing: Packing) -> InvalidImage:
    return InvalidImage(
        f"the DICOM file's pixels are not {packing.value} of the kind that its transfer syntax "
        "names: store it anew"
    )


def _not_grey(packing: Packing) -> InvalidImage:
    return InvalidImage(
        f"the DICOM file contradicts itself: its header says grey values, its {packing.value} data "
        "have several components"
    )
