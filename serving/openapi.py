"""What OpenAPI says of errors and headers, the same for every route."""

from typing import Any

from serving import errors
from serving.doors import DOORS, PROBLEM_MEDIA_TYPE, Problem
from serving.errors import ServiceError

SCHEMAS = "#/components/schemas/"
PROBLEM_SCHEMA = {"$ref": f"{SCHEMAS}Problem"}
REQUEST_HEADERS = [
    {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "required": False,
        "description": "Deadline of this request, in milliseconds; 504 when it has passed.",
        "schema": {"type": "integer", "minimum": 1},
    },
    {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": "Id of this request in logs and problems; each answer carries it.",
        "schema": {"type": "string"},
    },
]
RETRY_AFTER = {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}


def problem_responses(*kinds: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route: every status it can answer with, and why."""
    titles: dict[int, list[str]] = {}
    for kind in (*kinds, errors.InternalError):
        titles.setdefault(DOORS[kind].status, []).append(DOORS[kind].title)
    return {
        status: {
            "model": Problem,
            "description": "; ".join(dict.fromkeys(texts)),
            "content": {PROBLEM_MEDIA_TYPE: {}},
        }
        for status, texts in sorted(titles.items())
    }


def completed(shown: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with our headers, and without what FastAPI adds of its own.

    It shows an error's body under `application/json` too, and a 422 that this door never answers.
    What a body of our own describing defines goes where its references look for it.
    """
    schemas = shown.get("components", {}).get("schemas", {})
    for path in shown["paths"].values():
        for method, operation in path.items():
            if method == "post":
                operation.setdefault("parameters", []).extend(REQUEST_HEADERS)
            for form in operation.get("requestBody", {}).get("content", {}).values():
                schemas.update(form.get("schema", {}).pop("$defs", {}))
            for status, answer in list(operation["responses"].items()):
                content = answer.get("content", {})
                if PROBLEM_MEDIA_TYPE in content:
                    answer["content"] = {PROBLEM_MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}
                    if status in ("429", "503"):
                        answer["headers"] = {"Retry-After": RETRY_AFTER}
                elif "HTTPValidationError" in str(content):
                    del operation["responses"][status]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return shown
