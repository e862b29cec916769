"""DICOM files for the tests, good and bad, made of the slices that pydicom brings along.

`GOOD_DICOMS` maps a name to a file and the Hounsfield units that it holds; `BAD_DICOMS` to a file,
the class of error that it must meet and words of its text.
"""

import io
import struct
from typing import Any

import jpeg_ls
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from serving.errors import InvalidImage, ServiceError, UnsuitableImage

Hounsfield = npt.NDArray[Any]

SECRET = "Doe^Jane"
ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


def shipped(name: str) -> bytes:
    """A file of pydicom's own."""
    path = get_testdata_file(name, download=False)
    with open(str(path), "rb") as file:
        return file.read()


def dataset(name: str = "CT_small.dcm", **values: Any) -> FileDataset:
    """A shipped file with other values; None takes one away."""
    found = dcmread(io.BytesIO(shipped(name)))
    found.PatientName = SECRET
    for keyword, value in values.items():
        if value is None:
            delattr(found, keyword)
        else:
            setattr(found, keyword, value)
    return found


def encoded(found: FileDataset) -> bytes:
    target = io.BytesIO()
    found.save_as(target)
    return target.getvalue()


def changed(name: str = "CT_small.dcm", **values: Any) -> bytes:
    return encoded(dataset(name, **values))


