import pytest

from serving.errors import InvalidRequest, TooLarge
from serving.json_body import read_json


@pytest.mark.parametrize(
    ("body", "parts"), [(b'{"a":1}', 1), (b"[1]", 1), (b"[1,2]", 2), (b'[{"a":[]}]', 3)]
)
def test_a_body_of_as_many_parts_is_read_and_of_one_less_refused(body: bytes, parts: int) -> None:
    assert read_json(body, "expected a list", parts) == read_json(body, "expected a list")
    with pytest.raises(TooLarge, match=f"more than {parts - 1} values: send each image as"):
        read_json(body, "expected a list", parts - 1)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 5000])
def test_what_is_no_json_is_said_with_what_was_expected(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no valid JSON: expected a list"):
        read_json(body, "expected a list")


def test_too_many_parts_are_refused_before_anything_is_parsed() -> None:
    with pytest.raises(TooLarge):
        read_json(b"[" * 5000, "expected a list", 4999)
