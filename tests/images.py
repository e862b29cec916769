"""Image files for the tests, good and bad, written by hand where no encoder would.

`GOOD_IMAGES` maps a name to a file and the RGB pixels it must become; `BAD_IMAGES` to a file and
the class of error that it must meet. All use the default limits.
"""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from serving.errors import InvalidImage, ServiceError, UnsuitableImage

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Pixels = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 80, 96
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Adam7: first row, first column, step of rows, step of columns for each pass (PNG §8.1).
PASSES = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def grey(seed: int = 0) -> Pixels:
    """Random grey values in squares of 8 pixels, which JPEG at quality 100 leaves as they are."""
    squares = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8))
    return squares.repeat(8, 0).repeat(8, 1).astype(np.uint8)


def colours(seed: int = 1, channels: int = 3) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, channels)).astype(np.uint8)


def wide(seed: int = 2, channels: int | None = None) -> npt.NDArray[np.uint16]:
    """16-bit samples over the whole range."""
    shape = (HEIGHT, WIDTH) if channels is None else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(0, 65536, shape).astype(np.uint16)


def as_rgb(values: npt.NDArray[Any]) -> Pixels:
    """Grey values [H, W] as pixels [H, W, 3]."""
    return np.repeat(values.astype(np.uint8)[..., np.newaxis], 3, axis=2)


def chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def header(height: int, width: int, depth: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def png(samples: Samples, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A PNG of [H, W] or [H, W, C] samples, 8- or 16-bit; `extra` chunks come before the pixels."""
    if samples.ndim == 2:
        samples = samples[..., np.newaxis]
    height, width, channels = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    steps = PASSES if interlaced else ((0, 0, 1, 1),)
    passes = [samples[row::down, column::across] for row, column, down, across in steps]
    lines = b"".join(
        b"\0" + line.astype(line.dtype.newbyteorder(">")).tobytes()
        for part in passes
        for line in part
    )
    start = header(height, width, samples.dtype.itemsize * 8, colour, int(interlaced))
    body = chunk(b"IDAT", zlib.compress(lines, 1))
    return PNG_SIGNATURE + start + extra + body + chunk(b"IEND", b"")


def tiff(height: int, width: int, strip: bytes, **tags: int | tuple[int, ...]) -> bytes:
    """A little-endian TIFF of one strip; further tags as `t339=3`."""
    fields: dict[int, int | tuple[int, ...]] = {256: width, 257: height, 259: 1, 262: 1}
    fields |= {273: 8, 278: height, 279: len(strip)}
    fields |= {int(name[1:]): value for name, value in tags.items()}
    entries = b""
    for tag, value in sorted(fields.items()):
        if isinstance(value, int):
            entries += struct.pack("<HHII", tag, 4, 1, value)
        else:
            entries += struct.pack("<HHI", tag, 3, len(value)) + struct.pack(
                "<2H", *value, *[0] * (2 - len(value))
            )
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file that Pillow writes."""
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def truncated(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def padded(data: bytes, size: int) -> bytes:
    """A PNG made exactly `size` bytes long by a chunk that decoders skip."""
    rest = data[len(PNG_SIGNATURE) + 25 :]
    padding = chunk(b"teSt", bytes(size - len(data) - 12))
    return data[: len(data) - len(rest)] + padding + rest


def broken_checksum_png(kind: bytes = b"IDAT") -> bytes:
    """A PNG with one wrong checksum; its pixels are whole."""
    data = bytearray(png(grey()))
    start = data.index(kind)
    (length,) = struct.unpack_from(">I", data, start - 4)
    data[start + 4 + length] ^= 0xFF
    return bytes(data)


def huge_header_png(side: int = 20000) -> bytes:
    """A file of a few bytes that claims to be huge."""
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return PNG_SIGNATURE + header(side, side) + pixels + chunk(b"IEND", b"")


def huge_header_jpeg(side: int = 20000) -> bytes:
    """A JPEG whose start-of-frame segment claims another size."""
    data = bytearray(saved(Image.fromarray(grey()), "JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
    return bytes(data)


def run_length_bmp(height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """A black BMP of 8 bits whose rows are runs of one pixel."""
    rows = (b"\x01\0" * width + b"\0\0") * height + b"\0\x01"
    start = 14 + 40 + 4 * 256
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
    head = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start)
    return head + info + bytes(4 * 256) + rows


def gif_with_comment(blocks: int) -> bytes:
    """A GIF whose comment consists of blocks of one byte."""
    data = saved(Image.fromarray(grey()), "GIF")
    start = 13 + 3 * (2 << (data[10] & 7))
    return data[:start] + b"!\xfe" + b"\x01 " * blocks + b"\0" + data[start:]


def jpeg_of_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated, `scans` in all."""
    data = saved(Image.fromarray(grey()), "JPEG", quality=100, progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]


def tiff_of_strips(count: int) -> bytes:
    """A TIFF that lists `count` strips of one row, all of the same bytes."""
    strip = struct.pack("<I", 8) * count
    return tiff(HEIGHT, WIDTH, strip, t258=8, t278=1).replace(
        struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 273, 4, count, 8)
    )


def tiff_with_exif(count: int) -> bytes:
    """A TIFF whose EXIF directory holds `count` fractions, exposure times, behind the pixels."""
    at = 8 + HEIGHT * WIDTH
    exif = struct.pack("<HHHIII", 1, 33434, 5, count, at + 18, 0) + struct.pack("<II", 1, 3) * count
    return tiff(HEIGHT, WIDTH, grey().tobytes() + exif, t258=8, t34665=at)


def frames(kind: str) -> bytes:
    """Two different frames or pages in one file."""
    first, second = (Image.fromarray(colours(seed)) for seed in (1, 2))
    return saved(first, kind, save_all=True, append_images=[second])


def animated_gif() -> bytes:
    return frames("GIF")


def uniform_png(value: int = 128) -> bytes:
    """Readable, but without any contrast."""
    return png(np.full((HEIGHT, WIDTH), value, np.uint8))


def _palette_image() -> Image.Image:
    indexed = Image.fromarray(grey() // 64)
    indexed.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    return indexed


def _palette_pixels() -> Pixels:
    table = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    return np.asarray(table[grey() // 64])


def _with_alpha(channels: int) -> Pixels:
    """Samples whose last channel is alpha, a third of it fully transparent."""
    samples = colours(3, channels)
    samples[:, : WIDTH // 3, -1] = 0
    return samples


def _inks() -> Pixels:
    """CMYK in black ink alone, and full magenta in the first rows: RGB needs no rounding."""
    samples = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    samples[..., 3] = grey()
    samples[:8, :, 1] = 255
    return samples


def _inks_pixels() -> Pixels:
    pixels = as_rgb(255 - grey())
    pixels[:8, :, 1] = 0
    return pixels


def _lying_down() -> bytes:
    """A JPEG whose EXIF asks to be turned by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(Image.fromarray(grey()), "JPEG", quality=100, exif=exif)


def _premultiplied() -> bytes:
    """Grey with premultiplied alpha of a fifth: only a TIFF says so."""
    samples = np.stack([grey() // 5, np.full((HEIGHT, WIDTH), 51, np.uint8)], axis=2)
    return tiff(HEIGHT, WIDTH, samples.tobytes(), t258=(8, 8), t277=2, t338=1)


GOOD_IMAGES: dict[str, tuple[bytes, Pixels]] = {
    "png-grey": (png(grey()), as_rgb(grey())),
    "png-rgb": (png(colours()), colours()),
    "png-interlaced": (png(colours(), interlaced=True), colours()),
    "png-16-bit-grey": (png(wide()), as_rgb(wide() >> 8)),
    "png-16-bit-rgb": (png(wide(4, 3)), (wide(4, 3) >> 8).astype(np.uint8)),
    "png-16-bit-rgba": (png(wide(5, 4)), (wide(5, 4) >> 8).astype(np.uint8)[..., :3]),
    "png-16-bit-interlaced": (png(wide(), interlaced=True), as_rgb(wide() >> 8)),
    "png-1-bit": (
        saved(Image.fromarray(grey() > 127), "PNG"),
        as_rgb((grey() > 127) * 255),
    ),
    "png-palette": (saved(_palette_image(), "PNG"), _palette_pixels()),
    "png-palette-transparent": (
        saved(_palette_image(), "PNG", transparency=bytes([0, 128, 255, 7])),
        _palette_pixels(),
    ),
    "png-grey-alpha": (png(_with_alpha(2)), as_rgb(_with_alpha(2)[..., 0])),
    "png-rgba": (png(_with_alpha(4)), _with_alpha(4)[..., :3]),
    "png-transparent-grey": (
        png(grey(), extra=chunk(b"tRNS", struct.pack(">H", int(grey()[0, 0])))),
        as_rgb(grey()),
    ),
    "jpeg-grey": (saved(Image.fromarray(grey()), "JPEG", quality=100), as_rgb(grey())),
    "jpeg-progressive": (
        saved(Image.fromarray(grey()), "JPEG", quality=100, progressive=True),
        as_rgb(grey()),
    ),
    "jpeg-of-100-scans": (jpeg_of_scans(100), as_rgb(grey())),
    "jpeg-cmyk": (
        saved(Image.fromarray(_inks(), "CMYK"), "JPEG", quality=100, subsampling=0),
        _inks_pixels(),
    ),
    "jpeg-lying-down": (_lying_down(), as_rgb(grey())),
    "tiff-rgb": (saved(Image.fromarray(colours()), "TIFF"), colours()),
    "tiff-packed": (
        saved(Image.fromarray(colours()), "TIFF", compression="tiff_lzw"),
        colours(),
    ),
    "tiff-cmyk": (saved(Image.fromarray(_inks(), "CMYK"), "TIFF"), _inks_pixels()),
    "tiff-16-bit": (saved(Image.fromarray(wide()), "TIFF"), as_rgb(wide() >> 8)),
    "tiff-16-bit-big-endian": (
        saved(Image.frombytes("I;16B", (WIDTH, HEIGHT), wide().astype(">u2").tobytes()), "TIFF"),
        as_rgb(wide() >> 8),
    ),
    "tiff-32-bit": (saved(Image.fromarray(wide().astype(np.int32)), "TIFF"), as_rgb(wide() >> 8)),
    "tiff-16-bit-white-is-zero": (
        tiff(HEIGHT, WIDTH, wide().astype("<u2").tobytes(), t258=16, t262=0),
        as_rgb((65535 - wide()) >> 8),
    ),
    "tiff-8-bit-white-is-zero": (
        tiff(HEIGHT, WIDTH, grey().tobytes(), t258=8, t262=0),
        as_rgb(255 - grey()),
    ),
    "tiff-with-exif": (tiff_with_exif(1), as_rgb(grey())),
    "tiff-premultiplied": (_premultiplied(), as_rgb(grey() // 5 * 5)),
    "bmp": (saved(Image.fromarray(colours()), "BMP"), colours()),
    "gif": (saved(Image.fromarray(grey()), "GIF"), as_rgb(grey())),
    "webp": (saved(Image.fromarray(colours()), "WEBP", lossless=True), colours()),
}

BAD_IMAGES: dict[str, tuple[bytes, type[ServiceError]]] = {
    "empty": (b"", InvalidImage),
    "text": (b"adenocarcinoma\n" * 100, InvalidImage),
    "pdf": (b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj\n%%EOF\n", InvalidImage),
    "html": (b"<!doctype html><img src='slice.png'>", InvalidImage),
    "riff-sound": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), InvalidImage),
    "png-signature-alone": (PNG_SIGNATURE, InvalidImage),
    "png-of-tiny-chunks": (
        png(grey(), extra=chunk(b"teSt", b"") * 60_000),
        InvalidImage,
    ),
    "png-of-tiny-pixel-chunks": (png(grey(), extra=chunk(b"IDAT", b"") * 60_000), InvalidImage),
    "jpeg-of-tiny-segments": (b"\xff\xd8" + b"\xff\xfe\x00\x02" * 60_000, InvalidImage),
    "jpeg-of-padding": (b"\xff\xd8" + b"\xff" * 60_000, InvalidImage),
    "gif-of-tiny-blocks": (gif_with_comment(200_000), InvalidImage),
    "jpeg-of-scans": (jpeg_of_scans(101), InvalidImage),
    "jpeg-of-exif": (b"\xff\xd8" + b"\xff\xe1\x00\x08Exif\0\0" * 9, InvalidImage),
    "tiff-of-strips": (tiff_of_strips(40_000), InvalidImage),
    "tiff-of-exif-numbers": (tiff_with_exif(40_000), InvalidImage),
    "tiff-with-short-pointer": (
        tiff(HEIGHT, WIDTH, grey().tobytes(), t258=8, t34665=(8,)),
        InvalidImage,
    ),
    "bmp-run-lengths": (run_length_bmp(), InvalidImage),
    "png-truncated": (truncated(png(colours())), InvalidImage),
    "png-without-end": (png(colours())[:-12], InvalidImage),
    "png-broken-checksum": (broken_checksum_png(), InvalidImage),
    "png-broken-header-checksum": (broken_checksum_png(b"IHDR"), InvalidImage),
    "png-too-few-pixels": (
        PNG_SIGNATURE
        + header(HEIGHT, WIDTH)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b""),
        InvalidImage,
    ),
    "png-garbage-inside": (
        PNG_SIGNATURE + header(HEIGHT, WIDTH) + chunk(b"IDAT", b"no zlib") + chunk(b"IEND", b""),
        InvalidImage,
    ),
    "jpeg-truncated": (
        truncated(saved(Image.fromarray(colours()), "JPEG")),
        InvalidImage,
    ),
    "jpeg-header-alone": (
        truncated(saved(Image.fromarray(colours()), "JPEG"), 0.01),
        InvalidImage,
    ),
    "gif-truncated": (truncated(saved(Image.fromarray(colours()), "GIF")), InvalidImage),
    "bmp-truncated": (truncated(saved(Image.fromarray(colours()), "BMP")), InvalidImage),
    "tiff-truncated": (truncated(saved(Image.fromarray(colours()), "TIFF")), InvalidImage),
    "webp-truncated": (truncated(saved(Image.fromarray(colours()), "WEBP")), InvalidImage),
    "tiff-float": (saved(Image.fromarray(grey().astype(np.float32)), "TIFF"), InvalidImage),
    "tiff-hounsfield": (
        saved(Image.fromarray(grey().astype(np.int32) - 1000), "TIFF"),
        InvalidImage,
    ),
    "gif-animated": (animated_gif(), UnsuitableImage),
    "png-animated": (frames("PNG"), UnsuitableImage),
    "webp-animated": (frames("WEBP"), UnsuitableImage),
    "tiff-pages": (frames("TIFF"), UnsuitableImage),
    "jpeg-two-pictures": (frames("MPO"), UnsuitableImage),
    "png-huge-header": (huge_header_png(), UnsuitableImage),
    "jpeg-huge-header": (huge_header_jpeg(), UnsuitableImage),
    "webp-huge-header": (
        b"RIFF\x42\0\0\0WEBPVP8L\x36\0\0\0\x2f" + b"\xff" * 3 + b"\x0f" + bytes(49),
        UnsuitableImage,
    ),
    "tiff-huge-tile": (
        tiff(HEIGHT, WIDTH, bytes(100), t258=8, t277=1, t322=20000, t323=20000, t324=8, t325=100),
        UnsuitableImage,
    ),
    "one-pixel": (png(np.zeros((1, 1), np.uint8)), UnsuitableImage),
    "too-narrow": (png(np.zeros((HEIGHT, 63), np.uint8)), UnsuitableImage),
    "too-low": (png(np.zeros((63, WIDTH), np.uint8)), UnsuitableImage),
    "too-wide": (png(np.zeros((64, 4097), np.uint8)), UnsuitableImage),
}
