"""The golden slice as a PNG file, written without an imaging library.

Source: PNG specification (ISO/IEC 15948), chapters 5 and 11: a signature, then chunks of length,
type, data and checksum.
"""

import struct
import zlib

from serving.phantom import Rows, phantom

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, DEPTH = 0, 8
SEED = 0


def golden_slice() -> bytes:
    """The phantom of seed 0, 512 by 512 pixels, as a PNG."""
    return png(phantom(SEED))


def png(grey: Rows) -> bytes:
    """A grey image, uint8 [height, width], as a PNG."""
    height, width = grey.shape
    header = struct.pack(">IIBBBBB", width, height, DEPTH, GREY, 0, 0, 0)
    # Each row after the number of its filter; 0: none.
    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
