"""The step of the weights: every ready predictor answers by the same card."""

from collections.abc import Mapping
from typing import Any

from ctscan.doctor.case import Case, NotTried
from ctscan.doctor.cluster import Json, name_of
from ctscan.doctor.finding import Finding, Remark, failed, found, listed, unknown
from ctscan.doctor.pods import is_ready
from ctscan.doctor.reader import ReadError

PORT = 8080


def weights(case: Case) -> Finding:
    """`GET /card` of each ready predictor, through the API server."""
    ready = [it for it in case.pods.get().get("predictor", []) if is_ready(it)]
    if not ready:
        raise NotTried("no predictor pod is ready")
    cards: dict[str, Json] = {}
    silent: list[Remark] = []
    for pod in ready:
        try:
            cards[name_of(pod)] = case.cluster.ask_pod(
                case.options.namespace, name_of(pod), _port(pod), "card"
            )
        except ReadError as error:
            silent.append(_silent(name_of(pod), str(error)))
    remarks = [*silent, *differing(cards)]
    if not cards:
        return found("not known", remarks)
    first = next(iter(cards.values()))
    card = first.get("card") or {}
    return found(
        f"version {first.get('version')} ({card.get('architecture', 'no weights')}, "
        f"{first.get('precision')} on {first.get('device')}) in {len(cards)} of "
        f"{len(ready)} predictors",
        remarks,
    )


def _port(pod: Json) -> int:
    ports = [it for container in pod["spec"]["containers"] for it in container.get("ports") or []]
    return next((int(it["containerPort"]) for it in ports if it.get("name") == "http"), PORT)


def _silent(pod: str, why: str) -> Remark:
    return unknown(
        f"predictor pod {pod} did not say which weights it has: {why}",
        "ask for the right to get pods/proxy; a NetworkPolicy that lets only the transformer in "
        "hides the predictor from the API server too",
    )


def differing(cards: Mapping[str, Mapping[str, Any]]) -> list[Remark]:
    """What is wrong with the cards of several predictors, by pod."""
    remarks = []
    bare = [pod for pod, card in cards.items() if not card.get("model_loaded")]
    if bare:
        what = f"{listed(bare)} runs without weights (LOAD_MODEL=0)"
        remarks.append(failed(what, "remove LOAD_MODEL from the predictor's env"))
    versions: dict[str, list[str]] = {}
    for pod, card in cards.items():
        versions.setdefault(str(card.get("version")), []).append(pod)
    if len(versions) > 1:
        each = [f"{version} in {listed(pods)}" for version, pods in versions.items()]
        remarks.append(
            failed(
                f"the predictors have different weights: {listed(each)}",
                "wait for the roll-out to end; if no roll-out is under way, a volume or an image "
                "tag holds other weights than it did: name weights and images by version",
            )
        )
    return remarks
