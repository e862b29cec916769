"""Transfer syntaxes: how a DICOM file is written, and which of these ways are read.

Names and identifiers: DICOM PS3.6 table A-1.
"""

from dataclasses import dataclass
from enum import Enum

from serving.errors import UnsuitableImage
from transformer.dicom.elements import META, Encoding


class Packing(Enum):
    """How the stored values of a frame are packed."""

    NATIVE = "uncompressed"
    RLE = "RLE"
    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"


@dataclass(frozen=True)
class Syntax:
    """A transfer syntax that is read."""

    packing: Packing
    encoding: Encoding = META


ROOT = "1.2.840.10008.1.2"
READ = {
    ROOT: Syntax(Packing.NATIVE, Encoding(implicit=True)),
    f"{ROOT}.1": Syntax(Packing.NATIVE),
    f"{ROOT}.2": Syntax(Packing.NATIVE, Encoding(order=">")),
    f"{ROOT}.5": Syntax(Packing.RLE),
    f"{ROOT}.4.50": Syntax(Packing.JPEG),
    f"{ROOT}.4.51": Syntax(Packing.JPEG),
    f"{ROOT}.4.80": Syntax(Packing.JPEG_LS),
    f"{ROOT}.4.81": Syntax(Packing.JPEG_LS),
    f"{ROOT}.4.90": Syntax(Packing.JPEG_2000),
    f"{ROOT}.4.91": Syntax(Packing.JPEG_2000),
}
# Deflated: one file of 64 KB may hold 64 MB. JPEG Lossless: no decoder of a permissive licence.
# The others: no CT slice that we know of is stored so.
NOT_READ = {
    f"{ROOT}.1.98": "Encapsulated Uncompressed",
    f"{ROOT}.1.99": "Deflated",
    f"{ROOT}.4.57": "JPEG Lossless",
    f"{ROOT}.4.70": "JPEG Lossless",
    f"{ROOT}.4.92": "JPEG 2000 Part 2",
    f"{ROOT}.4.93": "JPEG 2000 Part 2",
    f"{ROOT}.4.94": "JPIP",
    f"{ROOT}.4.95": "JPIP",
    f"{ROOT}.4.100": "MPEG-2",
    f"{ROOT}.4.101": "MPEG-2",
    f"{ROOT}.4.102": "MPEG-4",
    f"{ROOT}.4.103": "MPEG-4",
    f"{ROOT}.4.104": "MPEG-4",
    f"{ROOT}.4.105": "MPEG-4",
    f"{ROOT}.4.106": "MPEG-4",
    f"{ROOT}.4.107": "HEVC",
    f"{ROOT}.4.108": "HEVC",
    f"{ROOT}.4.110": "JPEG XL",
    f"{ROOT}.4.111": "JPEG XL",
    f"{ROOT}.4.112": "JPEG XL",
    f"{ROOT}.4.201": "HTJ2K",
    f"{ROOT}.4.202": "HTJ2K",
    f"{ROOT}.4.203": "HTJ2K",
}
NAMES = ", ".join(packing.value for packing in Packing)


def require_syntax(identifier: str) -> Syntax:
    """The transfer syntax of this identifier.

    Raises:
        UnsuitableImage: it is not read; the text names it.
    """
    if identifier in READ:
        return READ[identifier]
    name = NOT_READ.get(identifier, "an unknown one")
    raise UnsuitableImage(
        f"the DICOM file's transfer syntax is {name}, which is not read: store it {NAMES}"
    )
