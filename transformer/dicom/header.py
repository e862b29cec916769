"""What the header of a DICOM file must say before a pixel is looked at; every reason to refuse it.

Of the dataset's hundreds of values these few alone are read, and an odd one is an error of ours.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from serving.errors import InvalidImage, UnsuitableImage
from serving.settings import Limits
from transformer.dicom.elements import META, Element, Encoding, elements
from transformer.dicom.syntaxes import Packing, Syntax, require_syntax
from transformer.sides import require_sides

# Behind the preamble of 128 bytes and four letters (PS3.10 §7.1).
META_BEGINS = 132
META_GROUP = 0x0002

MEDIA_CLASS, SYNTAX = 0x00020002, 0x00020010
IMAGE_TYPE, SOP_CLASS, MODALITY = 0x00080008, 0x00080016, 0x00080060
SAMPLES, PHOTOMETRIC, FRAMES, ROWS, COLUMNS = (0x00280000 + it for it in (2, 4, 8, 0x10, 0x11))
BITS_ALLOCATED, BITS_STORED, HIGH_BIT, SIGNED = (0x00280100 + it for it in range(4))
PADDING, PADDING_LIMIT = 0x00280120, 0x00280121
BURNED_IN = 0x00280301
INTERCEPT, SLOPE, RESCALE_TYPE = 0x00281052, 0x00281053, 0x00281054
PIXEL_DATA = 0x7FE00010
WANTED = frozenset(
    (
        *(IMAGE_TYPE, SOP_CLASS, MODALITY, SAMPLES, PHOTOMETRIC, FRAMES, ROWS, COLUMNS),
        *(BITS_ALLOCATED, BITS_STORED, HIGH_BIT, SIGNED, PADDING, PADDING_LIMIT, BURNED_IN),
        *(INTERCEPT, SLOPE, RESCALE_TYPE),
    )
)
# The longest of the values that are wanted, the image type, has some dozens.
MAX_VALUE_BYTES = 1024

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
DICOMDIR = "1.2.840.10008.1.3.10"
CLASSES_BY_NAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "an Enhanced CT object of several frames",
    "1.2.840.10008.5.1.4.1.1.2.2": "a Legacy Converted Enhanced CT object of several frames",
    "1.2.840.10008.5.1.4.1.1.7": "a secondary capture, such as a screenshot",
}
# PS3.3 §C.7.3.1.1.1, those that a chest study may hold. No other value of the sender is quoted.
MODALITIES = frozenset(
    (
        *("CR", "DX", "MG", "MR", "NM", "OT", "PR", "PT", "RF", "SC", "SEG", "SR", "US", "XA"),
        *("RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT"),
    )
)
GREY_PHOTOMETRICS = ("MONOCHROME1", "MONOCHROME2")
HOUNSFIELD = "HU"


@dataclass(frozen=True)
class Header:
    """What pixels need of a header that was not refused.

    `low_bit` is where a stored value begins in its `bits_allocated`. Hounsfield units are
    `slope` * stored value + `intercept`. `padding` are the first and last of the stored values that
    fill what is no image.
    """

    syntax: Syntax
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    low_bit: int
    signed: bool
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    pixels: Element


class Values:
    """Values of a header by tag; one that is there but empty counts as absent.

    Raises:
        InvalidImage: from each method, for a value that is not of its kind.
    """

    def __init__(self, values: Mapping[int, bytes], order: str) -> None:
        self._values = values
        self._order = order

    def text(self, tag: int) -> str:
        """An empty text where there is none."""
        return self._values.get(tag, b"").decode("ascii", "replace").strip(" \0")

    def texts(self, tag: int) -> list[str]:
        return [part.strip() for part in self.text(tag).split("\\")]

    def decimal(self, tag: int) -> float | None:
        text = self.text(tag)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError as error:
            raise _broken(tag, "is no number") from error
        if not math.isfinite(value):
            raise _broken(tag, "is no number")
        return value

    def short(self, tag: int, *, signed: bool = False) -> int | None:
        """A number of 16 bits."""
        value = self._values.get(tag, b"")
        if not value:
            return None
        if len(value) != 2:
            raise _broken(tag, "is no single number of 16 bits")
        number: int = struct.unpack(self._order + ("h" if signed else "H"), value)[0]
        return number

    def required(self, tag: int) -> int:
        number = self.short(tag)
        if number is None:
            raise _broken(tag, "is missing")
        return number


def read_header(data: bytes, limits: Limits) -> Header:
    """Read the header of a DICOM file up to its pixels and refuse what is no CT slice.

    Raises:
        InvalidImage: a value is missing or makes no sense, or there are no pixels.
        UnsuitableImage: the file is readable and something else; the text says what.
        struct.error: the data end too early.
    """
    meta, begin = _read_meta(data)
    if meta.text(MEDIA_CLASS) == DICOMDIR:
        raise UnsuitableImage(
            "the file is a DICOMDIR, which lists other files: send one of the CT slices it lists"
        )
    identifier = meta.text(SYNTAX)
    if not identifier:
        raise _broken(SYNTAX, "is missing")
    syntax = require_syntax(identifier)
    values, pixels = _read_values(data, begin, syntax.encoding)
    _require_ct(values, meta.text(MEDIA_CLASS))
    _require_one_grey_frame(values)
    rows, columns = values.required(ROWS), values.required(COLUMNS)
    require_sides(columns, rows, limits)
    slope, intercept = _rescale(values)
    if pixels is None:
        raise InvalidImage("the DICOM file ends before its pixels: it is truncated, send it whole")
    allocated, stored, low, signed = _bits(values, syntax)
    return Header(
        syntax=syntax,
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        low_bit=low,
        signed=signed,
        slope=slope,
        intercept=intercept,
        padding=_padding(values, signed=signed),
        pixels=pixels,
    )


def _broken(tag: int, how: str) -> InvalidImage:
    return InvalidImage(
        f"the DICOM file is damaged: its element ({tag >> 16:04X},{tag & 0xFFFF:04X}) {how}, "
        "send the file as the scanner or archive stores it"
    )


def _read_meta(data: bytes) -> tuple[Values, int]:
    """The two values of the file's own description, and where the dataset begins behind it."""
    found: dict[int, bytes] = {}
    for element in elements(data, META_BEGINS, META):
        if element.tag >> 16 != META_GROUP:
            return Values(found, META.order), element.begin
        if element.tag in (MEDIA_CLASS, SYNTAX):
            found[element.tag] = element.value(data)
    return Values(found, META.order), len(data)


