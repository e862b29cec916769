"""The REST door around a small app; where the transport matters, behind a real server."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, File, Form, Request, UploadFile
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.types import Message

from serving import errors
from serving.byte_budget import ByteBudget
from serving.doors import Problem
from serving.http_door import install_http_door, invalid_fields
from serving.kserve.statuses import SDK_ERRORS, translate
from serving.listen import bind
from serving.openapi import problem_responses
from serving.request import current_request, until_deadline
from serving.settings import Limits

LIMIT = 1000
SECRET = "Jane Doe 1970"


class Surprise(Exception): ...


def build(admit: Callable[[], None] = lambda: None, budget: ByteBudget | None = None) -> FastAPI:
    app = FastAPI()

    @app.get("/context")
    async def context() -> dict[str, Any]:
        request = current_request()
        left = request.deadline - asyncio.get_running_loop().time()
        return {"id": request.id, "left": left}

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.post("/upload")
    async def upload(
        file: Annotated[UploadFile, File()],
        is_correct: Annotated[bool, Form()],
        count: Annotated[int, Form()] = 1,
    ) -> int:
        return len(await file.read())

    @app.get("/fails/{kind}")
    async def fails(kind: str) -> None:
        raise {
            "ours": errors.Overloaded("the queue is full", retry_after_s=2.5),
            "other": Surprise(SECRET),
            "wrapped": errors.InternalError("defect"),
        }[kind]

    for path in ("/livez", "/health", "/v2/models/ctscan/ready"):

        @app.get(path)
        async def probe() -> None:
            raise errors.Draining("ending")

    install_http_door(
        app,
        Limits(body_bytes=LIMIT, request_timeout_s=20.0),
        translate,
        SDK_ERRORS,
        budget or ByteBudget(Limits().bodies_bytes, print),
        admit,
    )
    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


def assert_problem(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """The body is a complete problem object of this error."""
    body: dict[str, Any] = answer.json()
    Problem.model_validate(body, strict=True)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, body["status"]) == (status, status)
    assert body["type"] == f"urn:ctscan:error:{name}"
    assert body["detail"] == body["error"]
    assert body["request_id"] == answer.headers["x-request-id"] != ""
    return body


FORM = {"content-type": "multipart/form-data; boundary=x"}
FILE = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'


async def chunks(size: int, count: int, first: bytes = b"") -> AsyncIterator[bytes]:
    if first:
        yield first
    for _ in range(count):
        yield bytes(size)


# --- request id and deadline -----------------------------------------------------------------


async def test_a_clients_own_id_is_kept_and_echoed(client: httpx.AsyncClient) -> None:
    answer = await client.get("/context", headers={"X-Request-ID": "study-7.2"})
    assert answer.headers["x-request-id"] == answer.json()["id"] == "study-7.2"


@pytest.mark.parametrize("given", ["a b", "x" * 129, 'a"b', "é"])
async def test_an_id_that_is_no_plain_word_is_replaced(
    client: httpx.AsyncClient, given: str
) -> None:
    answer = await client.get("/context", headers=[(b"x-request-id", given.encode("latin-1"))])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["x-request-id"] == answer.json()["id"]


async def test_errors_carry_the_id_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/fails/ours", headers={"X-Request-ID": "abc"})
    assert assert_problem(answer, 429, "overloaded")["request_id"] == "abc"


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [(None, 20.0), ("1500", 1.5), ("1", 0.001), ("0005000", 5.0), ("60000", 60.0)],
)
async def test_the_deadline_is_what_the_client_gives_or_that_of_the_limits(
    client: httpx.AsyncClient, milliseconds: str | None, seconds: float
) -> None:
    headers = {} if milliseconds is None else {"X-Request-Timeout-Ms": milliseconds}
    left = (await client.get("/context", headers=headers)).json()["left"]
    assert seconds - 5 < left <= seconds


@pytest.mark.parametrize("given", ["0", "-5", "1.5", "soon", "", "5s", "²", "9" * 5000])
async def test_a_deadline_that_is_no_number_of_milliseconds_is_refused(
    client: httpx.AsyncClient, given: str
) -> None:
    headers = [(b"x-request-timeout-ms", given.encode("latin-1"))]
    answer = await client.get("/context", headers=headers)
    body = assert_problem(answer, 400, "invalid-field")
    assert body["errors"][0]["field"] == "x-request-timeout-ms"


# --- body limit ------------------------------------------------------------------------------


async def test_a_body_at_the_limit_is_read(client: httpx.AsyncClient) -> None:
    assert (await client.post("/raw", content=bytes(LIMIT))).json() == LIMIT
    assert (await client.post("/raw", content=chunks(100, LIMIT // 100))).json() == LIMIT
    assert (await client.post("/raw", content=b"")).json() == 0


@pytest.mark.parametrize("path", ["/raw", "/upload"])
async def test_a_body_over_the_limit_is_refused_and_read_to_its_end(
    client: httpx.AsyncClient, path: str
) -> None:
    for content in (bytes(LIMIT + 1), chunks(LIMIT + 1, 1, FILE), chunks(100, 50, FILE)):
        answer = await client.post(path, content=content, headers=FORM)
        body = assert_problem(answer, 413, "too-large")
        assert str(LIMIT) in body["detail"]
        if not isinstance(content, bytes):
            assert [chunk async for chunk in content] == []


@pytest.mark.parametrize("path", ["/raw", "/upload"])
@pytest.mark.parametrize("given", [["gzip"], ["X-GZIP"], ["identity, br"], ["identity", "deflate"]])
async def test_an_encoded_body_is_refused_by_what_is_wrong_with_it_and_read_to_its_end(
    client: httpx.AsyncClient, path: str, given: list[str]
) -> None:
    headers = [*FORM.items(), *(("content-encoding", coding) for coding in given)]
    content = chunks(100, 5, FILE)
    answer = await client.post(path, content=content, headers=headers)
    assert "Content-Encoding" in assert_problem(answer, 400, "invalid-request")["detail"]
    assert [chunk async for chunk in content] == []


@pytest.mark.parametrize("given", ["identity", "Identity ,identity", ""])
async def test_a_body_that_says_it_is_as_it_is_is_read(
    client: httpx.AsyncClient, given: str
) -> None:
    headers = {"content-encoding": given}
    assert (await client.post("/raw", content=b"abc", headers=headers)).json() == 3


async def test_where_no_body_is_read_its_encoding_is_nobodys_concern(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/context", headers={"content-encoding": "gzip"})
    assert answer.status_code == 200


async def ask(
    receive: Callable[[], Awaitable[Message]], *headers: tuple[bytes, bytes], path: str = "/raw"
) -> list[Message]:
    """One POST through the app, from messages as a server hands them over."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "server": ("test", 80),
        "client": ("test", 1),
    }
    await build()(scope, receive, send)
    return sent


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("an event that nobody sets was set")


