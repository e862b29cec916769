"""The walk: every step in order, and the verdict at its end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ctscan.doctor.autoscaling import autoscaling
from ctscan.doctor.calls import rest, v2_grpc
from ctscan.doctor.case import Case, NotTried
from ctscan.doctor.finding import Finding, Outcome, Remark, counted, found, listed, unknown
from ctscan.doctor.gateway import gateway
from ctscan.doctor.gpus import gpus
from ctscan.doctor.inference_service import inference_service, routes
from ctscan.doctor.platform import api_server, kserve
from ctscan.doctor.pods import images, pods
from ctscan.doctor.reader import ReadError, Unreachable
from ctscan.doctor.replicas import weights

Step = Callable[[Case], Finding]

STEPS: dict[str, Step] = {
    "API server": api_server,
    "KServe": kserve,
    "Gateway": gateway,
    "InferenceService": inference_service,
    "route": routes,
    "pods": pods,
    "images": images,
    "GPUs": gpus,
    "autoscaling": autoscaling,
    "weights": weights,
    "REST": rest,
    "gRPC": v2_grpc,
}
# Both prove the whole chain.
PROOFS = ("REST", "gRPC")
WELL, NOT_WELL, CANNOT_TELL = 0, 1, 2


@dataclass(frozen=True)
class Verdict:
    """The exit status, and the line that says why."""

    status: int
    line: str


def walk(case: Case) -> Iterator[tuple[str, Finding]]:
    """Take every step; one that lacks what an earlier one should have found is not tried."""
    for name, step in STEPS.items():
        try:
            yield name, step(case)
        except NotTried as error:
            yield name, found(f"{error}", [Remark(Outcome.NOT_TRIED, "")])
        except Unreachable as error:
            todo = "see that the API server is up, then ask again"
            yield name, found("not known", [unknown(f"no answer: {error}", todo)])
        except ReadError as error:
            todo = "ask for the right to read it, or ask somebody who has it"
            yield name, found("not known", [unknown(str(error), todo)])


def verdict(findings: Sequence[tuple[str, Finding]]) -> Verdict:
    """Not well if anything failed, well if predictions came back, else unknown."""
    failures = [
        (name, remark)
        for name, finding in findings
        for remark in finding.remarks
        if remark.outcome == Outcome.FAILED
    ]
    named = dict(findings)
    proofs = [named[it] for it in PROOFS if it in named]
    proven = bool(proofs) and all(it.outcome in (Outcome.WELL, Outcome.NOTE) for it in proofs)
    if failures:
        name, remark = min(failures, key=lambda it: it[1].rank)
        still = "; predictions still come back" if proven else ""
        return Verdict(NOT_WELL, f"not well: {name}: {remark.what}{still}")
    unseen = [name for name, it in findings if it.outcome == Outcome.UNKNOWN]
    if proven:
        if unseen:
            steps = counted(len(unseen), "step")
            return Verdict(WELL, f"well, though {steps} could not be seen: {listed(unseen)}")
        return Verdict(WELL, "well: the golden slice came back over REST and gRPC")
    first = next((it for _, it in findings if it.outcome == Outcome.UNKNOWN), None)
    why = first.remarks[0].what if first else "no step said why"
    return Verdict(CANNOT_TELL, f"cannot tell: {unseen[0] if unseen else 'unknown'}: {why}")
