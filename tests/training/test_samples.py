import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.settings import Limits
from tests.training.pictures import picture
from training.samples import (
    WHOLE,
    LayoutError,
    file_kind,
    find_files,
    pixels_digest,
    read_sample,
    read_samples,
)
from transformer.decode import decode


def saved(mode: str, kind: str) -> bytes:
    file = io.BytesIO()
    picture(1).convert(mode).save(file, kind)
    return file.getvalue()


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(saved("L", "PNG"))


def test_splits_and_classes_are_the_folders(tmp_path: Path) -> None:
    write(tmp_path, "b/cat/2.png", "a/dog/1.png", "a/cat/x/3.png", "a/cat/.no.png", "a/no.png")
    found = [(p.index, p.split, p.label, p.path.name) for p in find_files(tmp_path)]
    assert found == [
        (0, "a", "cat", "3.png"),
        (1, "a", "dog", "1.png"),
        (2, "b", "cat", "2.png"),
    ]


def test_a_folder_of_classes_is_one_split(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/1.png", ".cache/1.png")
    assert [(p.split, p.label) for p in find_files(tmp_path)] == [(WHOLE, "cat"), (WHOLE, "dog")]


def test_a_folder_that_is_absent_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="absent is no folder"):
        find_files(tmp_path / "absent")
    with pytest.raises(LayoutError, match="holds no file in any class"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("P", "GIF"), ("RGB", "WEBP")]
)
def test_the_kind_is_format_and_mode(mode: str, kind: str) -> None:
    assert file_kind(saved(mode, kind)) == f"{kind} {mode}"


def test_a_digest_is_of_the_pixels_and_the_shape() -> None:
    one, other, turned = (
        decode(data, Limits())
        for data in (saved("L", "PNG"), saved("RGB", "BMP"), saved_with_sides_swapped())
    )
    assert pixels_digest(one) == pixels_digest(other) != pixels_digest(turned)


def saved_with_sides_swapped() -> bytes:
    """The same bytes of pixels in lines of another length."""
    pixels, file = np.asarray(picture(1)), io.BytesIO()
    Image.fromarray(pixels.reshape(pixels.shape[::-1])).save(file, "PNG")
    return file.getvalue()


def test_reductions_are_means_over_rectangles(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    pixels = picture(1, 128, 192)
    pixels.save(tmp_path / "cat" / "1.png")
    sample = read_sample(find_files(tmp_path)[0])
    for found, side in ((sample.thumbnail, 64), (sample.tiny, 16)):
        rectangles = np.asarray(pixels, np.float64).reshape(side, 128 // side, side, 192 // side)
        assert np.abs(found - rectangles.mean((1, 3))).max() <= 1


def test_a_file_that_may_not_be_opened_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "cat/1.png")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    samples, unreadable = read_samples(find_files(tmp_path))
    assert (samples, unreadable[0].reason) == ([], "the system says: Permission denied")
