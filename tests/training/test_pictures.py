from pathlib import Path

import pytest
from PIL import Image

from serving.card import CLASSES
from tests.training.chest import plant, slice_of
from training.pictures import Picture, label_of, read_folds, read_pictures
from training.samples import LayoutError, Place, find_files


@pytest.fixture
def data(tmp_path: Path) -> Path:
    plant(tmp_path / "data")
    return tmp_path / "data"


def test_each_picture_is_read_once_with_its_label(data: Path) -> None:
    (data / "normal" / "copy.png").write_bytes((data / "normal" / "0.png").read_bytes())
    found = read_pictures(find_files(data))
    assert [picture.label for picture in found.pictures] == [0, 0, 1, 1, 3, 3, 2, 2]
    assert len({picture.digest for picture in found.pictures}) == 8
    assert (found.files, found.conflicts, found.unreadable) == (9, 0, [])


def test_a_picture_under_two_classes_is_left_out_and_counted(data: Path) -> None:
    stolen = (data / "normal" / "0.png").read_bytes()
    (data / CLASSES[0] / "stolen.png").write_bytes(stolen)
    found = read_pictures(find_files(data))
    assert found.conflicts == 1
    assert [picture.label for picture in found.pictures].count(3) == 1


def test_what_the_service_refuses_is_told_with_the_reason(data: Path) -> None:
    (data / "normal" / "notes.txt").write_text("not an image")
    Image.new("RGB", (100, 100), (90, 90, 90)).save(data / "normal" / "flat.png")
    found = read_pictures(find_files(data))
    reasons = {bad.place.path.name: bad.reason for bad in found.unreadable}
    assert "no contrast" in reasons["flat.png"]
    assert "no image" in reasons["notes.txt"]
    assert len(found.pictures) == 8


@pytest.mark.parametrize(
    ("folder", "index"),
    [
        ("adenocarcinoma", 0),
        ("adenocarcinoma_left.lower.lobe_T2_N0_M0_Ib", 0),
        ("large.cell.carcinoma_left.hilum", 1),
        ("Squamous cell carcinoma", 2),
        ("normal", 3),
    ],
)
def test_a_class_is_told_from_how_a_folder_begins(folder: str, index: int) -> None:
    assert label_of(Place(0, "test", folder, Path("x.png"))) == index


def test_a_folder_of_no_known_class_is_refused_by_name() -> None:
    with pytest.raises(LayoutError, match=r"benign is no folder of a known class.*adenocarcinoma"):
        label_of(Place(0, "all", "benign", Path("data/benign/x.png")))


def folds(path: Path, *rows: str, head: str = "picture,label,fold,path") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def test_folds_are_read_with_labels_by_name_or_index(data: Path, tmp_path: Path) -> None:
    table = folds(tmp_path / "folds.csv", "aa,normal,1,normal/0.png", "bb,2,0,normal/1.png")
    assert read_folds(table, data) == [
        Picture("aa", 3, 1, data / "normal" / "0.png"),
        Picture("bb", 2, 0, data / "normal" / "1.png"),
    ]


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        (["aa,4,1,normal/0.png"], None, "no table of folds"),
        (["aa,benign,1,normal/0.png"], None, "no table of folds"),
        (["aa,3"], None, "no table of folds"),
        (["aa,3"], "picture,label", "columns picture, label, fold, path"),
        (["aa,3,1,normal/9.png"], None, r"1 of 1 files .* are not there, .*9\.png"),
    ],
)
def test_a_table_that_does_not_fit_is_told(
    rows: list[str], head: str | None, message: str, data: Path, tmp_path: Path
) -> None:
    table = folds(tmp_path / "folds.csv", *rows, **({"head": head} if head else {}))
    with pytest.raises(LayoutError, match=message):
        read_folds(table, data)


def test_without_folds_the_way_to_them_is_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="make train writes it"):
        read_folds(tmp_path / "folds.csv", data)
    with pytest.raises(LayoutError, match="no folder"):
        read_folds(tmp_path / "folds.csv", tmp_path / "nowhere")


def test_digests_are_those_of_the_pixels(tmp_path: Path) -> None:
    for name in ("one.png", "two.bmp"):
        (tmp_path / "normal").mkdir(exist_ok=True)
        slice_of(1).save(tmp_path / "normal" / name)
    assert len(read_pictures(find_files(tmp_path)).pictures) == 1
