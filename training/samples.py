"""Every file of a folder of labelled images, read as the service would read it."""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from serving.errors import ServiceError
from serving.settings import Limits
from transformer.decode import FORMATS, Slice, decode
from transformer.statistics import Statistics, summarise

THUMBNAIL_SIDE = 64
TINY_SIDE = 16
# A folder without splits is one split of this name.
WHOLE = "all"

Grey = npt.NDArray[np.uint8]


class LayoutError(ValueError):
    """A folder that holds no classes; the text is one clear line."""


@dataclass(frozen=True)
class Place:
    """Where a file lies. `index` counts all files of all splits, from 0, in order of path."""

    index: int
    split: str
    label: str
    path: Path


@dataclass(frozen=True)
class Sample:
    """A readable file: `digest` of its RGB pixels and size; two grey reductions of it.

    `thumbnail` is uint8 [64,64] and `tiny` uint8 [16,16], both without regard to the aspect.
    """

    place: Place
    digest: str
    kind: str
    statistics: Statistics
    thumbnail: Grey
    tiny: Grey


@dataclass(frozen=True)
class Unreadable:
    """A file that the service would refuse, and why."""

    place: Place
    reason: str


def find_files(folder: Path) -> list[Place]:
    """Files of `folder/<split>/<class>/` or, without splits, of `folder/<class>/`.

    Names that begin with a dot are passed over, as is a file that lies in no class.

    Raises:
        LayoutError: there is no such folder, or no file in any class.
    """
    if not folder.is_dir():
        raise LayoutError(f"{folder} is no folder: name one that holds <split>/<class>/<image>")
    deep = [below for above in _folders(folder) for below in _folders(above)]
    # <class>/<image> beside <split>/<class>/<image> is a stray file, not a class.
    classes = deep or _folders(folder)
    found = [
        (path, owner.parent.name if deep else WHOLE, owner.name)
        for owner in classes
        for path in sorted(owner.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    if not found:
        raise LayoutError(
            f"{folder} holds no file in any class: expected <split>/<class>/<image> or "
            "<class>/<image>"
        )
    return [Place(index, split, label, path) for index, (path, split, label) in enumerate(found)]


def _folders(folder: Path) -> list[Path]:
    below = (path for path in folder.iterdir() if path.is_dir())
    return sorted(path for path in below if not path.name.startswith("."))


def read_samples(places: Iterable[Place]) -> tuple[list[Sample], list[Unreadable]]:
    """Read every file; those that cannot be read come back with the reason."""
    samples, unreadable = [], []
    for place in places:
        try:
            samples.append(read_sample(place))
        except ServiceError as error:
            unreadable.append(Unreadable(place, error.detail))
        except OSError as error:
            unreadable.append(Unreadable(place, f"the system says: {error.strerror}"))
    return samples, unreadable


def read_sample(place: Place) -> Sample:
    """Decode one file and keep what the audit compares.

    Raises:
        ServiceError: the service would not read the file either.
        OSError: the file cannot be opened.
    """
    data = place.path.read_bytes()
    ct_slice = decode(data, Limits())
    return Sample(
        place=place,
        digest=pixels_digest(ct_slice),
        kind=file_kind(data),
        statistics=summarise(ct_slice),
        thumbnail=reduced(ct_slice.grey, THUMBNAIL_SIDE),
        tiny=reduced(ct_slice.grey, TINY_SIDE),
    )


def pixels_digest(ct_slice: Slice) -> str:
    """SHA-256 of a slice's size and RGB pixels, equal whatever file they came from."""
    digest = hashlib.sha256(f"{ct_slice.height}x{ct_slice.width}:".encode())
    digest.update(ct_slice.image.tobytes())
    return digest.hexdigest()


def file_kind(data: bytes) -> str:
    """Format and pixel mode that the header of a decodable file states, such as `PNG RGBA`."""
    for name, (beginnings, opener) in FORMATS.items():
        if data.startswith(beginnings):
            return f"{name} {opener(io.BytesIO(data)).mode}"
    return "other"


def reduced(grey: Image.Image, side: int) -> Grey:
    """Means over equal rectangles: uint8 [side,side], without regard to the aspect."""
    return np.asarray(grey.resize((side, side), Image.Resampling.BOX))
