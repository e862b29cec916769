import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images import truncated
from tests.training import pictures
from training.audit import main
from training.findings import Findings, examine
from training.giveaways import targets
from training.samples import find_files, read_samples

NAMES = ("ill", "normal", "odd")
EACH = 6


def write(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def plant(folder: Path) -> None:
    """Two splits of clean pictures, normals brighter and as BMP, and then every fault."""
    for split, first in (("train", 0), ("valid", 100)):
        for label, name in enumerate(NAMES):
            normal = name == "normal"
            for index in range(EACH):
                image = pictures.picture(first + 10 * label + index, least=120 if normal else 20)
                write(image, folder / split / name / f"{index}{'.bmp' if normal else '.png'}")
    train, valid = folder / "train", folder / "valid"
    zero, one, two = (Image.open(train / "ill" / f"{index}.png") for index in range(3))
    write(zero.convert("RGB"), train / "ill" / "again.bmp")
    write(zero, valid / "ill" / "leak.png")
    write(pictures.scribbled(one), train / "ill" / "strokes.png")
    write(pictures.resized(one), valid / "ill" / "near.png")
    write(two, train / "odd" / "wrong.png")
    pictures.picture(3).convert("L").save(train / "odd" / "wrong-too.jpg", quality=60)
    (train / "ill" / "notes.txt").write_text("not an image")
    (valid / "odd" / "a|b.png").write_bytes(truncated((train / "ill" / "0.png").read_bytes()))
    (train / "ill" / ".hidden").write_text("passed over")
    (train / "stray.txt").write_text("in no class")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    plant(folder)
    return folder


@pytest.fixture(scope="module")
def findings(data: Path) -> Findings:
    return examine(read_samples(find_files(data))[0])


@pytest.fixture(scope="module")
def written(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "deep"
    main(["--data", str(data), "--out", str(out)])
    return out


def named(findings: Findings, groups: list[list[int]]) -> list[set[str]]:
    places = [sample.place for sample in findings.samples]
    return [{f"{places[at].split}/{places[at].path.name}" for at in group} for group in groups]


def test_equal_pixels_are_found_in_any_file_and_split(findings: Findings) -> None:
    groups = named(findings, findings.across(findings.groups.equal))
    assert groups == [{"train/0.png", "train/again.bmp", "valid/leak.png"}]
    assert findings.shared("train", "valid") == (1, 2, 2)


def test_near_duplicates_are_found_within_and_across_splits(findings: Findings) -> None:
    groups = named(findings, findings.across(findings.groups.copies))
    assert {"train/1.png", "train/strokes.png", "valid/near.png"} in groups
    assert len(groups) == 2


def test_one_picture_under_two_classes_is_a_conflict(findings: Findings) -> None:
    equal = named(findings, findings.conflicts(findings.groups.equal))
    assert equal == [{"train/2.png", "train/wrong.png"}]
    copies = named(findings, findings.conflicts(findings.groups.copies))
    assert copies == [*equal, {"train/3.png", "train/wrong-too.jpg"}]


def test_statistics_count_a_picture_once_for_each_split_and_class(findings: Findings) -> None:
    assert len(findings.of("train", "ill")) == EACH + 2
    assert len(findings.distinct_of("train", "ill")) == EACH + 1
    assert len(findings.distinct_of("train", "odd")) == EACH + 2
    assert len(findings.distinct_of("valid", "ill")) == EACH + 2


def test_a_shortcut_is_seen(findings: Findings) -> None:
    told = {(g.split, g.feature): g.auc for g in findings.giveaways}
    assert {g.target for g in findings.giveaways} == {"normal"}
    for split in ("train", "valid"):
        assert told[split, "mean"] == 1
        assert told[split, "file kind"] == 1
    assert 0.4 < told["train", "width"] < 0.6


def test_neighbours_see_the_shortcut_and_strangers_not_the_leak(findings: Findings) -> None:
    guesses = {(g.features, g.reference, g.split, g.strangers): g for g in findings.guesses}
    assert len(guesses) == 3 * 3 * 2
    normal = NAMES.index("normal")
    assert guesses["statistics", "train", "valid", False].neighbours.recall[normal] == 1
    ill = [
        guesses["tiny pixels", "train", "valid", strangers].neighbours.recall[0]
        for strangers in (False, True)
    ]
    assert ill[0] > ill[1]


def test_the_reference_is_the_training_split(data: Path, tmp_path: Path) -> None:
    for split in ("a", "train"):
        write(pictures.picture(1), tmp_path / split / "one" / "1.png")
    assert examine(read_samples(find_files(tmp_path))[0]).splits == ("train", "a")


@pytest.mark.parametrize(
    ("classes", "asked"),
    [
        (["ill", "normal", "odd"], ["normal"]),
        (["cat", "dog", "owl"], ["cat", "dog", "owl"]),
        (["cat", "dog"], ["dog"]),
    ],
)
def test_normal_alone_is_asked_for_where_it_exists(classes: list[str], asked: list[str]) -> None:
    assert targets(classes) == asked


def test_unreadable_files_are_listed_by_index_with_the_reason(data: Path, written: Path) -> None:
    files = [place.path.name for place in find_files(data)]
    text = (written / "audit.md").read_text(encoding="utf-8")
    assert "of which the service would refuse 2." in text
    assert f"| {files.index('notes.txt')} | `train/ill/notes.txt` | the file is no image" in text
    assert f"| {files.index('a|b.png')} | `valid/odd/a\\|b.png` | the file begins as a PNG" in text


def test_the_page_tells_what_was_planted(written: Path) -> None:
    text = (written / "audit.md").read_text(encoding="utf-8")
    assert "Files of valid that are also in train: 1; with copies 2;" in text
    assert "Pictures under several classes: 1; with copies 2." in text
    assert "- `train/ill/2.png` = `train/odd/wrong.png`" in text
    assert re.search(r"\| normal \| mean \| 1\.000 higher \| 1\.000 higher \|", text)
    assert "nan" not in text


def test_every_figure_of_the_page_is_written(written: Path) -> None:
    text = (written / "audit.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert sorted(shown) == sorted(path.name for path in written.glob("*.png"))
    for name in shown:
        with Image.open(written / name) as image:
            assert np.asarray(image).std() > 5


def test_the_list_names_groups_by_the_index_of_their_first_file(written: Path) -> None:
    with (written / "files.csv").open(encoding="utf-8", newline="") as file:
        rows = {f"{row['split']}/{row['class']}/{row['file']}": row for row in csv.DictReader(file)}
    first = rows["train/ill/0.png"]
    assert first["equal"] == first["index"] == rows["valid/ill/leak.png"]["equal"]
    near = rows["valid/ill/near.png"]
    assert near["copies"] == rows["train/ill/1.png"]["index"] != near["equal"] == near["index"]


def test_a_folder_without_splits_is_one(tmp_path: Path) -> None:
    write(pictures.picture(1), tmp_path / "cat" / "1.png")
    write(pictures.picture(2), tmp_path / "dog" / "1.png")
    main(["--data", str(tmp_path), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "audit.md").read_text(encoding="utf-8")
    assert "| dog | width | 0.500 higher |" in text


def test_one_picture_alone_makes_a_page(tmp_path: Path) -> None:
    write(pictures.picture(1), tmp_path / "data" / "cat" / "1.png")
    main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "audit.md").read_text(encoding="utf-8")
    assert "Distinct pictures: 1;" in text
    assert "| cat | mean | - |" in text


def test_a_folder_that_holds_no_classes_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "stray.png").touch()
    with pytest.raises(SystemExit, match=r"audit: .* holds no file in any class"):
        main(["--data", str(tmp_path)])


def test_a_folder_of_nothing_readable_says_why(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_text("not an image")
    with pytest.raises(SystemExit, match="none of 1 files can be read; of the first: the file is"):
        main(["--data", str(tmp_path)])