def part(size: int) -> Message:
    return {"type": "http.request", "body": bytes(size), "more_body": True}


@pytest.mark.looptime
async def test_a_body_that_never_ends_is_answered_at_the_deadline() -> None:
    began = asyncio.get_running_loop().time()
    sent = await ask(never, (b"x-request-timeout-ms", b"3000"))
    assert sent[0]["status"] == 504
    assert asyncio.get_running_loop().time() == began + 3


@pytest.mark.looptime
async def test_a_body_is_waited_for_no_longer_than_others_may_be_kept_out() -> None:
    began = asyncio.get_running_loop().time()
    sent = await ask(never, (b"x-request-timeout-ms", b"9999999999"))
    assert sent[0]["status"] == 504
    assert asyncio.get_running_loop().time() == began + 20


@pytest.mark.looptime
@pytest.mark.parametrize("headers", [[], [(b"content-length", b"5000")]])
async def test_a_large_body_that_never_ends_is_thrown_away_until_the_deadline(
    headers: list[tuple[bytes, bytes]],
) -> None:
    began = asyncio.get_running_loop().time()
    waiting = [part(LIMIT), part(LIMIT)]

    async def receive() -> Message:
        return waiting.pop() if waiting else await never()

    sent = await ask(receive, *headers)
    assert sent[0]["status"] == 413
    assert asyncio.get_running_loop().time() == began + 20


class Piece(bytes):
    """Part of a body that tells when nobody holds it any more."""

    freed: ClassVar[list[int]] = []

    def __del__(self) -> None:
        self.freed.append(len(self))


