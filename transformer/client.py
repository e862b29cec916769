"""The way to the predictor: its card over HTTP, rows over gRPC in shared calls."""

import asyncio
import copy
import logging
import time
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import grpc
import httpx
import numpy as np
import orjson
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from numpy.typing import NDArray

from serving import errors
from serving.admission import Rate
from serving.batcher import Batcher
from serving.card import Card
from serving.doors import CARD_TRAILER, ERROR_TRAILER, RETRY_TRAILER
from serving.errors import ServiceError
from serving.request import current_request
from serving.settings import MODEL_NAME, Settings
from transformer.channel import PredictorChannel
from transformer.metrics import TransformerMetrics

logger = logging.getLogger(__name__)

STATUS_SECONDS = 2.0
WATCH_SECONDS = 2.0

# What the predictor may say to our own client in its own words. Anything else it refuses is a
# defect of this service: the client did not write that tensor.
PASSED_ON = (
    errors.Overloaded,
    errors.StaleCard,
    errors.Unavailable,
    errors.ModelNotLoaded,
    errors.Draining,
    errors.DeadlineExceeded,
    errors.NoActivationMaps,
)
ABSENT = "the predictor cannot be reached: try again"
# What gRPC itself says, without a predictor's word.
BY_CODE: dict[grpc.StatusCode, ServiceError] = {
    grpc.StatusCode.UNAVAILABLE: errors.PredictorUnavailable(ABSENT),
    grpc.StatusCode.CANCELLED: errors.PredictorUnavailable(ABSENT),
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded(
        "the deadline passed before the predictor answered"
    ),
}


@dataclass(frozen=True)
class Answer:
    """Logits [classes] of one row, and the card of the weights that gave them.

    `cam` has the class activation maps [classes, h, w] where they were asked for, `distance` how
    far the row's features are from those of the training slices where the card bounds it.
    """

    logits: NDArray[np.float32]
    card: Card
    cam: NDArray[np.float32] | None = None
    distance: float | None = None


@dataclass(frozen=True)
class Status:
    """What the predictor says of itself; all None while it cannot be reached."""

    device: str | None = None
    model_loaded: bool = False
    model_path: str | None = None
    ready: bool = False
    version: str | None = None
    batch_rows: int | None = None


