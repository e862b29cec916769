import copy

import pytest

from serving import errors
from serving.errors import FieldError, ServiceError, every_error


def test_every_error_is_listed_once_by_its_name() -> None:
    found = every_error()
    assert all(found[name].__name__ == name for name in found)
    declared = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, ServiceError)
    }
    assert set(found) == declared


def test_the_tree_in_the_text_names_every_error() -> None:
    drawing = errors.__doc__ or ""
    assert [name for name in every_error() if name not in drawing] == []


def test_an_error_names_its_row() -> None:
    error = errors.InvalidImage("is no image", retry_after_s=3.0).at("image[7]")
    assert type(error) is errors.InvalidImage
    assert error.detail == str(error) == "image[7]: is no image"
    assert error.fields == (FieldError("image[7]", "is no image"),)
    assert error.retry_after_s == 3.0


def test_fields_that_are_known_are_kept_when_a_row_is_named() -> None:
    fields = (FieldError("instances[7].b64", "no base64"),)
    assert errors.InvalidField("wrong", fields=fields).at("image[7]").fields == fields


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(errors.Overloaded, 1.0), (errors.Draining, 2.0), (errors.InvalidImage, None)],
)
def test_when_to_try_again_follows_from_the_class(
    kind: type[ServiceError], seconds: float | None
) -> None:
    assert kind("text").retry_after_s == seconds
    assert kind("text", retry_after_s=9.0).retry_after_s == 9.0


def test_a_copy_carries_all_that_the_error_carried() -> None:
    error = errors.StaleCard("other", fields=(FieldError("a", "b"),), retry_after_s=4.0)
    error.card = {"architecture": "new"}
    again = copy.copy(error)
    assert again is not error
    assert (again.detail, again.fields, again.retry_after_s) == ("other", error.fields, 4.0)
    assert isinstance(again, errors.StaleCard)
    assert again.card == error.card
    assert errors.StaleCard.card is None