async def test_what_was_read_of_a_refused_body_is_let_go_while_the_rest_is_heard_out() -> None:
    sizes = iter((600, 600, 10))
    Piece.freed.clear()
    freed_at_last: list[int] = []

    async def receive() -> Message:
        size = next(sizes)
        if size == 10:
            freed_at_last.extend(Piece.freed)
        return {"type": "http.request", "body": Piece(size), "more_body": size != 10}

    sent = await ask(receive)
    assert sent[0]["status"] == 413
    assert freed_at_last == [600, 600]


@pytest.mark.parametrize("path", ["/raw", "/upload"])
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_defect_of_ours(
    caplog: pytest.LogCaptureFixture, path: str
) -> None:
    begun = {"type": "http.request", "body": FILE, "more_body": True}
    waiting: list[Message] = [{"type": "http.disconnect"}, begun]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    with caplog.at_level(logging.INFO, "serving"):
        sent = await ask(receive, (b"content-type", b"multipart/form-data; boundary=x"), path=path)
    assert sent[0]["status"] == 499
    assert [record.levelname for record in caplog.records] == ["INFO"]


async def test_work_for_a_client_that_left_ends_when_it_leaves() -> None:
    app, begun, left = build(), asyncio.Event(), asyncio.Event()

    @app.post("/long")
    async def long(request: Request) -> None:
        await request.body()
        async with until_deadline():
            begun.set()
            await asyncio.Event().wait()

    sent: list[Message] = []
    whole: list[Message] = [{"type": "http.request", "body": b"x", "more_body": False}]

    async def receive() -> Message:
        if whole:
            return whole.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/long", "headers": [], "query_string": b""}
    answering = asyncio.ensure_future(app(scope, receive, send))
    await asyncio.wait_for(begun.wait(), 30)
    left.set()
    await asyncio.wait_for(answering, 10)
    assert sent[0]["status"] == 499


# --- errors ----------------------------------------------------------------------------------


async def test_an_error_of_ours_is_answered_by_its_door(client: httpx.AsyncClient) -> None:
    answer = await client.get("/fails/ours")
    assert assert_problem(answer, 429, "overloaded")["detail"] == "the queue is full"
    assert answer.headers["retry-after"] == "3"


async def test_an_unexpected_exception_is_a_500_without_its_text_and_one_log_line(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = await client.get("/fails/other")
    body = assert_problem(answer, 500, "internal-error")
    assert SECRET not in answer.text
    assert "Surprise" not in body["detail"]
    assert [record.getMessage() for record in caplog.records] == ["unexpected Surprise"]
    assert SECRET not in str([record.__dict__ for record in caplog.records])
    captured = capfd.readouterr()
    assert SECRET not in captured.out + captured.err
    assert "Traceback" not in captured.out + captured.err


@pytest.mark.parametrize("path", ["/nothing", "/context/more", "/docs/../../etc/passwd"])
async def test_an_unknown_route_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    body = assert_problem(await client.get(path), 404, "unknown-route")
    assert "passwd" not in body["detail"]


async def test_a_wrong_method_names_the_right_ones(client: httpx.AsyncClient) -> None:
    answer = await client.put("/raw")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\nrubbish", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n", "multipart/form-data"),
        (b"{}", "application/json"),
        (b"\x00\xff", "text/plain"),
        (b"file=abc", "application/x-www-form-urlencoded"),
    ],
)
async def test_a_form_that_cannot_be_read_is_a_400(
    client: httpx.AsyncClient, content: bytes, kind: str
) -> None:
    answer = await client.post("/upload", content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert answer.json()["type"] in (
        "urn:ctscan:error:invalid-field",
        "urn:ctscan:error:invalid-request",
    )


async def test_wrong_fields_are_named_with_what_was_expected(client: httpx.AsyncClient) -> None:
    answer = await client.post("/upload", data={"is_correct": SECRET, "count": "1.5", "file": "x"})
    body = assert_problem(answer, 400, "invalid-field")
    assert {item["field"]: item["detail"] for item in body["errors"]} == {
        "file": "expected a file",
        "is_correct": "expected true or false",
        "count": "expected a whole number",
    }
    assert SECRET not in answer.text


async def test_missing_fields_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/upload", files={"other": b"x"})
    body = assert_problem(answer, 400, "invalid-field")
    assert [item["field"] for item in body["errors"]] == ["file", "is_correct"]
    assert {item["detail"] for item in body["errors"]} == {"is missing"}


class Inner(BaseModel):
    number: float = 0.0


class Outer(BaseModel):
    flag: bool = False
    whole: int = 0
    words: list[str] = []
    inner: Inner = Inner()
    table: dict[str, int] = {}


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({"flag": "maybe"}, "flag", "expected true or false"),
        ({"flag": []}, "flag", "expected true or false"),
        ({"whole": "x"}, "whole", "expected a whole number"),
        ({"whole": 1.5}, "whole", "expected a whole number"),
        ({"whole": None}, "whole", "expected a whole number"),
        ({"words": "a"}, "words", "expected a list"),
        ({"words": ["a", 5]}, "words[1]", "expected a string"),
        ({"inner": 5}, "inner", "expected an object"),
        ({"inner": {"number": "x"}}, "inner.number", "expected a number"),
        ({"table": []}, "table", "expected an object"),
        ([], "body", "expected an object"),
    ],
)
def test_pydantics_findings_are_told_in_our_words(body: Any, field: str, detail: str) -> None:
    with pytest.raises(ValidationError) as found:
        TypeAdapter(Outer).validate_python(body)
    error = invalid_fields(found.value.errors())
    assert [(item.field, item.detail) for item in error.fields] == [(field, detail)]
    assert error.detail.startswith(f"{field} {detail}")


