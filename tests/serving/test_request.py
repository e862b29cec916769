import re
from contextvars import Context

import pytest

from serving.request import CURRENT, Request, current_request, request_id


@pytest.mark.parametrize("given", ["abc", "5f0c7c1e-2d3b_4a59.x:1", "a" * 128])
def test_a_plain_word_is_kept_as_the_id(given: str) -> None:
    assert request_id(given) == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "a b", "a\nb", 'a"b', "ä", "../x", "a\x00"])
def test_anything_else_gets_an_id_of_its_own(given: str | None) -> None:
    first, second = request_id(given), request_id(given)
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{32}", first)


def test_the_request_under_way_is_that_of_the_context() -> None:
    request = Request("a", 1.0)

    def within() -> Request:
        CURRENT.set(request)
        return current_request()

    assert Context().run(within) is request


def test_no_request_under_way_is_a_defect() -> None:
    with pytest.raises(LookupError):
        Context().run(current_request)
