import ast
import logging
import re
from pathlib import Path

import grpc
import pytest

from serving import errors
from serving.doors import (
    DOORS,
    Problem,
    as_service_error,
    door_of,
    problem,
    problem_type,
    retry_after,
)
from serving.errors import FieldError, ServiceError, every_error
from serving.request import CURRENT, Request

ROOT = Path(__file__).parents[2]
Code = grpc.StatusCode


def test_every_error_that_can_be_raised_has_its_door() -> None:
    # The root alone has none: it is never raised, as the next test shows.
    assert set(every_error().values()) - {ServiceError} == set(DOORS)


def test_the_root_of_the_tree_is_never_raised() -> None:
    sources = [
        path
        for package in ("serving", "predictor", "transformer", "ctscan")
        for path in (ROOT / package).rglob("*.py")
    ]
    assert len(sources) > 20
    made = [
        f"{path.name}:{node.lineno}"
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and "ServiceError" in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    ]
    assert made == []


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (errors.InvalidRequest, 400, Code.INVALID_ARGUMENT),
        (errors.InvalidField, 400, Code.INVALID_ARGUMENT),
        (errors.InvalidTensor, 400, Code.INVALID_ARGUMENT),
        (errors.NoActivationMaps, 501, Code.UNIMPLEMENTED),
        (errors.InvalidImage, 400, Code.INVALID_ARGUMENT),
        (errors.UnsuitableImage, 422, Code.INVALID_ARGUMENT),
        (errors.ContradictoryFeedback, 422, Code.INVALID_ARGUMENT),
        (errors.TooLarge, 413, Code.RESOURCE_EXHAUSTED),
        (errors.UnknownModel, 404, Code.NOT_FOUND),
        (errors.UnknownRoute, 404, Code.NOT_FOUND),
        (errors.Overloaded, 429, Code.RESOURCE_EXHAUSTED),
        (errors.Unavailable, 503, Code.UNAVAILABLE),
        (errors.ModelNotLoaded, 503, Code.UNAVAILABLE),
        (errors.PredictorUnavailable, 503, Code.UNAVAILABLE),
        (errors.Draining, 503, Code.UNAVAILABLE),
        (errors.StorageFailed, 503, Code.UNAVAILABLE),
        (errors.StaleCard, 503, Code.FAILED_PRECONDITION),
        (errors.DeadlineExceeded, 504, Code.DEADLINE_EXCEEDED),
        (errors.InternalError, 500, Code.INTERNAL),
        (errors.MethodNotAllowed, 405, Code.UNIMPLEMENTED),
        (errors.Refused, 403, Code.PERMISSION_DENIED),
    ],
)
def test_each_error_has_the_status_and_code_of_the_published_table(
    kind: type[ServiceError], status: int, code: grpc.StatusCode
) -> None:
    door = door_of(kind("text"))
    assert (door.status, door.code) == (status, code)


@pytest.mark.parametrize("kind", DOORS)
def test_a_problem_object_is_the_same_for_every_error(kind: type[ServiceError]) -> None:
    token = CURRENT.set(Request("abc", 0.0))
    try:
        body = problem(kind("what was wrong", fields=(FieldError("file", "is missing"),)))
    finally:
        CURRENT.reset(token)
    assert body == {
        "type": problem_type(kind),
        "title": DOORS[kind].title,
        "status": DOORS[kind].status,
        "detail": "what was wrong",
        "request_id": "abc",
        "error": "what was wrong",
        "errors": [{"field": "file", "detail": "is missing"}],
    }
    Problem.model_validate(body, strict=True)


def test_an_error_without_fields_has_no_list_of_them() -> None:
    assert "errors" not in problem(errors.InvalidImage("no image"))


def test_a_problem_outside_a_request_has_an_empty_id() -> None:
    assert problem(errors.InvalidImage("no image"))["request_id"] == ""


def test_types_are_names_of_their_own() -> None:
    assert problem_type(errors.InvalidImage) == "urn:ctscan:error:invalid-image"
    types = [problem_type(kind) for kind in DOORS]
    assert len(set(types)) == len(types)
    assert all(re.fullmatch(r"urn:ctscan:error:[a-z]+(-[a-z]+)*", name) for name in types)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (30.0, "30")]
)
def test_retry_after_is_whole_seconds_rounded_up(seconds: float, expected: str) -> None:
    assert retry_after(errors.Overloaded("full", retry_after_s=seconds)) == expected


def test_only_what_may_pass_says_when_to_try_again() -> None:
    hopeful = {kind for kind in DOORS if retry_after(kind("text")) is not None}
    assert hopeful == {kind for kind, door in DOORS.items() if door.status in (429, 503)}


def test_our_own_errors_pass_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    error = errors.InvalidImage("no image")
    assert as_service_error(error) is error
    assert caplog.records == []


def test_any_other_error_is_logged_by_type_and_place_and_never_by_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        int("Jane Doe.png")
    except ValueError as error:
        shown = as_service_error(error)
    assert type(shown) is errors.InternalError
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "unexpected ValueError"
    (place,) = record.__dict__["at"]
    assert re.fullmatch(r"test_doors\.py:\d+", place)
    assert record.exc_info is None
    assert "Jane" not in str(record.__dict__)
    assert "Jane" not in shown.detail
