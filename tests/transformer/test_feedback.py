import errno
import json
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from serving.card import CLASSES
from serving.errors import ContradictoryFeedback, InvalidField, StorageFailed
from serving.settings import Limits
from tests.images import colours, grey
from transformer.feedback import Correction, FeedbackStore

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
WRONG = Correction("normal", False, "adenocarcinoma", "0123-abcd", "nodule, upper left")


def clock() -> datetime:
    return NOW


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(tmp_path / "feedback", clock)


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(colours())


def events(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# The correction itself


def correction(**changes: Any) -> Correction:
    fields: dict[str, Any] = {
        "predicted_class": "normal",
        "is_correct": False,
        "correct_class": "adenocarcinoma",
        "prediction_id": "0123-abcd",
        "comment": "seen twice",
    }
    return Correction.of(**{**fields, **changes}, limits=Limits(comment_chars=20))


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "adenocarcinoma"),
        ({"is_correct": True, "correct_class": None}, "normal"),
        ({"is_correct": True, "correct_class": "normal"}, "normal"),
        ({"prediction_id": None, "comment": None}, "adenocarcinoma"),
        ({"prediction_id": "a" * 64, "comment": "é" * 20}, "adenocarcinoma"),
    ],
)
def test_a_consistent_correction_has_the_class_that_was_seen(
    changes: dict[str, Any], label: str
) -> None:
    assert correction(**changes).label == label


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"predicted_class": "benign"}, "predicted_class", CLASSES[1]),
        ({"predicted_class": ""}, "predicted_class", CLASSES[1]),
        ({"correct_class": "../../etc"}, "correct_class", CLASSES[1]),
        ({"correct_class": None}, "correct_class", "is_correct is false"),
        ({"prediction_id": "short"}, "prediction_id", "8 to 64"),
        ({"prediction_id": "a" * 65}, "prediction_id", "8 to 64"),
        ({"prediction_id": "0123-abcd\n"}, "prediction_id", "8 to 64"),
        ({"comment": "é" * 21}, "comment", "at most 20 characters"),
        ({"comment": "half \ud800"}, "comment", "text in UTF-8"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(
    changes: dict[str, Any], field: str, text: str
) -> None:
    with pytest.raises(InvalidField) as caught:
        correction(**changes)
    assert [error.field for error in caught.value.fields] == [field]
    assert field in caught.value.detail
    assert text in caught.value.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"is_correct": True, "correct_class": "adenocarcinoma"},
        {"is_correct": False, "correct_class": "normal"},
    ],
)
def test_fields_that_exclude_each_other_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ContradictoryFeedback, match=r"is_correct is .*normal"):
        correction(**changes)


def test_a_confirmation_is_the_same_with_and_without_the_class_repeated() -> None:
    said = correction(is_correct=True, correct_class=None)
    assert correction(is_correct=True, correct_class="normal") == said


# What is stored


@pytest.mark.parametrize("pixels", [colours(), np.repeat(grey()[..., None], 3, 2)])
def test_the_pixels_come_back_exactly(store: FeedbackStore, pixels: np.ndarray[Any, Any]) -> None:
    saved = store.save(Image.fromarray(pixels), WRONG)
    with Image.open(saved.path) as stored:
        np.testing.assert_array_equal(np.asarray(stored.convert("RGB")), pixels)


def test_it_lies_in_the_folder_of_its_class_with_its_history(
    store: FeedbackStore, image: Image.Image, tmp_path: Path
) -> None:
    saved = store.save(image, WRONG)
    assert saved.path.parent == tmp_path / "feedback" / "adenocarcinoma"
    assert saved.label == "adenocarcinoma"
    assert saved.new
    assert saved.path.stem.removeprefix("image-").isalnum()
    assert len(saved.path.stem) == len("image-") + 12
    assert files(tmp_path) == sorted([saved.path, saved.path.with_suffix(".json")])
    assert events(saved.path) == [
        {
            "time": "2026-03-01T12:30:00+00:00",
            "predicted_class": "normal",
            "is_correct": False,
            "correct_class": "adenocarcinoma",
            "prediction_id": "0123-abcd",
            "comment": "nodule, upper left",
        }
    ]


def test_nothing_but_pixels_is_written(store: FeedbackStore, image: Image.Image) -> None:
    info = PngInfo()
    info.add_text("Patient", "secret")
    image.info = {"pnginfo": info, "icc_profile": b"secret", "exif": b"secret", "Patient": "secret"}
    content = store.save(image, WRONG).path.read_bytes()
    assert b"secret" not in content
    assert [kind for kind in (b"iCCP", b"eXIf", b"tEXt", b"tIME") if kind in content] == []


def test_the_same_correction_twice_is_one_event(store: FeedbackStore, image: Image.Image) -> None:
    first, second = store.save(image, WRONG), store.save(image, WRONG)
    assert (first.path, first.new, second.new) == (second.path, True, False)
    assert len(events(first.path)) == 1


def test_another_opinion_of_the_same_image_is_a_second_event(
    store: FeedbackStore, image: Image.Image
) -> None:
    first = store.save(image, WRONG)
    written = first.path.stat().st_mtime_ns
    second = store.save(image, Correction("adenocarcinoma", True, comment="für sicher"))
    assert (second.path, second.new) == (first.path, True)
    assert [event["comment"] for event in events(first.path)] == [WRONG.comment, "für sicher"]
    assert "für sicher" in first.path.with_suffix(".json").read_text(encoding="utf-8")
    assert first.path.stat().st_mtime_ns == written


