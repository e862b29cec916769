"""What the answers of the service must be, and what its refusals mean. Pure functions."""

import json
from collections.abc import Mapping, Sequence

from ctscan.doctor.finding import Rank, Remark, failed, unknown
from serving.card import CLASSES

SUM_TOLERANCE = 1e-3
# Two batches of different size may take different ways through the device; the engine accepts a
# way that differs by so much.
AGREE_WITHIN = 0.03


def wrong_probabilities(found: Mapping[str, float]) -> str | None:
    """What is wrong with a prediction's probabilities by class; None if nothing is."""
    if list(found) != list(CLASSES):
        return f"its classes are {list(found)}, expected {list(CLASSES)}"
    if not all(isinstance(it, int | float) and 0 <= it <= 1 for it in found.values()):
        return f"its probabilities are {list(found.values())}, expected numbers from 0 to 1"
    total = sum(found.values())
    if abs(total - 1) > SUM_TOLERANCE:
        return f"its probabilities add up to {total:.4f}, expected 1"
    return None


def read_prediction(body: bytes) -> tuple[dict[str, float], str]:
    """Probabilities by class and the version of the card, from an answer of `/predict`.

    Raises:
        ValueError: it is none; the text says what is wrong.
    """
    try:
        answer = json.loads(body)
        found, label = dict(answer["probabilities"]), answer["pred_class"]
        version = str(answer["model"]["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("it is no prediction: is another service at this host?") from error
    if wrong := wrong_probabilities(found):
        raise ValueError(wrong)
    if label != max(found, key=lambda name: found[name]):
        raise ValueError(f"its class is {label}, which is not the most probable one")
    return found, version


def disagreement(rest: Mapping[str, float], grpc: Sequence[float]) -> str | None:
    """How REST and gRPC differ on one slice; None if they agree."""
    worst = max(abs(one - other) for one, other in zip(rest.values(), grpc, strict=True))
    if worst <= AGREE_WITHIN:
        return None
    return f"REST and gRPC differ by {worst:.3f} in a probability, at most {AGREE_WITHIN} is right"


def refused(status: int, headers: Mapping[str, str], body: bytes, host: str) -> Remark:
    """What a status other than 200 means, and what to do.

    The service itself answers with a problem object (RFC 9457); the proxy before it does not.
    """
    detail = _detail(body)
    if detail is not None:
        return failed(
            f"the transformer answers {status}: {detail}", _own_todo(status), Rank.CONSEQUENCE
        )
    if status in (401, 403):
        return unknown(
            f"the ingress answers {status}: it asks for credentials that were not given",
            "name them with --header, 'x-api-key: …' for one",
        )
    said = " ".join(body.decode(errors="replace").split())[:100]
    server = headers.get("server", "what is there")
    what = f"the ingress answers {status}{f' ({said})' if said else ''}"
    todos = {
        404: f"{server} knows no route for the host {host}: see the step of the route, and whether "
        "--ingress leads to this cluster",
        413: "the ingress takes only smaller bodies: raise its limit",
        502: "the proxy cannot talk to the transformer: see its pods",
        503: "the proxy has no transformer to send it to: see the transformer's pods",
        504: "the transformer did not answer in time: see its pods and their CPU",
    }
    return failed(what, todos.get(status, "see the log of the Gateway's proxy"), Rank.CONSEQUENCE)


def _detail(body: bytes) -> str | None:
    try:
        problem = json.loads(body)
    except ValueError:
        return None
    if not isinstance(problem, dict) or "request_id" not in problem:
        return None
    return str(problem.get("detail"))


def _own_todo(status: int) -> str:
    if status == 503:
        return "see the predictor's pods: the transformer has none that answers"
    if status == 429:
        return "it has more work than it can do: add replicas, or wait"
    return "see the transformer's log: kubectl logs, by the request id of its line"