def test_a_long_list_of_wrong_fields_is_a_short_sentence() -> None:
    with pytest.raises(ValidationError) as found:
        TypeAdapter(list[int]).validate_python(["x"] * 100)
    error = invalid_fields(found.value.errors())
    assert len(error.fields) == 100
    assert len(error.detail) < 300


def test_openapi_lists_every_status_with_its_reasons() -> None:
    shown = problem_responses(errors.InvalidField, errors.InvalidImage, errors.TooLarge)
    assert list(shown) == [400, 413, 500]
    assert shown[400]["description"] == "Invalid field; Not a readable image"
    assert all(item["model"] is Problem for item in shown.values())


def test_openapi_shows_problems_and_no_errors_that_are_never_answered() -> None:
    app = build()

    @app.post("/documented", responses=problem_responses(errors.InvalidField))
    async def documented(file: Annotated[UploadFile, File()]) -> None: ...

    for _ in range(2):  # the document is kept after it was made once
        shown = app.openapi()
        answers = shown["paths"]["/documented"]["post"]["responses"]
        assert set(answers) == {"200", "400", "500"}
        problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
        assert answers["400"]["content"] == {"application/problem+json": problem}
        assert "Problem" in shown["components"]["schemas"]
        assert "HTTPValidationError" not in str(shown)


# --- logs ------------------------------------------------------------------------------------


async def test_a_failed_request_is_logged_by_its_route_and_not_by_its_path_or_query(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "serving"):
        await client.get("/fails/wrapped", params={"patient": SECRET})
        await client.get(f"/nothing/{SECRET}")
        await client.post("/upload", files={"file": (f"{SECRET}.png", b"x")})
        await client.get("/context")
    shown = [
        (record.__dict__["method"], record.__dict__["route"], record.__dict__["status"])
        for record in caplog.records
    ]
    assert shown == [("GET", "/fails/{kind}", 500), ("GET", "none", 404), ("POST", "/upload", 400)]
    assert all(record.__dict__["ms"] >= 0 for record in caplog.records)
    assert "Jane" not in str([record.__dict__ for record in caplog.records])


