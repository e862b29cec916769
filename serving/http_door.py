"""The REST door: request id, deadline, body limit and errors, the same for every route."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import errors
from serving.doors import (
    DOORS,
    PROBLEM_MEDIA_TYPE,
    Problem,
    as_service_error,
    door_of,
    problem,
    retry_after,
)
from serving.errors import FieldError, ServiceError
from serving.request import CURRENT, request_id
from serving.request import Request as CurrentRequest
from serving.settings import Limits

logger = logging.getLogger(__name__)

TIMEOUT_HEADER = "x-request-timeout-ms"

# Pydantic's error types → what was expected, in our words.
_EXPECTED = {
    "missing": "is missing",
    "bool": "expected true or false",
    "int": "expected a whole number",
    "string": "expected a string",
    "list": "expected a list",
    "model": "expected an object",
    "dict": "expected an object",
    "value": "expected a file",
}


class HttpDoor:
    """ASGI middleware around the whole app: nothing gets in or out without passing here."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        identity = request_id(headers.get("x-request-id"))
        CURRENT.set(CurrentRequest(identity, asyncio.get_running_loop().time() + 30.0))
        answer = _Answer(scope, send, identity)
        try:
            CURRENT.set(CurrentRequest(identity, self._deadline(headers)))
            await self._refuse_large_body(headers, receive)
            await self._app(scope, self._limited(receive), answer.send)
        except Exception as error:
            if answer.started:
                raise
            await error_response(as_service_error(error))(scope, receive, answer.send)
        answer.log()

    def _deadline(self, headers: Headers) -> float:
        text = headers.get(TIMEOUT_HEADER)
        seconds = self._limits.request_timeout_s
        if text is not None:
            if not text.isdigit() or int(text) == 0:
                raise errors.InvalidField(
                    "X-Request-Timeout-Ms: expected a whole number of milliseconds above 0",
                    fields=(FieldError(TIMEOUT_HEADER, "expected milliseconds above 0"),),
                )
            seconds = min(int(text) / 1000, seconds)
        return asyncio.get_running_loop().time() + seconds

    async def _refuse_large_body(self, headers: Headers, receive: Receive) -> None:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) <= self._limits.body_bytes:
            return
        if headers.get("expect", "").lower() != "100-continue":
            # The client sees the answer only once its own sending is done.
            await _throw_away(receive)
        raise self._too_large()

    def _limited(self, receive: Receive) -> Receive:
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limits.body_bytes:
                if message.get("more_body"):
                    await _throw_away(receive)
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> errors.TooLarge:
        return errors.TooLarge(
            f"the body is larger than {self._limits.body_bytes} bytes: send fewer or smaller images"
        )


async def _throw_away(receive: Receive) -> None:
    message: Message = {"more_body": True}
    while message.get("more_body") and message.get("type") != "http.disconnect":
        message = await receive()


class _Answer:
    """Passes the answer on with its request id, and remembers what the log needs."""

    def __init__(self, scope: Scope, send: Send, identity: str) -> None:
        self._scope = scope
        self._send = send
        self._identity = identity
        self._began = time.perf_counter()
        self.started = False
        self._status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self._identity
        await self._send(message)

    def log(self) -> None:
        level = logging.INFO if self._status >= 400 else logging.DEBUG
        if logger.isEnabledFor(level) and not _is_probe(self._scope["path"], self._status):
            route = self._scope.get("route")
            logger.log(
                level,
                "request",
                extra={
                    "method": self._scope["method"],
                    "route": getattr(route, "path", "none"),
                    "status": self._status,
                    "ms": round((time.perf_counter() - self._began) * 1000, 1),
                },
            )


def _is_probe(path: str, status: int) -> bool:
    return path in ("/livez", "/readyz", "/metrics", "/health") or path.endswith(
        ("/ready", "/live")
    )


def error_response(error: ServiceError) -> Response:
    """The answer of the REST door to an error."""
    headers = {}
    if (seconds := retry_after(error)) is not None:
        headers["retry-after"] = seconds
    return Response(
        orjson.dumps(problem(error)),
        status_code=door_of(error).status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=headers,
    )


def install_http_door(
    app: FastAPI, limits: Limits, translate: Callable[[Exception], ServiceError | None]
) -> None:
    """Give the app its middleware and its error handlers.

    `translate` knows the exceptions of the server framework underneath.
    """

    def answer(_: Request, error: Exception) -> Response:
        return error_response(_ours(error, translate))

    for kind in (ServiceError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)
    app.add_middleware(_TranslateErrors, translate=translate)
    app.add_middleware(HttpDoor, limits=limits)


class _TranslateErrors:
    """Turns the framework's own exceptions into ours before the door sees them."""

    def __init__(self, app: ASGIApp, translate: Callable[[Exception], ServiceError | None]) -> None:
        self._app = app
        self._translate = translate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            raise _ours(error, self._translate) from error


def _ours(error: Exception, translate: Callable[[Exception], ServiceError | None]) -> ServiceError:
    cause = error.__cause__
    if isinstance(cause, ServiceError):
        # FastAPI wraps what happens while it reads a body.
        return cause
    if isinstance(error, RequestValidationError):
        return invalid_fields(error.errors())
    if isinstance(error, HTTPException):
        return _http_error(error.status_code)
    return translate(error) or as_service_error(error)


def _http_error(status: int) -> ServiceError:
    if status == 404:
        return errors.UnknownRoute("there is nothing at this path: see /docs")
    if status == 405:
        return errors.MethodNotAllowed("this path does not take this method: see /docs")
    if status == 400:
        return errors.InvalidRequest(
            "the body cannot be read: expected multipart/form-data with the fields of /docs"
        )
    return errors.InternalError("an unexpected error happened")


def invalid_fields(found: "list[ErrorDetails] | Any") -> errors.InvalidField:
    """Pydantic's findings in our own words: which field, and what was expected there."""
    wrong = tuple(
        FieldError(_path(item["loc"]), _EXPECTED.get(_stem(item["type"]), "has a wrong value"))
        for item in found
    )
    detail = "; ".join(f"{item.field} {item.detail}" for item in wrong[:5])
    return errors.InvalidField(f"{detail}: see /docs for the fields of this call", fields=wrong)


def _stem(kind: str) -> str:
    return kind if kind == "missing" else kind.split("_")[0]


def _path(location: tuple[int | str, ...]) -> str:
    parts = [part for part in location if part != "body"] or ["body"]
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


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