PIXEL_DATA = struct.pack("<HH", 0x7FE0, 0x0010)
# A real chest: lung at -813 HU, fat at -91, muscle at 33.
CT = changed()
STORED = dataset().pixel_array.astype(np.int64)  # 128 to 2191, in 16 bits with a sign
UNSIGNED = STORED.astype(np.uint16)
PIXELS_AT = CT.index(PIXEL_DATA)
EIGHT_BITS = (STORED // 16).astype(np.uint8)


def with_pixels(pixels: npt.NDArray[Any], **values: Any) -> bytes:
    """The chest with other stored values."""
    return changed(PixelData=pixels.tobytes(), **values)


def compressed(syntax: UID, *frames: bytes, **values: Any) -> bytes:
    """The chest with these frames for pixels."""
    found = dataset(**values)
    found.file_meta.TransferSyntaxUID = syntax
    found.PixelData = encapsulate(list(frames))
    found["PixelData"].VR = "OB"
    found["PixelData"].is_undefined_length = True
    return encoded(found)


def jpeg_2000(pixels: npt.NDArray[Any] = UNSIGNED, **options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG2000", no_jp2=True, **options)
    return target.getvalue()


def jpeg(pixels: npt.NDArray[np.uint8], **options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", **options)
    return target.getvalue()


def loco(pixels: npt.NDArray[Any] = UNSIGNED) -> bytes:
    """A JPEG-LS codestream."""
    return bytes(jpeg_ls.encode_array(pixels))


def run_lengths(found: FileDataset) -> bytes:
    found.compress(RLELossless)
    return encoded(found)


def implicit() -> bytes:
    found = dataset()
    found.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    target = io.BytesIO()
    found.save_as(target, implicit_vr=True)
    return target.getvalue()


def big_endian() -> bytes:
    """A magnetic resonance image that says it is a CT slice: no other of this kind is at hand."""
    return changed(
        "MR_small_bigendian.dcm", Modality="CT", SOPClassUID=CT_IMAGE, RescaleSlope=1,
        RescaleIntercept=-1024,
    )  # fmt: skip


def in_pieces() -> bytes:
    """One frame in several fragments."""
    found = dataset()
    found.file_meta.TransferSyntaxUID = JPEG2000Lossless
    found.PixelData = encapsulate([jpeg_2000()], fragments_per_frame=3)
    found["PixelData"].VR = "OB"
    found["PixelData"].is_undefined_length = True
    return encoded(found)


def element(tag: int, kind: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element of explicit representation whose length has 32 bits."""
    head = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, kind, 0, length or len(value))
    return head + value


def before_pixels(inserted: bytes, data: bytes = CT) -> bytes:
    """A file with bytes put in before its pixels."""
    at = data.index(PIXEL_DATA)
    return data[:at] + inserted + data[at:]


def nested(depth: int, kind: bytes = b"SQ") -> bytes:
    """Sequences of undefined length in each other; `kind` may be UN, whose inside is implicit."""
    undefined = 0xFFFFFFFF
    item = struct.pack("<HHI", 0xFFFE, 0xE000, undefined)
    first = element(0x00091001, kind, b"", undefined) + item
    inner = struct.pack("<HHI", 0x0009, 0x1001, undefined) + item
    if kind == b"SQ":
        inner = first
    ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return first + inner * (depth - 1) + ends * depth


def enhanced() -> bytes:
    """Two frames, whose rescale lies in the functional groups."""
    rescale = Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1024, "HU"
    groups = Dataset()
    groups.PixelValueTransformationSequence = Sequence([rescale])
    return changed(
        SOPClassUID=ENHANCED, NumberOfFrames=2, PixelData=UNSIGNED.tobytes() * 2,
        RescaleSlope=None, RescaleIntercept=None,
        SharedFunctionalGroupsSequence=Sequence([groups]),
    )  # fmt: skip


def deflated(size: int = 16 * 2**20) -> bytes:
    """A file of a few kilobytes that inflates to more than `size` bytes."""
    found = dataset()
    found.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    found.add_new(0x00091002, "OB", bytes(size))
    return encoded(found)


def other_syntax(identifier: str) -> bytes:
    found = dataset()
    found.file_meta.TransferSyntaxUID = UID(identifier)
    found.PixelData = encapsulate([b"\xff\xd8" + bytes(100) + b"\xff\xd9"])
    found["PixelData"].VR = "OB"
    found["PixelData"].is_undefined_length = True
    target = io.BytesIO()
    found.save_as(target, implicit_vr=False, little_endian=True)
    return target.getvalue()


def siz(rows: int, columns: int, components: int = 1) -> bytes:
    """A JPEG 2000 codestream whose first segment claims another size."""
    data = bytearray(jpeg_2000())
    struct.pack_into(">2I", data, 8, columns, rows)
    struct.pack_into(">2I", data, 24, columns, rows)
    struct.pack_into(">H", data, 40, components)
    return bytes(data)


def sof(frame: bytes, marker: bytes, rows: int, columns: int) -> bytes:
    """A JPEG or JPEG-LS codestream whose frame segment claims another size."""
    data = bytearray(frame)
    struct.pack_into(">HH", data, data.index(marker) + 5, rows, columns)
    return bytes(data)


def two_frame_segments() -> bytes:
    """A JPEG whose frame segment is followed by a larger one."""
    one, other = jpeg(EIGHT_BITS), sof(jpeg(EIGHT_BITS), b"\xff\xc0", 4000, 4000)
    at = one.index(b"\xff\xc0")
    return one[: at + 13] + other[at:]


def precincts(side: int = 2048) -> bytes:
    """JPEG 2000 of a few kilobytes whose precincts of 2 x 2 would need gigabytes."""

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">HH", marker, len(body) + 2) + body

    levels, layers, body = 5, 65535, bytes(5000)
    size = struct.pack(">H8IH3B", 0, side, side, 0, 0, side, side, 0, 0, 1, 15, 1, 1)
    style = struct.pack(">BBHB", 1, 0, layers, 0) + bytes([levels, 4, 4, 0, 1])
    style += bytes([0x11] * (levels + 1))
    steps = bytes([0x20] + [128] * (3 * levels + 1))
    tile = struct.pack(">HHHIBB", 0xFF90, 10, 0, 14 + len(body), 0, 1) + b"\xff\x93" + body
    head = segment(0xFF51, size) + segment(0xFF52, style) + segment(0xFF5C, steps)
    return b"\xff\x4f" + head + tile + b"\xff\xd9"


# The other way round, with a slope that says so: these are the same Hounsfield units.
NEGATED = (2191 - STORED).astype(np.int16)
OUTSIDE = np.where(np.arange(128) < 16, -2000, STORED).astype(np.int16)
OVERLAID = (UNSIGNED | 0x5000).astype(np.uint16)
EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
TWELVE = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
HIGH = {"BitsStored": 12, "HighBit": 15, "PixelRepresentation": 0}
AIR = -3000

GOOD_DICOMS: dict[str, tuple[bytes, Hounsfield]] = {
    "explicit": (CT, STORED - 1024),
    "implicit": (implicit(), STORED - 1024),
    "big-endian": (
        big_endian(),
        dataset("MR_small.dcm").pixel_array.astype(np.int64) - 1024,
    ),
    "run-lengths": (run_lengths(dataset()), STORED - 1024),
    "jpeg-2000": (compressed(JPEG2000Lossless, jpeg_2000()), STORED - 1024),
    "jpeg-2000-in-pieces": (in_pieces(), STORED - 1024),
    "jpeg-2000-signed": (
        shipped("693_J2KI.dcm"),
        dataset("693_J2KI.dcm").pixel_array.astype(np.int64) - 1024,
    ),
    "jpeg-2000-sign-in-the-header-alone": (
        shipped("J2K_pixelrep_mismatch.dcm"),
        dataset("J2K_pixelrep_mismatch.dcm").pixel_array.astype(np.int64),
    ),
    "jpeg-2000-sign-below-the-top": (
        compressed(
            JPEG2000Lossless,
            jpeg_2000(((STORED - 1024) & 0x1FFF).astype(np.uint16)),
            BitsStored=13,
            HighBit=12,
            RescaleIntercept=0,
        ),
        STORED - 1024,
    ),
    "jpeg-ls": (compressed(JPEGLSLossless, loco(), **TWELVE), STORED - 1024),
    "jpeg": (
        compressed(
            JPEGBaseline8Bit, jpeg(EIGHT_BITS, quality=100) + b"\xff", RescaleSlope=16, **EIGHT
        ),
        np.asarray(Image.open(io.BytesIO(jpeg(EIGHT_BITS, quality=100))), np.int64) * 16 - 1024,
    ),
    "eight-bits": (
        with_pixels(EIGHT_BITS, RescaleSlope="16.0", **EIGHT),
        EIGHT_BITS.astype(np.int64) * 16 - 1024,
    ),
    "unsigned": (with_pixels(UNSIGNED, **TWELVE), STORED - 1024),
    "overlay-above-the-stored-bits": (with_pixels(OVERLAID, **TWELVE), STORED - 1024),
    "stored-bits-at-the-top": (with_pixels(UNSIGNED << 4, **HIGH), STORED - 1024),
    "another-rescale": (changed(RescaleSlope="2.5", RescaleIntercept="-3"), STORED * 2.5 - 3),
    "monochrome1": (changed(PhotometricInterpretation="MONOCHROME1"), STORED - 1024),
    "monochrome1-negated": (
        with_pixels(
            NEGATED,
            PhotometricInterpretation="MONOCHROME1",
            RescaleSlope=-1,
            RescaleIntercept=1167,
        ),
        STORED - 1024,
    ),
    "padding": (
        with_pixels(OUTSIDE, PixelPaddingValue=-2000, RescaleIntercept=3000),
        np.where(OUTSIDE == -2000, AIR, STORED + 3000),
    ),
    "padding-range": (
        before_pixels(
            struct.pack("<HH2sHh", 0x0028, 0x0121, b"SS", 2, 100), changed(PixelPaddingValue=200)
        ),
        np.where((STORED >= 100) & (STORED <= 200), AIR, STORED - 1024),
    ),
    "filled-up": (with_pixels(np.r_[UNSIGNED, UNSIGNED[:1]]), STORED - 1024),
    "private-elements": (
        before_pixels(element(0x00091002, b"OB", bytes(2**20))),
        STORED - 1024,
    ),
    "nested-sequences": (before_pixels(nested(400)), STORED - 1024),
    "nested-unknown": (before_pixels(nested(400, b"UN")), STORED - 1024),
    "image-before-its-letters": (b"II*\0" + CT[4:], STORED - 1024),
}

BAD_DICOMS: dict[str, tuple[bytes, type[ServiceError], str]] = {
    "mr": (shipped("MR_small.dcm"), UnsuitableImage, "modality .* is MR"),
    "unknown-modality": (changed(Modality="DOE"), UnsuitableImage, "is not CT"),
    "no-modality": (changed(Modality=None), UnsuitableImage, "is missing"),
    "rt-plan": (shipped("rtplan.dcm"), UnsuitableImage, "RTPLAN"),
    "localizer": (
        shipped("dicomdirtests/98892001/CT2N/6293"), UnsuitableImage, "localizer",
    ),
    "small": (shipped("dicomdirtests/98892001/CT5N/2062"), UnsuitableImage, "16 x 16"),
    "dicomdir": (shipped("dicomdirtests/DICOMDIR"), UnsuitableImage, "DICOMDIR"),
    "enhanced": (enhanced(), UnsuitableImage, "Enhanced CT"),
    "secondary-capture": (
        changed(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), UnsuitableImage, "secondary capture",
    ),
    "other-class": (changed(SOPClassUID="1.2.3"), UnsuitableImage, "of another kind"),
    "frames": (changed(NumberOfFrames=100_000), UnsuitableImage, "several frames"),
    "frames-by-offsets": (
        compressed(JPEG2000Lossless, jpeg_2000(), jpeg_2000()), UnsuitableImage, "several frames",
    ),
    "colour": (changed(SamplesPerPixel=3), UnsuitableImage, "colours"),
    "palette": (
        changed(PhotometricInterpretation="PALETTE COLOR"), UnsuitableImage, "colours",
    ),
    "no-slope": (changed(RescaleSlope=None), UnsuitableImage, "no rescale slope"),
    "no-intercept": (changed(RescaleIntercept=None), UnsuitableImage, "intercept"),
    "other-units": (changed(RescaleType="OD"), UnsuitableImage, "not HU"),
    "burned-in": (changed(BurnedInAnnotation="YES"), UnsuitableImage, "text is burned"),
    "wide": (changed(BitsAllocated=32), UnsuitableImage, "32 bits"),
    "eight-bits-big-endian": (
        big_endian().replace(b"\0\x28\x01\0US\0\x02\0\x10", b"\0\x28\x01\0US\0\x02\0\x08"),
        UnsuitableImage, "big-endian",
    ),
    "huge-header": (changed(Rows=65535, Columns=65535), UnsuitableImage, "65535 x 65535"),
    "deflated": (deflated(), UnsuitableImage, "Deflated"),
    "jpeg-lossless": (
        other_syntax("1.2.840.10008.1.2.4.70"), UnsuitableImage, "is JPEG Lossless",
    ),
    "unknown-syntax": (other_syntax("1.2.3.4"), UnsuitableImage, "is an unknown one"),
    "jpeg-of-12-bits": (
        compressed(JPEGExtended12Bit, sof(jpeg(EIGHT_BITS), b"\xff\xc0", 128, 128).replace(
            b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c")),
        UnsuitableImage, "JPEG of 12 bits",
    ),
    "slope-of-text": (
        CT.replace(b"\x53\x10DS\x02\x001 ", b"\x53\x10DS\x02\x00x "), InvalidImage, "no number",
    ),
    "slope-zero": (changed(RescaleSlope=0), InvalidImage, "is 0"),
    "slope-infinite": (
        CT.replace(b"\x53\x10DS\x02\x001 ", b"\x53\x10DS\x04\x00inf "), InvalidImage, "no number",
    ),
    "rows-of-two": (
        CT.replace(b"\x10\0US\x02\0\x80\0", b"\x10\0US\x04\0\x80\0\x80\0"), InvalidImage,
        "0028,0010",
    ),
    "no-samples": (changed(SamplesPerPixel=None), InvalidImage, "0028,0002"),
    "bits-above-bits": (changed(BitsStored=17), InvalidImage, "0028,0101"),
    "high-bit-below": (changed(HighBit=3), InvalidImage, "0028,0101"),
    "sign-of-2": (changed(PixelRepresentation=2), InvalidImage, "0028,0103"),
    "no-syntax": (shipped("meta_missing_tsyntax.dcm"), InvalidImage, "0002,0010"),
    "letters-alone": (bytes(128) + b"DICM", InvalidImage, "0002,0010"),
    "truncated": (CT[: PIXELS_AT + 20_000], InvalidImage, "more or fewer pixels"),
    "truncated-header": (CT[:PIXELS_AT], InvalidImage, "before its pixels"),
    "half-the-rows": (changed(Rows=64), InvalidImage, "more or fewer pixels"),
    "twice-the-rows": (changed(Rows=256), InvalidImage, "more or fewer pixels"),
    "elements": (
        before_pixels(element(0x00091003, b"OB", b"") * 60_000), InvalidImage, "50000 data",
    ),
    "fragments": (
        compressed(JPEG2000Lossless, *[b"\xff\xd8"] * 11_000), InvalidImage, "10000 fragments",
    ),
    "not-encapsulated": (
        CT.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"), InvalidImage,
        "not compressed",
    ),
    "run-lengths-of-three-parts": (
        compressed(RLELossless, struct.pack("<16I", 3, *[64] * 15) + bytes(100)), InvalidImage,
        "other parts",
    ),
    "run-lengths-too-short": (
        compressed(RLELossless, struct.pack("<16I", 2, 64, 66, *[0] * 13) + b"\x81\0\x81\0"),
        InvalidImage, "truncated or damaged",
    ),
    "jpeg-2000-truncated": (
        compressed(JPEG2000Lossless, jpeg_2000()[:-400]), InvalidImage, "come to their end",
    ),
    "jpeg-2000-in-boxes": (
        compressed(JPEG2000Lossless, b"\0\0\0\x0cjP  \r\n\x87\n" + jpeg_2000()), InvalidImage,
        "not JPEG 2000",
    ),
    "jpeg-2000-too-large": (
        compressed(JPEG2000Lossless, siz(60_000, 60_000)), InvalidImage, "60000 x 60000",
    ),
    "jpeg-2000-too-small": (
        compressed(JPEG2000Lossless, jpeg_2000(), Rows=4096, Columns=4096), InvalidImage,
        "4096 x 4096",
    ),
    "jpeg-2000-of-16000-components": (
        compressed(JPEG2000Lossless, siz(128, 128, 16_000)), InvalidImage, "several components",
    ),
    "jpeg-2000-of-38-bits": (
        compressed(JPEG2000Lossless, jpeg_2000()[:42] + b"\x25" + jpeg_2000()[43:]), InvalidImage,
        "data 38",
    ),
    "jpeg-2000-damaged": (
        compressed(JPEG2000Lossless, jpeg_2000()[:60] + bytes(100) + b"\xff\xd9"), InvalidImage,
        "cannot be decoded",
    ),
    "jpeg-2000-of-precincts": (
        compressed(JPEG2000Lossless, precincts(), Rows=2048, Columns=2048), InvalidImage,
        "cannot be decoded",
    ),
    "jpeg-ls-too-large": (
        compressed(JPEGLSLossless, sof(loco(), b"\xff\xf7", 60_000, 60_000)), InvalidImage,
        "60000 x 60000",
    ),
    "jpeg-ls-damaged": (
        compressed(JPEGLSLossless, loco()[:200] + b"\xff\xd9"), InvalidImage,
        "truncated or damaged",
    ),
    "jpeg-ls-is-jpeg": (
        compressed(JPEGLSLossless, jpeg(EIGHT_BITS)), InvalidImage, "not JPEG-LS",
    ),
    "jpeg-too-large": (
        compressed(JPEGBaseline8Bit, sof(jpeg(EIGHT_BITS), b"\xff\xc0", 60_000, 60_000), **EIGHT),
        InvalidImage, "60000 x 60000",
    ),
    "jpeg-progressive": (
        compressed(JPEGBaseline8Bit, jpeg(EIGHT_BITS, progressive=True), **EIGHT), InvalidImage,
        "not JPEG of the kind",
    ),
    "jpeg-of-colours": (
        compressed(JPEGBaseline8Bit, jpeg(np.dstack([EIGHT_BITS] * 3)), **EIGHT), InvalidImage,
        "several components",
    ),
    "jpeg-of-a-second-frame": (
        compressed(JPEGBaseline8Bit, two_frame_segments(), **EIGHT), InvalidImage, "second frame",
    ),
    "jpeg-of-segments": (
        compressed(
            JPEGBaseline8Bit, b"\xff\xd8" + b"\xff\xfe\0\x02" * 2000 + jpeg(EIGHT_BITS)[2:], **EIGHT
        ),
        InvalidImage, "not JPEG of the kind",
    ),
}  # fmt: skip