class PredictorClient:
    """One gRPC channel, one HTTP client, the cards seen so far, and a batcher for the calls."""

    def __init__(self, settings: Settings, metrics: TransformerMetrics) -> None:
        process = settings.process
        self._calls_per_predictor = settings.transformer.calls_per_predictor
        self._most_rows = self._batch_rows = settings.transformer.max_call_rows
        self._most_bytes = settings.limits.body_bytes
        self._metrics = metrics
        self._channel = PredictorChannel(
            process.predictor_grpc_address,
            process.predictor_grpc_service,
            settings.limits.message_bytes,
        )
        self._http = http_client(process.predictor_http_address)
        self._cards: dict[str, Card] = {}
        self._newest: Card | None = None
        self._status = Status()
        self._status_until = 0.0
        self._asking = asyncio.Lock()
        self._batcher: Batcher[NDArray[np.uint8], Answer] = Batcher(
            self._call,
            max_rows=self._most_rows,
            max_queue_rows=settings.limits.queue_rows,
            in_flight=self._calls_per_predictor,
            metrics=metrics.batches,
        )

    @property
    def rate(self) -> Rate:
        """Rows a second that the predictors do of late."""
        return self._batcher.rate

    async def card(self) -> Card:
        """The card to prepare rows by.

        Raises:
            PredictorUnavailable, ModelNotLoaded: no predictor has said yet.
        """
        if self._newest is None:
            status = await self.status()
            if self._newest is None:
                raise (
                    errors.ModelNotLoaded("the predictor runs without weights: try again")
                    if status.model_path
                    else errors.PredictorUnavailable(ABSENT)
                )
        return self._newest

    async def infer(
        self, rows: Sequence[NDArray[np.uint8]], card: Card, *, cam: bool = False
    ) -> list[Answer]:
        """One answer for each row uint8 [H, W, 1 or C], which were prepared by `card`.

        Raises:
            StaleCard: the predictor has other weights now; `card()` knows theirs.
            NoActivationMaps: `cam` is asked for and the network has none.
            ServiceError: what the batcher or the predictor says.
        """
        wide = max(row.shape[2] for row in rows)
        alike = [row if row.shape[2] == wide else np.repeat(row, wide, axis=2) for row in rows]
        return await self._batcher.submit(
            alike, current_request().deadline, key=(card.version, wide, cam)
        )

    async def status(self) -> Status:
        """The predictor's own account, at most two seconds old; `ready` also if rows reach it."""
        async with self._asking:
            if time.monotonic() >= self._status_until:
                self._status = await self._ask()
                if self._status.batch_rows is not None:
                    self._batch_rows = self._status.batch_rows
                    self._size_calls()
                self._status_until = time.monotonic() + STATUS_SECONDS
        # It is asked over HTTP; gRPC may find the first predictor later, or lose the last earlier.
        ready = self._status.ready and await self._channel.connected()
        self._metrics.predictor_ready.set(ready)
        return replace(self._status, ready=ready)

    async def watch_predictors(self) -> None:
        """Keep as many calls under way as there are predictors, and their gauge true, for ever."""
        while True:
            try:
                addresses = await self._channel.look()
                self._batcher.in_flight = self._calls_per_predictor * max(1, addresses)
                await self.status()
            except Exception:
                # Whatever it was: nobody awaits this task, and the next look may go well.
                logger.exception("looking for predictors failed: it is tried again")
            await asyncio.sleep(WATCH_SECONDS)

    async def close(self) -> None:
        """Close the batcher and both connections; the doors have drained before."""
        await self._batcher.close()
        await self._channel.close()
        await self._http.aclose()

    async def _call(
        self, key: Hashable, rows: list[NDArray[np.uint8]], deadline: float
    ) -> list[Answer]:
        """One RPC; where no predictor took it, again elsewhere."""
        assert isinstance(key, tuple)
        version, _, cam = key
        request = infer_request(rows, self._cards[version], cam=cam)
        with self._metrics.stages.stage("transfer"):
            try:
                response = await self._rpc(self._channel.stub, request, deadline)
            except errors.Unavailable:
                self._metrics.call_retries.inc()
                response = await self._again(request, deadline)
        if not self._status.ready:
            # An answer is newer than the account that there would be none.
            self._status_until = 0.0
        return self._answers(response)

    async def _again(self, request: Any, deadline: float) -> Any:
        """By another of the channel's predictors, and by whoever the Service names.

        In a roll-out the channel may know of no predictor but the one that goes, and may not have
        noticed yet that it went.
        """
        if self._channel.ready:
            with suppress(errors.Unavailable):
                return await self._rpc(self._channel.stub, request, deadline)
        async with self._channel.through_service() as stub:
            return await self._rpc(stub, request, deadline)

    async def _rpc(self, stub: Any, request: Any, deadline: float) -> Any:
        remaining = deadline - asyncio.get_running_loop().time()
        try:
            return await stub.ModelInfer(request, timeout=max(remaining, 0.001))
        except grpc.aio.AioRpcError as error:
            raise self._translated(error) from None

    def _translated(self, error: "grpc.aio.AioRpcError") -> ServiceError:
        trailers = dict(error.trailing_metadata() or ())
        kind = errors.every_error().get(str(trailers.get(ERROR_TRAILER)))
        card = trailers.get(CARD_TRAILER)
        if kind is errors.StaleCard and isinstance(card, bytes):
            self._learn(orjson.loads(card))
        if kind in PASSED_ON:
            again = str(trailers.get(RETRY_TRAILER, ""))
            return kind(
                str(error.details()), retry_after_s=float(again) if again.isdecimal() else None
            )
        if kind is None and error.code() in BY_CODE:
            self._status_until = 0.0
            return copy.copy(BY_CODE[error.code()])
        logger.error("the predictor refused a call: %s, %s", error.code(), error.details())
        return errors.InternalError("the predictor refused what this service sent it")

    def _answers(self, response: Any) -> list[Answer]:
        if "card" in response.parameters:
            self._learn(orjson.loads(response.parameters["card"].string_param))
        card = self._cards.get(response.model_version)
        if card is None:
            raise errors.PredictorUnavailable("the predictor answered without a card: try again")
        found = {
            output.name: np.frombuffer(raw, np.float32).reshape(output.shape)
            for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
        logits = found["logits"]
        cams = found.get("cam", [None] * len(logits))
        apart = found["distance"].tolist() if "distance" in found else [None] * len(logits)
        rows = zip(logits, cams, apart, strict=True)
        return [Answer(row, card, cam, distance) for row, cam, distance in rows]

    def _learn(self, values: dict[str, Any]) -> None:
        card = Card.from_dict(values)
        self._cards[card.version] = self._newest = card
        self._size_calls()

    def _size_calls(self) -> None:
        """As many rows in a call as the predictor runs at once and as one message holds."""
        # More would be two batches there, and the first rows wait for the last.
        rows = min(self._most_rows, self._batch_rows)
        if self._newest is not None:
            rows = min(rows, max(1, self._most_bytes // self._newest.input.row_bytes))
        self._batcher.max_rows = rows

    async def _ask(self) -> Status:
        try:
            response = await self._http.get("/card")
            # Predictors of before do not say how many rows they take at once.
            said = {"batch_rows": None} | response.raise_for_status().json()
            status = Status(**{item.name: said[item.name] for item in fields(Status)})
            if status.version is not None and status.version not in self._cards:
                self._learn(said["card"])
        except (httpx.HTTPError, ValueError, TypeError, KeyError):
            # Nobody is there, or somebody else.
            return Status()
        return status


def infer_request(rows: Sequence[NDArray[np.uint8]], card: Card, *, cam: bool = False) -> Any:
    """The V2 request for rows of one shape: one uint8 tensor [N, H, W, C], sent raw."""
    measured = card.gate is not None and card.gate.feature_distance is not None
    wanted = {"logits": True, "cam": cam, "distance": measured}
    return pb.ModelInferRequest(
        model_name=MODEL_NAME,
        inputs=[{"name": "image", "datatype": "UINT8", "shape": [len(rows), *rows[0].shape]}],
        outputs=[{"name": name} for name, asked_for in wanted.items() if asked_for],
        raw_input_contents=[b"".join(row.tobytes() for row in rows)],
        parameters={
            "input_digest": pb.InferParameter(string_param=card.input.digest),
            "card_version": pb.InferParameter(string_param=card.version),
        },
    )


def http_client(address: str) -> httpx.AsyncClient:
    """A client for `host:port` or `unix:/path`.

    Each call has a connection of its own: one that is kept stays with a predictor that drains.
    """
    path = address.removeprefix("unix:") if address.startswith("unix:") else None
    # Given here, as a client with a transport of its own does not pass its limits on.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=path, limits=limits),
        base_url="http://predictor" if path else f"http://{address}",
        timeout=2.0,
        trust_env=False,
    )