def _read_values(data: bytes, begin: int, encoding: Encoding) -> tuple[Values, Element | None]:
    found: dict[int, bytes] = {}
    for element in elements(data, begin, encoding):
        if element.tag == PIXEL_DATA:
            return Values(found, encoding.order), element
        if element.tag in WANTED and element.length <= MAX_VALUE_BYTES:
            found[element.tag] = element.value(data)
    return Values(found, encoding.order), None


def _require_ct(values: Values, media_class: str) -> None:
    """Refuse what is no CT image, or one that nobody should send on."""
    modality = values.text(MODALITY)
    if modality != "CT":
        said = f"is {modality}" if modality in MODALITIES else "is not CT"
        raise UnsuitableImage(
            f"the DICOM file's modality (0008,0060) {said if modality else 'is missing'}, expected "
            "CT: send a chest-CT slice"
        )
    kind = values.text(SOP_CLASS) or media_class
    if kind != CT_IMAGE:
        said = CLASSES_BY_NAME.get(kind, "of another kind")
        raise UnsuitableImage(
            f"the DICOM file is {said}, expected single-frame CT (CT Image Storage): "
            "send one original slice"
        )
    if "LOCALIZER" in values.texts(IMAGE_TYPE):
        raise UnsuitableImage(
            "the DICOM file is a localizer (scout view), not a slice: send a slice of the series"
        )
    if values.text(BURNED_IN) == "YES":
        # Text in pixels may name a patient, and feedback would store it.
        raise UnsuitableImage(
            "the DICOM file says that text is burned into its pixels (0028,0301): it may name the "
            "patient and is no tissue, send the slice without it"
        )


def _require_one_grey_frame(values: Values) -> None:
    frames = values.decimal(FRAMES)
    if frames is not None and frames != 1:
        raise UnsuitableImage(
            "the DICOM file holds several frames, expected one: send one slice at a time"
        )
    samples = values.required(SAMPLES)
    if samples != 1 or values.text(PHOTOMETRIC) not in GREY_PHOTOMETRICS:
        raise UnsuitableImage(
            "the DICOM file's pixels are colours, expected grey values (MONOCHROME2 or "
            "MONOCHROME1): send the original slice, not a picture of it"
        )


def _rescale(values: Values) -> tuple[float, float]:
    slope, intercept = values.decimal(SLOPE), values.decimal(INTERCEPT)
    if slope is None or intercept is None:
        raise UnsuitableImage(
            "the DICOM file has no rescale slope (0028,1053) and intercept (0028,1052), so its "
            "values cannot become Hounsfield units: send the original slice"
        )
    if slope == 0:
        raise _broken(SLOPE, "is 0")
    if values.text(RESCALE_TYPE) not in ("", HOUNSFIELD):
        raise UnsuitableImage(
            "the DICOM file's rescale type (0028,1054) is not HU, so its values are no Hounsfield "
            "units: send the original slice"
        )
    return slope, intercept


def _bits(values: Values, syntax: Syntax) -> tuple[int, int, int, bool]:
    """Bits allocated and stored, the lowest stored bit, and whether values have a sign."""
    allocated, stored = values.required(BITS_ALLOCATED), values.required(BITS_STORED)
    if allocated not in (8, 16):
        raise UnsuitableImage(
            f"the DICOM file's pixels have {allocated} bits, expected 8 or 16: "
            "send the original slice"
        )
    if allocated == 8 and syntax.encoding.order == ">":
        raise UnsuitableImage(
            "the DICOM file's pixels are 8-bit and big-endian, which is not read: "
            "store it little-endian"
        )
    high = values.short(HIGH_BIT)
    low = 0 if high is None else high + 1 - stored
    if not 1 <= stored <= allocated or not 0 <= low <= allocated - stored:
        raise _broken(BITS_STORED, "does not fit the bits around it")
    sign = values.required(SIGNED)
    if sign not in (0, 1):
        raise _broken(SIGNED, "is neither 0 nor 1")
    return (
        allocated,
        stored,
        low if syntax.packing in (Packing.NATIVE, Packing.RLE) else 0,
        sign == 1,
    )


def _padding(values: Values, *, signed: bool) -> tuple[int, int] | None:
    """PS3.3 §C.7.5.1.1.2: one value, or all from it to a limit on either side of it."""
    value = values.short(PADDING, signed=signed)
    if value is None:
        return None
    limit = values.short(PADDING_LIMIT, signed=signed)
    return (value, value) if limit is None else (min(value, limit), max(value, limit))
