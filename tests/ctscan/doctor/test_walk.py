from collections.abc import Callable

import pytest

from ctscan.doctor import walk as walk_module
from ctscan.doctor.case import Case, NotTried
from ctscan.doctor.finding import (
    Finding,
    Outcome,
    Rank,
    Remark,
    failed,
    found,
    note,
    unknown,
)
from ctscan.doctor.reader import Refused, Unreachable
from ctscan.doctor.walk import STEPS, verdict, walk
from tests.ctscan.doctor.patient import case_of, healthy, pod, waiting

PROVEN = [("REST", found("came back")), ("gRPC", found("came back"))]
UNTRIED = found("no address", [Remark(Outcome.NOT_TRIED, "")])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ingress answers well."""
    for name in ("REST", "gRPC"):
        monkeypatch.setitem(STEPS, name, lambda case: found("came back"))


@pytest.mark.usefixtures("calls")
def test_a_healthy_cluster_is_well_in_every_step() -> None:
    findings = list(walk(case_of(healthy())))
    assert [name for name, _ in findings] == list(STEPS)
    assert {finding.outcome for _, finding in findings} == {Outcome.WELL}
    end = verdict(findings)
    assert (end.status, end.line) == (0, "well: the golden slice came back over REST and gRPC")


def test_steps_that_need_what_was_not_found_are_not_tried_and_say_why() -> None:
    reader = healthy()
    reader.refused[""] = Unreachable("refused")
    findings = dict(walk(case_of(reader)))
    assert findings.pop("API server").outcome == Outcome.UNKNOWN
    assert {it.outcome for it in findings.values()} == {Outcome.NOT_TRIED}
    assert findings["KServe"].said == "the API server does not answer"
    assert findings["pods"].said == "there is no InferenceService"
    assert findings["REST"].said == "the InferenceService has no address yet"


def test_the_verdict_on_a_silent_api_server_is_open() -> None:
    reader = healthy()
    reader.refused[""] = Unreachable("connection refused")
    end = verdict(list(walk(case_of(reader))))
    assert end.status == 2
    assert end.line == (
        "cannot tell: API server: the API server does not answer: connection refused"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [(Unreachable("gone"), "no answer: gone"), (Refused("you may not"), "you may not")],
)
def test_a_step_that_may_not_read_leaves_it_open(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(case: Case) -> Finding:
        raise error

    monkeypatch.setattr(walk_module, "STEPS", {"only": step})
    ((_, finding),) = walk(case_of(healthy()))
    assert (finding.said, finding.outcome) == ("not known", Outcome.UNKNOWN)
    assert finding.remarks[0].what == words


@pytest.mark.usefixtures("calls")
def test_what_could_not_be_seen_does_not_outweigh_a_prediction() -> None:
    reader = healthy()
    reader.refused["/proxy/card"] = Refused("you may not")
    end = verdict(list(walk(case_of(reader))))
    assert (end.status, end.line) == (0, "well, though 1 step could not be seen: weights")


def test_no_prediction_and_no_failure_is_open() -> None:
    asks = [unknown("the ingress answers 401", "name --header")]
    findings = [("pods", found("ready")), ("REST", found("no", asks)), ("gRPC", found("no", asks))]
    end = verdict(findings)
    assert (end.status, end.line) == (2, "cannot tell: REST: the ingress answers 401")


def test_no_finding_at_all_is_open() -> None:
    assert verdict([]).status == 2
    assert verdict([("REST", UNTRIED), ("gRPC", UNTRIED)]).status == 2


def test_the_verdict_names_the_fault_and_not_what_follows_from_it() -> None:
    findings = [
        ("InferenceService", found("not ready", [failed("a symptom", "", Rank.CONSEQUENCE)])),
        ("pods", found("0 of 2", [failed("is starting", "", Rank.PASSING), failed("crash", "")])),
        ("REST", found("no", [failed("503", "", Rank.CONSEQUENCE)])),
    ]
    end = verdict(findings)
    assert (end.status, end.line) == (1, "not well: pods: crash")


def test_a_fault_beside_which_predictions_come_back_says_so() -> None:
    findings = [("pods", found("1 of 2", [failed("no image", "")])), *PROVEN]
    end = verdict(findings)
    assert (end.status, end.line) == (1, "not well: pods: no image; predictions still come back")


def test_notes_do_not_make_it_ill() -> None:
    assert verdict([("pods", found("ready", [note("restarted")])), *PROVEN]).status == 0


@pytest.mark.usefixtures("calls")
def test_a_pod_that_waits_makes_it_ill() -> None:
    reader = healthy()
    ill = pod("predictor-2", **waiting("ErrImageNeverPull", image="ctscan-predictor:9"))
    reader.add("/api/v1/namespaces/ctscan/pods", ill)
    end = verdict(list(walk(case_of(reader))))
    assert end.status == 1
    assert end.line.startswith("not well: pods: predictor pod predictor-2: its image ctscan-pred")


def test_every_step_needs_the_api_server() -> None:
    step: Callable[[Case], Finding]
    for name, step in STEPS.items():
        if name != "API server":
            with pytest.raises(NotTried):
                step(case_of(healthy()))
