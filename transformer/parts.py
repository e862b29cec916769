"""How many parts a file may have: each is cheap to write and costly to read.

A file of a few megabytes may consist of millions of tiny parts, and a parser handles each of them
for microseconds up to milliseconds. Counting comes first or on the way, and ends such a file early.
"""

import io
import struct

from serving.errors import InvalidImage

# One read or two for each chunk, segment or strip; a TIFF may have 12,288 strips of one row, and a
# GIF of 16 MiB consists of 66,000 blocks of 255 bytes, the most that one may hold.
MAX_READS = 50_000
MAX_GIF_READS = 200_000
# Several pieces of EXIF are joined to one; progressive encoders write about ten scans.
JPEG_PARTS = ((b"\xff\xda", 100, "scans"), (b"Exif\0\0", 8, "pieces of EXIF"))
# Offset and size of every strip of one row, three planes of 4096 rows: 24,576.
MAX_TIFF_NUMBERS = 32_768
# BYTE, ASCII and UNDEFINED are read as one piece, every other type number by number (TIFF 6.0 §2).
TIFF_BYTE_TYPES = (1, 2, 7)
# EXIF, GPS and interoperability directories hang below the first one.
TIFF_POINTERS = (34665, 34853, 40965)
TIFF_LONG = 4


class BoundedReader(io.BytesIO):
    """The bytes of a file for a parser, which may ask for them a limited number of times.

    Raises:
        InvalidImage: at the next read, so that no parser works through countless tiny parts.
    """

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._most = MAX_GIF_READS if name == "GIF" else MAX_READS
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > self._most:
            raise too_many("parts", self._most)
        return super().read(size)


def require_few_parts(data: bytes, name: str) -> None:
    """Refuse what would keep a decoder busy outside of any read; `name` is the file's format.

    Raises:
        InvalidImage: a JPEG of too many scans, or a TIFF whose directories list too many numbers.
    """
    if name == "JPEG":
        for mark, most, what in JPEG_PARTS:
            if data.count(mark) > most:
                raise too_many(what, most)
    if name == "TIFF":
        _require_few_numbers(data)


def too_many(what: str, most: int) -> InvalidImage:
    """What is said of a file of too many parts."""
    return InvalidImage(
        f"the file has more than {most} {what}: write it anew with an image program"
    )


def _require_few_numbers(data: bytes) -> None:
    """Count what the first directory and those below it list; a piece of bytes counts as one."""
    order = "<" if data.startswith(b"II") else ">"
    numbers = 0
    starts = [_unpacked(order + "I", data, 4)[0]]
    for start in starts:
        for entry in range(_unpacked(order + "H", data, start)[0]):
            tag, kind, count, value = _unpacked(order + "HHII", data, start + 2 + 12 * entry)
            numbers += 1 if kind in TIFF_BYTE_TYPES else count
            if numbers > MAX_TIFF_NUMBERS:
                raise too_many("numbers in its directories", MAX_TIFF_NUMBERS)
            if tag not in TIFF_POINTERS:
                continue
            if (kind, count) != (TIFF_LONG, 1):
                # Written in any other way, a reader may look for the directory elsewhere.
                raise InvalidImage(
                    "the TIFF points to its EXIF data by something other than one 32-bit offset: "
                    "write it anew with an image program"
                )
            if value not in starts:
                starts.append(value)


def _unpacked(layout: str, data: bytes, position: int) -> tuple[int, ...]:
    """Zeros where the data end: a truncated file is the parser's to refuse."""
    size = struct.calcsize(layout)
    piece = data[position : position + size]
    return struct.unpack(layout, piece.ljust(size, b"\0"))
