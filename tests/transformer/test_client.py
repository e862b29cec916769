"""The way to the predictor, against a stub in place of the channel."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from numpy.typing import NDArray

from serving import errors
from serving.card import Card, InputSpec
from serving.settings import Settings
from tests.transformer.rooms import GATE, metrics, request
from transformer.client import WATCH_SECONDS, PredictorClient, http_client, infer_request

CARD = Card("resnet18", InputSpec(8, 8))
OTHER = replace(CARD, temperature=2.0)
ROW = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)


def failure(
    code: grpc.StatusCode, *trailers: tuple[str, str | bytes], details: str = "in its words"
) -> grpc.aio.AioRpcError:
    empty = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, empty, grpc.aio.Metadata(*trailers), details)


class Stub:
    """Plays one outcome a call, the last for ever; an outcome is an error or the card it has."""

    def __init__(self) -> None:
        self.outcomes: list[Exception | Card] = [CARD]
        self.requests: list[Any] = []
        self.version: str | None = None

    async def ModelInfer(self, request: Any, timeout: float) -> Any:
        assert timeout > 0
        self.requests.append(request)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        (tensor,) = request.inputs
        rows = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(tensor.shape)
        logits = np.zeros((len(rows), 4), np.float32)
        logits[:, 0] = rows.reshape(len(rows), -1).mean(1)
        known = request.parameters["card_version"].string_param == outcome.version
        card = json.dumps(outcome.to_wire())
        maps: NDArray[np.float32] = np.stack(
            [rows[..., 0] * np.float32(part) for part in range(4)], axis=1
        )
        apart = logits[:, 0] / np.float32(512)
        tensors: dict[str, NDArray[np.float32]] = {"logits": logits, "cam": maps, "distance": apart}
        names = [output.name for output in request.outputs]
        return pb.ModelInferResponse(
            model_version=self.version or outcome.version,
            outputs=[{"name": name, "shape": list(tensors[name].shape)} for name in names],
            raw_output_contents=[tensors[name].tobytes() for name in names],
            parameters={} if known else {"card": pb.InferParameter(string_param=card)},
        )


class Channel:
    """The way there: a stub at its end, and how many addresses its name has, look after look."""

    def __init__(self, stub: Stub) -> None:
        self.stub = self.service_stub = stub
        self.ready = False
        self.leads_somewhere = True
        self.addresses = [1]

    async def connected(self) -> bool:
        return self.leads_somewhere

    @asynccontextmanager
    async def through_service(self) -> AsyncIterator[Stub]:
        yield self.service_stub

    async def look(self) -> int:
        return self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]

    async def close(self) -> None: ...


class Home:
    """The predictor's HTTP door."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(200, json=said())

    def __call__(self, _: httpx.Request) -> httpx.Response:
        self.calls += 1
        return self.answer()


def said(card: Card | None = CARD, **changes: Any) -> dict[str, Any]:
    return {
        "version": card.version if card else None,
        "device": "cpu" if card else None,
        "model_loaded": card is not None,
        "ready": card is not None,
        "model_path": "models/model.pt",
        "card": card.to_dict() if card else None,
        **changes,
    }


@pytest.fixture
def home() -> Home:
    return Home()


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def channel(stub: Stub) -> Channel:
    return Channel(stub)


@pytest.fixture
async def client(home: Home, channel: Channel) -> AsyncIterator[PredictorClient]:
    made = PredictorClient(Settings(), metrics())
    await made._http.aclose()
    made._http = httpx.AsyncClient(transport=httpx.MockTransport(home), base_url="http://p")
    await made._channel.close()
    made._channel = channel  # type: ignore[assignment]
    yield made
    await made.close()


