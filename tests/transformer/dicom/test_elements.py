import struct
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from serving.errors import InvalidImage
from tests.dicoms import CT, PIXELS_AT, before_pixels, element, nested
from transformer.dicom.elements import META, Encoding, elements, fragments

FOLDER = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent
WHOLE_FILES = [
    path
    for path in sorted(FOLDER.glob("*.dcm"))
    if path.read_bytes()[128:132] == b"DICM" and "truncated" not in path.name
]
# One is inflated first, the other does not say what it is.
ODD = {"image_dfl.dcm", "meta_missing_tsyntax.dcm"}


END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
END_OF_ITEM = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)


def item(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value) if length is None else length) + value


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", [it for it in WHOLE_FILES if it.name not in ODD], ids=str)
def test_the_same_elements_are_found_as_by_pydicom(path: Path) -> None:
    data = path.read_bytes()
    expected = pydicom.dcmread(path)
    implicit, little = expected.original_encoding
    begin = next(it.begin for it in elements(data, 132, META) if it.tag >> 16 != 2)
    found = {}
    for it in elements(data, begin, Encoding(bool(implicit), "<" if little else ">")):
        found[it.tag] = it
        if it.tag == 0x7FE00010:
            break
    tags = [tag for tag in map(int, expected.keys()) if tag <= 0x7FE00010]
    assert sorted(found) == tags
    for tag in tags:
        raw = expected.get_item(tag)
        if isinstance(raw, pydicom.dataelem.RawDataElement) and tag != 0x7FE00010:
            assert found[tag].value(data) == (raw.value or b"")


@pytest.mark.parametrize("kind", [b"SQ", b"UN"])
@pytest.mark.parametrize("depth", [1, 2, 10_000])
def test_what_is_nested_is_passed_over_at_any_depth(kind: bytes, depth: int) -> None:
    data = nested(depth, kind) + element(0x00100010, b"OB", b"name")
    found = [it.tag for it in elements(data, 0, META)]
    assert found[-1] == 0x00100010
    assert found.count(0x00091001) == 1


def test_inside_an_unknown_a_length_is_not_taken_for_a_representation() -> None:
    value = bytes(struct.unpack("<H", b"AB")[0])
    item_of_it = struct.pack("<HHI", 0x0009, 0x1002, len(value)) + value
    unknown = element(0x00091001, b"UN", b"", 0xFFFFFFFF) + item(item_of_it) + END
    inside_undefined = element(0x00091001, b"UN", b"", 0xFFFFFFFF)
    inside_undefined += item(b"", 0xFFFFFFFF) + item_of_it + END_OF_ITEM + END
    for data in (unknown, inside_undefined):
        found = [it.tag for it in elements(data + element(0x00100010, b"OB", b"x"), 0, META)]
        assert (found[0], found[-1], len(data) > len(value)) == (0x00091001, 0x00100010, True)


def test_more_elements_than_any_slice_has_are_refused() -> None:
    with pytest.raises(InvalidImage, match="50000 data elements"):
        list(elements(element(0x00091003, b"OB", b"") * 50_001, 0, META))


def test_a_length_beyond_the_end_ends_the_walk() -> None:
    assert [it.tag for it in elements(element(0x00091003, b"OB", b"", 2**31), 0, META)] == [
        0x00091003
    ]


def test_half_an_element_is_an_error_of_the_bytes() -> None:
    with pytest.raises(struct.error):
        list(elements(b"\x08\0\x05", 0, META))


def test_a_private_megabyte_costs_one_step() -> None:
    data = before_pixels(element(0x00091002, b"OB", bytes(2**20)))
    steps = len(list(elements(data, 132, META)))
    assert steps == len(list(elements(CT, 132, META))) + 1


def test_fragments_are_found_by_their_lengths_alone() -> None:
    # The end of the sequence may stand in a frame's bytes by chance.
    data = item(b"") + item(b"ab" + END) + item(b"cd") + END + item(b"behind")
    assert [it.value(data) for it in fragments(data, 0)] == [b"", b"ab" + END, b"cd"]


@pytest.mark.parametrize(
    "data", [item(b"ab"), item(b"ab", 3) + END, CT[PIXELS_AT:]], ids=["no-end", "long", "none"]
)
def test_fragments_that_do_not_end_are_an_error_of_the_bytes(data: bytes) -> None:
    with pytest.raises(struct.error):
        list(fragments(data, 0))
