"""Corrections of predictions, kept as images by class with their history beside them.

    <folder>/<class>/image-<id>.png     the pixels, encoded anew: nothing else the sender wrote
    <folder>/<class>/image-<id>.json    a list of events, one for each correction

The id is made of pixels and class, so a correction that comes twice finds its own files. Files
appear whole or not at all: each is written beside its place, synced and renamed. One lock on the
class's folder holds for threads and for processes that share the volume.
"""

import fcntl
import hashlib
import io
import json
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from serving.card import CLASSES
from serving.errors import ContradictoryFeedback, FieldError, InvalidField, StorageFailed
from serving.settings import Limits

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

PREDICTION_ID = re.compile(r"[0-9a-zA-Z-]{8,64}")
# Younger ones may belong to another process that shares the folder.
LEFTOVER_AGE_S = 3600.0


@dataclass(frozen=True)
class Correction:
    """What a person says of one prediction."""

    predicted_class: str
    is_correct: bool
    correct_class: str | None = None
    prediction_id: str | None = None
    comment: str | None = None

    @property
    def label(self) -> str:
        """The class that the person saw."""
        return self.correct_class or self.predicted_class

    @classmethod
    def of(
        cls,
        predicted_class: str,
        is_correct: bool,
        correct_class: str | None,
        prediction_id: str | None,
        comment: str | None,
        limits: Limits,
    ) -> "Correction":
        """A correction that can be stored as a label.

        Raises:
            InvalidField: an unknown class, no `correct_class` where one is needed, a malformed
                `prediction_id`, or a comment that is over its limit or no text.
            ContradictoryFeedback: `is_correct` says one thing and the classes another.
        """
        if predicted_class not in CLASSES:
            raise _invalid("predicted_class", f"must be one of {', '.join(CLASSES)}")
        if correct_class is not None and correct_class not in CLASSES:
            raise _invalid("correct_class", f"must be one of {', '.join(CLASSES)}")
        if not is_correct and correct_class is None:
            raise _invalid(
                "correct_class", f"is needed when is_correct is false: one of {', '.join(CLASSES)}"
            )
        if is_correct != (correct_class in (None, predicted_class)):
            raise ContradictoryFeedback(
                f"is_correct is {str(is_correct).lower()}, but predicted_class is "
                f"{predicted_class} and correct_class is {correct_class}: change one of them"
            )
        if prediction_id is not None and not PREDICTION_ID.fullmatch(prediction_id):
            raise _invalid("prediction_id", "must be 8 to 64 letters, digits or hyphens")
        if comment is not None and len(comment) > limits.comment_chars:
            raise _invalid("comment", f"must have at most {limits.comment_chars} characters")
        if comment is not None and not _is_text(comment):
            raise _invalid("comment", "must be text in UTF-8")
        # Said in two ways it is still the same correction, and stored once.
        other = None if is_correct else correct_class
        return cls(predicted_class, is_correct, other, prediction_id, comment)


def _is_text(comment: str) -> bool:
    """Whether it can be written: a form in another charset may hold half of a surrogate pair."""
    try:
        comment.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(field: str, rule: str) -> InvalidField:
    return InvalidField(f"{field} {rule}", fields=(FieldError(field, rule),))


@dataclass(frozen=True)
class Saved:
    """Where a correction lies; `new` is false for one that was stored before."""

    path: Path
    label: str
    new: bool


class FeedbackStore:
    """A folder of corrections. `save` may be called from several threads at once."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._clock = clock
        self._sweep()

    def save(self, image: Image.Image, correction: Correction) -> Saved:
        """Store an RGB image and what was said of it; both are on disk when this returns.

        Raises:
            StorageFailed: the disk is full or the folder cannot be used; no file is half-written.
        """
        label = correction.label
        pixels = np.asarray(image)
        path = self._folder / label / f"image-{_identity(pixels, label)}.png"
        try:
            _make_folder(path.parent)
            with _locked(path.parent) as folder:
                new = self._store(path, pixels, correction, folder)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            logger.error("feedback could not be stored", extra={"reason": reason})
            raise StorageFailed(
                "the correction could not be stored, the feedback folder is full or not writable: "
                "send it again later, what comes twice is stored once"
            ) from error
        return Saved(path=path, label=label, new=new)

    def _store(self, path: Path, pixels: Pixels, correction: Correction, folder: int) -> bool:
        """Write what is missing of the image and of the event; true if the event was."""
        sidecar = path.with_suffix(".json")
        absent = [file for file in (path, sidecar) if not file.exists()]
        events = _events(sidecar)
        said = asdict(correction)
        new = not any(said.items() <= event.items() for event in events)
        try:
            if path in absent:
                _write_whole(path, _png(pixels))
            if new:
                events.append({"time": self._clock().astimezone(UTC).isoformat(), **said})
                _write_whole(sidecar, json.dumps(events, ensure_ascii=False, indent=1).encode())
            os.fsync(folder)
        except OSError:
            for file in absent:
                with suppress(OSError):
                    file.unlink(missing_ok=True)
            raise
        return new

    def _sweep(self) -> None:
        """Remove what a crash left half-written."""
        oldest = self._clock().timestamp() - LEFTOVER_AGE_S
        with suppress(OSError):
            for leftover in self._folder.glob("*/.new-*"):
                if leftover.stat().st_mtime < oldest:
                    leftover.unlink(missing_ok=True)


def _events(sidecar: Path) -> list[dict[str, Any]]:
    """What was said of an image so far; a file that holds something else is moved aside."""
    if not sidecar.exists():
        return []
    try:
        events = json.loads(sidecar.read_bytes())
    except ValueError:
        events = None
    if isinstance(events, list) and all(isinstance(event, dict) for event in events):
        return events
    sidecar.replace(sidecar.with_name(f"{sidecar.name}.broken-{secrets.token_hex(4)}"))
    logger.warning("a history of corrections could not be read and was moved aside")
    return []


def _identity(pixels: Pixels, label: str) -> str:
    digest = hashlib.sha256(f"{pixels.shape} {label}\n".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()[:12]


def _png(pixels: Pixels) -> bytes:
    """The pixels as a PNG, in one channel if that says it all (a third of the size)."""
    grey = bool((pixels == pixels[..., :1]).all())
    target = io.BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(target, "PNG")
    return target.getvalue()


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".new-{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _make_folder(folder: Path) -> None:
    """Make a folder whose own name, and its parents', survive a crash."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        with _opened(made.parent) as parent:
            os.fsync(parent)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    with _opened(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