async def test_each_row_has_its_own_answer_with_the_card_that_gave_it(
    client: PredictorClient,
) -> None:
    rows = [ROW, ROW // 2, ROW * 0]
    with request():
        answers = await client.infer(rows, await client.card())
    assert [float(answer.logits[0]) for answer in answers] == [
        pytest.approx(row.mean()) for row in rows
    ]
    assert {answer.card.version for answer in answers} == {CARD.version}
    assert {answer.cam for answer in answers} == {None}
    assert {answer.distance for answer in answers} == {None}


@pytest.mark.parametrize("cam", [False, True])
async def test_distances_are_asked_for_where_the_card_bounds_them(
    client: PredictorClient, stub: Stub, home: Home, cam: bool
) -> None:
    gated = replace(CARD, gate=replace(GATE, feature_distance=0.3))
    home.answer = lambda: httpx.Response(200, json=said(gated))
    stub.outcomes = [gated]
    rows = [ROW, ROW // 2]
    with request():
        answers = await client.infer(rows, await client.card(), cam=cam)
    assert [output.name for output in stub.requests[0].outputs] == [
        *("logits", "cam")[: 1 + cam],
        "distance",
    ]
    assert [answer.distance for answer in answers] == [
        pytest.approx(row.mean() / 512) for row in rows
    ]
    assert [answer.cam is not None for answer in answers] == [cam, cam]


async def test_maps_come_row_by_row_where_they_are_asked_for(client: PredictorClient) -> None:
    rows = [ROW, ROW // 2]
    with request():
        answers = await client.infer(rows, await client.card(), cam=True)
    for answer, row in zip(answers, rows, strict=True):
        assert answer.cam is not None
        assert answer.cam.shape == (4, 8, 8)
        np.testing.assert_array_equal(answer.cam[3], row[..., 0] * np.float32(3))
        assert float(answer.logits[0]) == pytest.approx(row.mean())


async def test_rows_that_ask_for_maps_share_no_call_with_rows_that_do_not(
    client: PredictorClient, stub: Stub
) -> None:
    client._batcher.in_flight = 0  # so that all wait together
    with request():
        card = await client.card()
        calls = [client.infer([ROW], card, cam=cam) for cam in (False, True, False, True)]
        waiting = asyncio.gather(*calls)
        await asyncio.sleep(0)
        client._batcher.in_flight = 2
        client._batcher._pump()
        answers = [answer for (answer,) in await waiting]
    assert [answer.cam is not None for answer in answers] == [False, True, False, True]
    assert sorted([output.name for output in sent.outputs] for sent in stub.requests) == [
        ["logits"],
        ["logits", "cam"],
    ]
    assert {tuple(sent.inputs[0].shape) for sent in stub.requests} == {(2, 8, 8, 1)}


@pytest.mark.parametrize(
    ("told", "lengths"), [({"batch_rows": 3}, [1, 3, 3]), ({"batch_rows": 64}, [7]), ({}, [7])]
)
async def test_a_call_has_no_more_rows_than_a_batch_of_the_predictor(
    told: dict[str, Any], lengths: list[int], client: PredictorClient, home: Home, stub: Stub
) -> None:
    home.answer = lambda: httpx.Response(200, json=said(**told))
    with request():
        answers = await client.infer([ROW] * 7, await client.card())
    assert len(answers) == 7
    assert sorted(sent.inputs[0].shape[0] for sent in stub.requests) == lengths


@pytest.mark.parametrize(("rows", "lengths"), [(2.9, [1, 2, 2]), (0.5, [1] * 5)])
async def test_a_call_is_no_larger_than_a_body_may_be(
    rows: float, lengths: list[int], client: PredictorClient, stub: Stub
) -> None:
    client._most_bytes = int(rows * CARD.input.row_bytes)
    with request():
        assert len(await client.infer([ROW] * 5, await client.card())) == 5
    assert sorted(sent.inputs[0].shape[0] for sent in stub.requests) == lengths


async def test_how_many_rows_a_predictor_takes_is_not_forgotten_while_it_is_away(
    client: PredictorClient, home: Home, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("transformer.client.time.monotonic", lambda: now)
    home.answer = lambda: httpx.Response(200, json=said(batch_rows=3))
    await client.status()
    home.answer = lambda: httpx.Response(503)
    now += 10
    assert (await client.status()).batch_rows is None
    with request():
        await client.infer([ROW] * 7, await client.card())
    assert sorted(sent.inputs[0].shape[0] for sent in stub.requests) == [1, 3, 3]


async def test_a_call_says_which_card_its_rows_were_prepared_for(
    client: PredictorClient, stub: Stub
) -> None:
    with request():
        await client.infer([ROW], await client.card())
    parameters = stub.requests[0].parameters
    assert parameters["input_digest"].string_param == CARD.input.digest
    assert parameters["card_version"].string_param == CARD.version
    assert list(stub.requests[0].inputs[0].shape) == [1, 8, 8, 1]


async def test_rows_of_one_channel_are_widened_beside_rows_of_three(
    client: PredictorClient, stub: Stub
) -> None:
    colour = np.stack([ROW[..., 0], ROW[..., 0] // 2, ROW[..., 0] // 4], axis=2)
    with request():
        answers = await client.infer([ROW, colour], await client.card())
    (sent,) = stub.requests
    assert list(sent.inputs[0].shape) == [2, 8, 8, 3]
    assert float(answers[0].logits[0]) == pytest.approx(ROW.mean())
    assert float(answers[1].logits[0]) == pytest.approx(colour.mean())


async def test_the_card_of_an_answer_is_learned(client: PredictorClient, stub: Stub) -> None:
    stub.outcomes = [OTHER]
    with request():
        (answer,) = await client.infer([ROW], await client.card())
        assert answer.card == OTHER
        assert await client.card() == OTHER


async def test_the_card_of_a_refusal_is_learned(client: PredictorClient, stub: Stub) -> None:
    large = Card("resnet18", InputSpec(16, 16))
    trailers = (
        ("ctscan-error", "StaleCard"),
        ("ctscan-card-bin", json.dumps(large.to_wire()).encode()),
    )
    stub.outcomes = [failure(grpc.StatusCode.FAILED_PRECONDITION, *trailers)]
    with request():
        with pytest.raises(errors.StaleCard):
            await client.infer([ROW], await client.card())
        assert await client.card() == large


async def test_an_answer_of_an_unknown_version_is_no_crash(
    client: PredictorClient, stub: Stub
) -> None:
    stub.version = "unheard-of"
    with request():
        with pytest.raises(errors.PredictorUnavailable):
            await client.infer([ROW], await client.card())
        stub.version = None
        assert await client.infer([ROW], await client.card())


Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "name", "kind", "text"),
    [
        (Code.RESOURCE_EXHAUSTED, "Overloaded", errors.Overloaded, "in its words"),
        (Code.UNAVAILABLE, "ModelNotLoaded", errors.ModelNotLoaded, "in its words"),
        (Code.UNAVAILABLE, "Draining", errors.Draining, "in its words"),
        (Code.DEADLINE_EXCEEDED, "DeadlineExceeded", errors.DeadlineExceeded, "in its words"),
        (Code.FAILED_PRECONDITION, "StaleCard", errors.StaleCard, "in its words"),
        (Code.UNIMPLEMENTED, "NoActivationMaps", errors.NoActivationMaps, "in its words"),
        (Code.UNAVAILABLE, None, errors.PredictorUnavailable, "cannot be reached"),
        (Code.DEADLINE_EXCEEDED, None, errors.DeadlineExceeded, "deadline passed"),
        (Code.RESOURCE_EXHAUSTED, None, errors.InternalError, "refused"),
        (Code.CANCELLED, None, errors.PredictorUnavailable, "cannot be reached"),
        # What our own client did not write is our own defect, and no library's text is passed on.
        (Code.INVALID_ARGUMENT, "InvalidTensor", errors.InternalError, "refused"),
        (Code.INVALID_ARGUMENT, None, errors.InternalError, "refused"),
        (Code.UNKNOWN, None, errors.InternalError, "refused"),
        (Code.NOT_FOUND, "UnknownModel", errors.InternalError, "refused"),
        (Code.UNAVAILABLE, "NoSuchClass", errors.PredictorUnavailable, "cannot be reached"),
    ],
)
async def test_what_the_predictor_says_in_our_own_words(
    client: PredictorClient,
    stub: Stub,
    code: grpc.StatusCode,
    name: str | None,
    kind: type[errors.ServiceError],
    text: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stub.outcomes = [failure(code, *([("ctscan-error", name)] if name else []))]
    with request(), pytest.raises(errors.ServiceError) as failed:
        await client.infer([ROW], await client.card())
    assert type(failed.value) is kind
    assert text is None or text in failed.value.detail
    assert name or "in its words" not in failed.value.detail
    # Whoever runs the service is told what the client is not.
    assert ("in its words" in caplog.text) == (kind is errors.InternalError)


@pytest.mark.parametrize("name", [None, "Draining", "ModelNotLoaded"])
async def test_a_call_that_nobody_took_is_tried_again_through_the_service(
    client: PredictorClient, channel: Channel, name: str | None
) -> None:
    trailers = [("ctscan-error", name)] if name else []
    channel.stub.outcomes = [failure(Code.UNAVAILABLE, *trailers)]
    channel.service_stub = Stub()
    with request():
        (answer,) = await client.infer([ROW], await client.card())
    assert answer.card == CARD
    assert (len(channel.stub.requests), len(channel.service_stub.requests)) == (1, 1)


async def test_a_call_is_tried_again_with_another_predictor_first(
    client: PredictorClient, channel: Channel
) -> None:
    channel.ready = True
    channel.stub.outcomes = [failure(Code.UNAVAILABLE), *channel.stub.outcomes]
    channel.service_stub = Stub()
    with request():
        await client.infer([ROW], await client.card())
    assert (len(channel.stub.requests), len(channel.service_stub.requests)) == (2, 0)


async def test_a_channel_that_has_not_noticed_the_end_of_its_predictor_costs_no_request(
    client: PredictorClient, channel: Channel
) -> None:
    channel.ready = True
    channel.stub.outcomes = [failure(Code.UNAVAILABLE)]
    channel.service_stub = Stub()
    with request():
        await client.infer([ROW], await client.card())
    assert (len(channel.stub.requests), len(channel.service_stub.requests)) == (2, 1)


async def test_what_nobody_takes_is_given_up(client: PredictorClient, stub: Stub) -> None:
    stub.outcomes = [failure(Code.UNAVAILABLE)]
    with request(), pytest.raises(errors.PredictorUnavailable):
        await client.infer([ROW], await client.card())
    assert len(stub.requests) == 2


async def test_a_refusal_is_not_tried_again(client: PredictorClient, stub: Stub) -> None:
    stub.outcomes = [failure(Code.RESOURCE_EXHAUSTED, ("ctscan-error", "Overloaded"))]
    with request(), pytest.raises(errors.Overloaded):
        await client.infer([ROW], await client.card())
    assert len(stub.requests) == 1


@pytest.mark.parametrize(("told", "seconds"), [("7", 7.0), ("soon", 1.0), (None, 1.0)])
async def test_when_to_try_again_is_what_the_predictor_says(
    client: PredictorClient, stub: Stub, told: str | None, seconds: float
) -> None:
    trailers = [("ctscan-error", "Overloaded")] + ([("retry-after", told)] if told else [])
    stub.outcomes = [failure(Code.RESOURCE_EXHAUSTED, *trailers)]
    with request(), pytest.raises(errors.Overloaded) as refused:
        await client.infer([ROW], await client.card())
    assert refused.value.retry_after_s == seconds


async def test_the_predictors_account_is_asked_for_once_in_two_seconds(
    client: PredictorClient, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("transformer.client.time.monotonic", lambda: now)
    first = await asyncio.gather(*(client.status() for _ in range(5)))
    assert {status.version for status in first} == {CARD.version}
    assert home.calls == 1
    now = 101.9
    await client.status()
    assert home.calls == 1
    now = 102.1
    await client.status()
    assert home.calls == 2


async def test_a_failed_call_makes_health_look_again(
    client: PredictorClient, home: Home, stub: Stub
) -> None:
    assert (await client.status()).ready
    home.answer = lambda: httpx.Response(502)
    stub.outcomes = [failure(Code.UNAVAILABLE)]
    with request(), pytest.raises(errors.PredictorUnavailable):
        await client.infer([ROW], await client.card())
    assert not (await client.status()).ready


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(503),
        lambda: httpx.Response(200, text="<html>"),
        lambda: httpx.Response(200, json=[]),
        lambda: httpx.Response(200, json={"another": "service"}),
        lambda: httpx.Response(200, json=said(card=None, version="x")),
        lambda: httpx.Response(200, json={**said(), "card": {"classes": ["cat"]}}),
    ],
    ids=["error", "no-json", "list", "stranger", "no-card", "odd-card"],
)
async def test_nobody_or_a_stranger_at_the_predictors_address_is_no_crash(
    client: PredictorClient, home: Home, answer: Callable[[], httpx.Response]
) -> None:
    home.answer = answer
    status = await client.status()
    assert (status.ready, status.model_loaded, status.device) == (False, False, None)
    with pytest.raises(errors.PredictorUnavailable):
        await client.card()


async def test_a_predictor_without_weights_is_told_from_an_absent_one(
    client: PredictorClient, home: Home
) -> None:
    home.answer = lambda: httpx.Response(200, json=said(card=None))
    with pytest.raises(errors.ModelNotLoaded):
        await client.card()


def watched(client: PredictorClient, channel: Channel, *addresses: int) -> asyncio.Task[None]:
    """A watch over a channel whose name leads to so many addresses, look after look."""
    channel.addresses = list(addresses)
    return asyncio.create_task(client.watch_predictors())


@pytest.mark.looptime
async def test_there_are_as_many_calls_under_way_as_predictors_ask_for(
    client: PredictorClient, channel: Channel
) -> None:
    watching = watched(client, channel, 3, 0)
    await asyncio.sleep(0.5 * WATCH_SECONDS)
    assert client._batcher.in_flight == 3 * Settings().transformer.calls_per_predictor
    await asyncio.sleep(WATCH_SECONDS)
    assert client._batcher.in_flight == Settings().transformer.calls_per_predictor
    watching.cancel()


@pytest.mark.looptime
async def test_a_look_that_fails_is_logged_and_not_the_last(
    client: PredictorClient,
    channel: Channel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    look = channel.look

    async def fail_once() -> int:
        monkeypatch.setattr(channel, "look", look)
        raise RuntimeError("a defect")

    monkeypatch.setattr(channel, "look", fail_once)
    watching = watched(client, channel, 3)
    await asyncio.sleep(1.5 * WATCH_SECONDS)
    assert client._batcher.in_flight == 3 * Settings().transformer.calls_per_predictor
    (record,) = [item for item in caplog.records if item.levelname == "ERROR"]
    assert record.message == "looking for predictors failed: it is tried again"
    assert record.exc_info is not None
    watching.cancel()


async def test_ready_means_that_rows_reach_a_predictor_too(
    client: PredictorClient, channel: Channel
) -> None:
    assert (await client.status()).ready is True
    channel.leads_somewhere = False
    status = await client.status()
    assert (status.ready, status.model_loaded) == (False, True)


async def test_an_answer_outdates_the_account_that_there_would_be_none(
    client: PredictorClient, home: Home
) -> None:
    with request():
        card = await client.card()
        home.answer = lambda: httpx.Response(200, json=said(ready=False))
        client._status_until = 0.0
        assert not (await client.status()).ready
        home.answer = lambda: httpx.Response(200, json=said())
        await client.infer([ROW], card)
    assert (await client.status()).ready


async def test_the_gauge_says_whether_a_predictor_would_answer(
    client: PredictorClient, home: Home
) -> None:
    gauge = client._metrics.predictor_ready._value
    watching = asyncio.create_task(client.watch_predictors())
    while not home.calls:
        await asyncio.sleep(0)
    await client.status()
    assert gauge.get() == 1
    home.answer = lambda: httpx.Response(200, json=said(ready=False))
    client._status_until = 0.0
    await client.status()
    assert gauge.get() == 0
    watching.cancel()


def test_rows_are_sent_as_one_tensor() -> None:
    sent = infer_request([ROW, ROW // 2], CARD)
    assert sent.raw_input_contents == [ROW.tobytes() + (ROW // 2).tobytes()]
    assert [output.name for output in sent.outputs] == ["logits"]
    unbounded = infer_request([ROW], replace(CARD, gate=GATE))
    assert [output.name for output in unbounded.outputs] == ["logits"]


@pytest.mark.parametrize("unix", [False, True])
async def test_each_question_to_a_predictor_has_a_connection_of_its_own(
    tmp_path: Path, unix: bool
) -> None:
    connections: list[asyncio.Task[Any] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()

    path = tmp_path / "http.sock"
    started = asyncio.start_unix_server if unix else asyncio.start_server
    where: tuple[Any, ...] = (path,) if unix else ("127.0.0.1", 0)
    async with await started(answer, *where) as server:
        port = None if unix else server.sockets[0].getsockname()[1]
        async with http_client(f"unix:{path}" if unix else f"127.0.0.1:{port}") as made:
            for _ in range(2):
                assert (await made.get("/card")).status_code == 200
        assert len(connections) == 2
        await asyncio.gather(*(task for task in connections if task))