def test_the_same_pixels_in_two_classes_are_two_images(
    store: FeedbackStore, image: Image.Image
) -> None:
    first = store.save(image, Correction("normal", True))
    second = store.save(image, WRONG)
    assert first.path.parent.name == "normal"
    assert second.path.parent.name == "adenocarcinoma"
    assert first.path.name != second.path.name
    assert len(events(first.path)) == len(events(second.path)) == 1


def test_the_same_bytes_in_another_shape_are_another_image(store: FeedbackStore) -> None:
    pixels = colours()
    upright = store.save(Image.fromarray(pixels), WRONG)
    lying = store.save(Image.fromarray(pixels.reshape(pixels.shape[1], pixels.shape[0], 3)), WRONG)
    assert upright.path != lying.path


def test_threads_lose_no_event(store: FeedbackStore, image: Image.Image, tmp_path: Path) -> None:
    said = [Correction("normal", True, comment=f"reader {number % 20}") for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        saved = list(threads.map(lambda one: store.save(image, one), said))
    assert len({one.path for one in saved}) == 1
    assert sum(one.new for one in saved) == 20
    comments = sorted(event["comment"] for event in events(saved[0].path))
    assert comments == sorted(f"reader {number}" for number in range(20))
    assert len(files(tmp_path)) == 2


def test_a_second_store_on_the_same_folder_sees_what_the_first_wrote(
    store: FeedbackStore, image: Image.Image, tmp_path: Path
) -> None:
    store.save(image, WRONG)
    assert not FeedbackStore(tmp_path / "feedback", clock).save(image, WRONG).new


# When the disk fails


@contextmanager
def at_most_file_bytes(size: int) -> Iterator[None]:
    """Writing beyond `size` fails as on a full disk, after a part was written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_nothing_half_written(
    store: FeedbackStore, image: Image.Image, tmp_path: Path
) -> None:
    with at_most_file_bytes(5000), pytest.raises(StorageFailed, match="send it again later"):
        store.save(image, WRONG)
    assert files(tmp_path) == []
    assert store.save(image, WRONG).new


@pytest.mark.parametrize(
    ("call", "failing"),
    [*(("fsync", number) for number in range(1, 6)), ("replace", 1), ("replace", 2)],
)
def test_whichever_step_fails_nothing_is_left_and_a_retry_succeeds(
    store: FeedbackStore, image: Image.Image, tmp_path: Path, call: str, failing: int
) -> None:
    calls, real = 0, getattr(os, call)

    def fail_once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, fail_once)
        with pytest.raises(StorageFailed):
            store.save(image, WRONG)
    assert files(tmp_path) == []
    saved = store.save(image, WRONG)
    assert saved.new
    with Image.open(saved.path) as stored:
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(image))
    assert len(events(saved.path)) == 1


def test_an_image_whose_history_was_lost_gets_a_new_one(
    store: FeedbackStore, image: Image.Image
) -> None:
    path = store.save(image, WRONG).path
    path.with_suffix(".json").unlink()
    assert store.save(image, WRONG).new
    assert len(events(path)) == 1


def test_a_failed_second_event_leaves_the_first_as_it_was(
    store: FeedbackStore, image: Image.Image, tmp_path: Path
) -> None:
    saved = store.save(image, WRONG)
    before = {path: path.read_bytes() for path in files(tmp_path)}
    with at_most_file_bytes(100), pytest.raises(StorageFailed):
        store.save(image, Correction("adenocarcinoma", True, comment="x" * 500))
    assert {path: path.read_bytes() for path in files(tmp_path)} == before
    assert len(events(saved.path)) == 1


@pytest.mark.parametrize("blocked", ["feedback", "feedback/adenocarcinoma"])
def test_a_file_in_place_of_a_folder_is_a_storage_failure(
    image: Image.Image, tmp_path: Path, blocked: str
) -> None:
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).write_text("in the way")
    store = FeedbackStore(tmp_path / "feedback", clock)
    with pytest.raises(StorageFailed) as caught:
        store.save(image, WRONG)
    assert str(tmp_path) not in caught.value.detail
    assert files(tmp_path) == [tmp_path / blocked]


@pytest.mark.parametrize("content", ["", "[{", "{}", '["a"]'])
def test_a_history_that_cannot_be_read_is_moved_aside(
    store: FeedbackStore, image: Image.Image, content: str
) -> None:
    path = store.save(image, WRONG).path
    path.with_suffix(".json").write_text(content)
    assert store.save(image, WRONG).new
    assert len(events(path)) == 1
    (broken,) = path.parent.glob("*.json.broken-*")
    assert broken.read_text() == content


def test_a_history_outlives_its_image_also_when_a_new_one_cannot_be_written(
    store: FeedbackStore, image: Image.Image
) -> None:
    path = store.save(image, WRONG).path
    path.unlink()
    before = events(path)
    with at_most_file_bytes(100), pytest.raises(StorageFailed):
        store.save(image, Correction("adenocarcinoma", True))
    assert events(path) == before


def test_leftovers_of_a_crash_are_swept_and_work_of_others_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "feedback" / "normal"
    folder.mkdir(parents=True)
    old, young, image = folder / ".new-aa", folder / ".new-bb", folder / "image-cc.png"
    for path, age in ((old, timedelta(hours=2)), (young, timedelta(0)), (image, timedelta(9))):
        path.write_bytes(b"part")
        os.utime(path, ((NOW - age).timestamp(),) * 2)
    FeedbackStore(tmp_path / "feedback", clock)
    assert files(tmp_path) == [young, image]


def test_folder_entries_are_synced_before_the_answer(
    store: FeedbackStore, image: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    folder = store.save(image, WRONG).path.parent
    assert synced[:2] == [str(folder.parent), str(tmp_path)]
    assert [Path(name).parent for name in synced[2:4]] == [folder, folder]
    assert synced[4:] == [str(folder)]
