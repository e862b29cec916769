"""The REST door: request id, deadline, body limit and errors, the same for every route."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import errors
from serving.byte_budget import ByteBudget
from serving.doors import (
    DOORS,
    LOGGED_AT_DEBUG,
    PROBLEM_MEDIA_TYPE,
    as_service_error,
    door_of,
    let_go,
    problem,
    retry_after,
)
from serving.errors import FieldError, ServiceError
from serving.http_body import Body
from serving.openapi import completed
from serving.request import CURRENT, request_id
from serving.request import Request as CurrentRequest
from serving.settings import Limits

logger = logging.getLogger(__name__)

TIMEOUT_HEADER = "x-request-timeout-ms"
_MILLISECONDS = re.compile(r"0{0,9}[1-9][0-9]{0,9}")

# Pydantic's error types → what was expected, in our words.
_EXPECTED = {
    "missing": "is missing",
    "bool": "expected true or false",
    "int": "expected a whole number",
    "float": "expected a number",
    "string": "expected a string",
    "list": "expected a list",
    "model": "expected an object",
    "dict": "expected an object",
    "value": "expected a file",
}


class HttpDoor:
    """ASGI middleware around the whole app: nothing gets in or out without passing here."""

    def __init__(
        self, app: ASGIApp, limits: Limits, budget: ByteBudget, admit: Callable[[], None]
    ) -> None:
        self._app = app
        self._limits = limits
        self._budget = budget
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        identity = request_id(headers.get("x-request-id"))
        began = asyncio.get_running_loop().time()
        CURRENT.set(CurrentRequest(identity, began + self._limits.request_timeout_s))
        answer = _Answer(scope, send, identity)
        body: Body | None = None
        try:
            deadline = began + self._timeout_s(headers)
            request = CurrentRequest(identity, deadline)
            CURRENT.set(request)
            limit = self._limits.body_bytes
            # However long a client would wait: what it has sent so far keeps others out.
            read_by = min(deadline, began + self._limits.request_timeout_s)
            body = Body(headers, receive, limit, read_by, self._budget, self._admit, request.depart)
            answer.before = body.hear_out
            await self._app(scope, body.receive, answer.send)
        except Exception as error:
            if answer.started:
                raise
            await error_response(as_service_error(error))(scope, receive, answer.send)
        finally:
            if body is not None:
                body.end()
        answer.log()

    def _timeout_s(self, headers: Headers) -> float:
        text = headers.get(TIMEOUT_HEADER)
        if text is None:
            return self._limits.request_timeout_s
        if not _MILLISECONDS.fullmatch(text):
            raise errors.InvalidField(
                "X-Request-Timeout-Ms: expected a whole number of milliseconds above 0",
                fields=(FieldError(TIMEOUT_HEADER, "expected milliseconds above 0"),),
            )
        return int(text) / 1000


class _Answer:
    """Passes the answer on with its request id, and remembers what the log needs.

    `before` is awaited before the answer begins.
    """

    before: Callable[[], Awaitable[None]] | None = None

    def __init__(self, scope: Scope, send: Send, identity: str) -> None:
        self._scope = scope
        self._send = send
        self._identity = identity
        self._began = time.perf_counter()
        self.started = False
        self._status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self.before is not None:
                await self.before()
            self.started = True
            self._status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self._identity
        await self._send(message)

    def log(self) -> None:
        failed = self._status >= 400 and self._status != DOORS[LOGGED_AT_DEBUG].status
        level = logging.INFO if failed else logging.DEBUG
        if logger.isEnabledFor(level) and not _is_probe(self._scope["path"]):
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


def _is_probe(path: str) -> bool:
    return path.endswith(("/livez", "/readyz", "/metrics", "/health", "/ready", "/live"))


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
    app: FastAPI,
    limits: Limits,
    translate: Callable[[Exception], ServiceError | None],
    foreign: Sequence[type[Exception]],
    budget: ByteBudget,
    admit: Callable[[], None] = lambda: None,
) -> None:
    """Give the app its middleware and its error handlers.

    `foreign` are the exceptions of the server framework underneath, which `translate` knows.
    `admit` is asked before a body is read, and raises `Overloaded` where no more can be taken.
    """

    async def answer(_: Request, error: Exception) -> Response:
        response = error_response(_ours(error, translate))
        # At once: the rest of a body that was refused half way has yet to be heard out.
        let_go(error)
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)  # `Allow` beside 405
        return response

    # Handled innermost, so that the HTTP metrics count the status that the client sees.
    ours = (ServiceError, HTTPException, RequestValidationError, ClientDisconnect)
    for kind in (*ours, *foreign):
        app.add_exception_handler(kind, answer)
    app.add_middleware(HttpDoor, limits=limits, budget=budget, admit=admit)
    describe = app.openapi
    app.openapi = lambda: app.openapi_schema or completed(describe())  # type: ignore[method-assign]


def _ours(error: Exception, translate: Callable[[Exception], ServiceError | None]) -> ServiceError:
    cause = error.__cause__
    if isinstance(cause, ServiceError):
        # FastAPI wraps what happens while it reads a body.
        return cause
    if isinstance(error, ClientDisconnect) or isinstance(cause, ClientDisconnect):
        return errors.ClientLeft("the client left before its body was complete")
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
