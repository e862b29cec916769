"""The gRPC door: request id, deadline and errors, the same for every method.

Without this the SDK logs a line and every error with its traceback for each call, and knows
neither deadlines nor request ids.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import grpc
import orjson
from grpc_interceptor.server import AsyncServerInterceptor

from serving.byte_budget import ByteBudget
from serving.doors import (
    CARD_TRAILER,
    ERROR_TRAILER,
    LOGGED_AT_DEBUG,
    RETRY_TRAILER,
    as_service_error,
    door_of,
    let_go,
    retry_after,
)
from serving.errors import ServiceError, StaleCard
from serving.kserve.statuses import translate
from serving.metrics import GrpcMetrics
from serving.request import CURRENT, Request, request_id

logger = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
# Clients refuse an answer whose metadata is larger than 8 KiB, and the detail travels in it with
# up to twelve bytes for a character.
DETAIL_CHARS = 400


class GrpcDoor(AsyncServerInterceptor):
    """Interceptor around every unary method."""

    def __init__(self, request_timeout_s: float, metrics: GrpcMetrics, budget: ByteBudget) -> None:
        self._request_timeout_s = request_timeout_s
        self._metrics = metrics
        self._budget = budget

    async def intercept(
        self,
        method: Callable[..., Any],
        request_or_iterator: Any,
        context: grpc.aio.ServicerContext[Any, Any],
        method_name: str,
    ) -> Any:
        given = dict(context.invocation_metadata() or ()).get(REQUEST_ID)
        identity = request_id(given if isinstance(given, str) else None)
        remaining = context.time_remaining()
        seconds = self._request_timeout_s if remaining is None else remaining
        CURRENT.set(Request(identity, asyncio.get_running_loop().time() + seconds))
        if method_name.endswith("/Watch"):
            return method(request_or_iterator, context)  # it has no end to be timed
        code = grpc.StatusCode.OK
        began = time.perf_counter()
        try:
            with self._budget.holding(request_or_iterator.ByteSize()):
                message = await method(request_or_iterator, context)
            # Only now: the SDK reads these trailers as headers while it serves the call.
            context.set_trailing_metadata(((REQUEST_ID, identity),))
            return message
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except grpc.aio.AbortError:
            code = context.code()
            raise
        except Exception as error:
            code = tell(context, error, identity, method_name)
        finally:
            self._metrics.answered(
                method_name.rpartition("/")[2], code, time.perf_counter() - began
            )


def tell(
    context: "grpc.aio.ServicerContext[Any, Any]",
    error: Exception,
    identity: str,
    method_name: str,
) -> grpc.StatusCode:
    """Make an error the answer of a call, and return its status.

    Without an abort: gRPC keeps what that raises, and with it the request.
    """
    shown = translate(error) or as_service_error(error)
    let_go(error)
    code = door_of(shown).code
    level = logging.DEBUG if isinstance(shown, LOGGED_AT_DEBUG) else logging.INFO
    logger.log(level, "request", extra={"method": method_name, "error": type(shown).__name__})
    context.set_code(code)
    context.set_details(shown.detail[:DETAIL_CHARS])
    context.set_trailing_metadata(trailers(shown, identity))
    return code


def trailers(error: ServiceError, identity: str) -> tuple[tuple[str, str | bytes], ...]:
    """What travels beside the status: the class name, the request id, and what helps next."""
    found: list[tuple[str, str | bytes]] = [
        (ERROR_TRAILER, type(error).__name__),
        (REQUEST_ID, identity),
    ]
    if (seconds := retry_after(error)) is not None:
        found.append((RETRY_TRAILER, seconds))
    if isinstance(error, StaleCard) and error.card is not None:
        found.append((CARD_TRAILER, orjson.dumps(error.card)))
    return tuple(found)