async def test_what_the_metrics_count_as_shed_is_logged_at_debug_alone(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    for level, logged in ((logging.INFO, []), (logging.DEBUG, [429])):
        with caplog.at_level(level, "serving"):
            await client.get("/fails/ours")
        assert [record.__dict__["status"] for record in caplog.records] == logged


async def test_every_request_is_logged_at_debug(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "serving"):
        await client.get("/context")
    assert [record.__dict__["status"] for record in caplog.records] == [200]


@pytest.mark.parametrize("path", ["/livez", "/health", "/v2/models/ctscan/ready"])
async def test_probes_are_not_logged_even_where_they_fail(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.DEBUG, "serving"):
        assert (await client.get(path)).status_code == 503
    assert caplog.records == []


# --- behind a real server --------------------------------------------------------------------


@asynccontextmanager
async def served(app: FastAPI, path: Path) -> AsyncIterator[None]:
    """The app on a Unix socket, behind the server that serves it in earnest."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[bind(f"unix:{path}")])
    try:
        yield
    finally:
        await server.shutdown()


async def exchange(path: Path, *sent: bytes) -> tuple[bytes, asyncio.StreamReader]:
    """Sends the bytes and returns all up to the end of the first head of an answer."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    for data in sent:
        writer.write(data)
    await writer.drain()
    try:
        return await reader.readuntil(b"\r\n\r\n"), reader
    finally:
        writer.close()


HEAD = b"POST /raw HTTP/1.1\r\nHost: test\r\n"


async def test_a_client_that_asks_first_is_refused_without_sending(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    asking = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    async with served(build(), path):
        head, _ = await exchange(path, asking % (LIMIT + 1))
        assert head.startswith(b"HTTP/1.1 413 ")
        head, _ = await exchange(path, asking % LIMIT)
        assert head == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_client_sees_why_its_large_body_was_refused_and_may_go_on(
    tmp_path: Path, announced: bool
) -> None:
    path = tmp_path / "a.sock"
    # Far more than sockets buffer, so that a server that stops reading would be noticed.
    size = 4_000_000
    transport = httpx.AsyncHTTPTransport(uds=str(path), retries=0)
    async with (
        served(build(), path),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        content = bytes(size) if announced else chunks(size // 100, 100)
        assert_problem(await client.post("/raw", content=content), 413, "too-large")
        assert (await client.post("/raw", content=b"abc")).json() == 3


async def test_a_client_is_refused_before_its_body_is_read_and_may_go_on(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    taken = [False]

    def admit() -> None:
        if not taken[0]:
            raise errors.Overloaded("full", retry_after_s=2.5)

    transport = httpx.AsyncHTTPTransport(uds=str(path), retries=0)
    async with (
        served(build(admit), path),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        for url in ("/raw", "/upload"):
            answer = await client.post(url, content=bytes(LIMIT), headers=FORM)
            assert_problem(answer, 429, "overloaded")
            assert answer.headers["retry-after"] == "3"
            # One that says no size and sends more than sockets buffer.
            answer = await client.post(url, content=chunks(40_000, 100), headers=FORM)
            assert_problem(answer, 429, "overloaded")
        head, _ = await exchange(path, HEAD + b"Content-Length: 900\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 ")
        taken[0] = True
        assert (await client.post("/raw", content=b"abc")).json() == 3
        assert (await client.get("/context")).status_code == 200


@pytest.mark.parametrize("size", [700, LIMIT + 1])
async def test_a_request_that_has_ended_holds_no_bytes(size: int) -> None:
    budget = ByteBudget(LIMIT, print)
    transport = httpx.ASGITransport(build(budget=budget))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/raw", "/upload"):
            answer = await client.post(path, content=chunks(size, 1))
            assert answer.status_code in (200, 400, 413)
    assert budget.held == 0


async def test_nothing_about_a_defect_reaches_the_servers_own_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.sock"
    async with served(build(), path):
        head, _ = await exchange(path, b"GET /fails/other HTTP/1.1\r\nHost: test\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == [
        "serving.doors"
    ]
    assert SECRET not in caplog.text
    assert capfd.readouterr().err == ""


async def test_a_client_that_hangs_up_in_its_body_leaves_no_error_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.sock"
    logged = asyncio.Event()
    handler = logging.Handler()
    handler.emit = lambda record: logged.set()  # type: ignore[method-assign]
    door = logging.getLogger("serving.http_door")
    door.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, "serving"):
            async with served(build(), path):
                _, writer = await asyncio.open_unix_connection(str(path))
                writer.write(HEAD + b"Content-Length: 100\r\n\r\nabc")
                await writer.drain()
                writer.close()
                await asyncio.wait_for(logged.wait(), 30)
    finally:
        door.removeHandler(handler)
    assert [record.levelname for record in caplog.records if record.name != "asyncio"] == ["INFO"]
