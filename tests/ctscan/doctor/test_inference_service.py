from typing import Any

import pytest

from ctscan.doctor.case import Case, NotTried, Options
from ctscan.doctor.finding import Finding, Outcome, Rank
from ctscan.doctor.inference_service import inference_service, routes
from ctscan.doctor.platform import api_server, kserve
from ctscan.doctor.reader import Refused
from tests.ctscan.doctor.patient import HOST, FakeReader, case_of, event, failures, healthy, state

SERVICE = "/apis/serving.kserve.io/v1beta1/namespaces/ctscan/inferenceservices/ctscan"
ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/ctscan/httproutes/ctscan"
EVENTS = "/api/v1/namespaces/ctscan/events"


def look(reader: FakeReader, **more: Any) -> tuple[Case, Finding]:
    case = case_of(reader, **more)
    api_server(case)
    kserve(case)
    return case, inference_service(case)


def ill(reader: FakeReader, *kinds: str) -> FakeReader:
    """The same InferenceService with these conditions unmet."""
    status = reader.things[SERVICE]["status"]
    kept = [it for it in status["conditions"] if it["type"] not in (*kinds, "Ready")]
    bad = [state(it, "False", "SomeReason", "some message") for it in kinds]
    status["conditions"] = [*kept, *bad, state("Ready", "False")]
    return reader


def test_a_ready_service_is_told_with_its_host() -> None:
    case, finding = look(healthy())
    assert finding.outcome == Outcome.WELL
    assert finding.said == f"ctscan has been ready for 60 min, {HOST}"
    assert case.host.get() == HOST


@pytest.mark.parametrize(
    ("kind", "words", "where"),
    [
        ("PredictorReady", "the predictor has too few ready pods", "the predictor's pods below"),
        ("TransformerReady", "the transformer has too few", "the transformer's pods below"),
        ("IngressReady", "the ingress does not lead to it yet", "the route below"),
        ("FancyReady", "its condition FancyReady is not met", "the route below"),
    ],
)
def test_a_condition_in_plain_words(kind: str, words: str, where: str) -> None:
    finding = look(ill(healthy(), kind))[1]
    (remark,) = finding.remarks
    assert remark.what.startswith(words)
    assert remark.what.endswith("for 60 min (SomeReason: some message)")
    assert where in remark.todo
    # Pods and routes say why: the verdict names them first.
    assert remark.rank == Rank.CONSEQUENCE


def test_what_kserve_says_of_the_model_is_passed_on() -> None:
    reader = ill(healthy(), "PredictorReady")
    failure = {"lastFailureInfo": {"reason": "ModelLoadFailed", "message": "no file\n"}}
    reader.things[SERVICE]["status"]["modelStatus"] = failure
    notes = [it.what for it in look(reader)[1].remarks if it.outcome == Outcome.NOTE]
    assert notes == ["KServe says of the model: ModelLoadFailed: no file"]


def test_the_newest_warning_is_passed_on_and_a_passing_one_is_not() -> None:
    reader = ill(healthy(), "PredictorReady")
    for number, text in enumerate(("old", "no webhook", "the object has been modified; try")):
        time = f"2026-11-25T11:0{number}:00Z"
        reader.add(EVENTS, event("InternalError", text, "uid-isvc", time))
    notes = [it.what for it in look(reader)[1].remarks if it.outcome == Outcome.NOTE]
    assert notes == ["KServe's controller warns: InternalError: no webhook"]
    reader.refused["events"] = Refused("you may not")
    assert len(look(reader)[1].remarks) == 1


def test_a_service_that_the_controller_has_not_seen() -> None:
    reader = healthy()
    del reader.things[SERVICE]["status"]
    case, finding = look(reader)
    (what,) = failures(finding)
    assert "has said nothing of it yet" in what
    with pytest.raises(NotTried, match="no address yet"):
        routes(case)


def test_a_missing_service_is_looked_for_elsewhere() -> None:
    case, finding = look(healthy(), options=Options(namespace="other"))
    (remark,) = finding.remarks
    assert remark.what == "the namespace other has no InferenceService ctscan"
    assert "--namespace ctscan --name ctscan" in remark.todo
    with pytest.raises(NotTried, match="there is no InferenceService"):
        routes(case)


def test_a_missing_service_where_others_may_not_be_listed() -> None:
    reader = healthy()
    del reader.things[SERVICE]
    assert look(reader)[1].remarks[0].todo.startswith("kubectl apply -k")
    reader.refused["v1beta1/inferenceservices"] = Refused("you may not")
    assert look(reader)[1].remarks[0].todo.startswith("kubectl apply -k")


def test_the_wrong_mode_a_stopped_service_and_a_missing_half_are_named() -> None:
    reader = healthy()
    service = reader.things[SERVICE]
    service["status"]["deploymentMode"] = "Knative"
    service["metadata"]["annotations"] = {"serving.kserve.io/stop": "true"}
    del service["spec"]["transformer"]
    mode, stopped, half = failures(look(reader)[1])
    assert "deployed in mode Knative" in mode
    assert "was stopped by its annotation" in stopped
    assert half == "it has no transformer"


def route_of(reader: FakeReader) -> Finding:
    return routes(look(reader)[0])


def test_a_route_that_the_gateway_has_taken() -> None:
    finding = route_of(healthy())
    assert finding.outcome == Outcome.WELL
    assert finding.said == f"{HOST} leads REST and gRPC to the transformer"


def test_no_route_for_the_host() -> None:
    reader = healthy()
    reader.things[ROUTE]["spec"]["hostnames"] = ["other.example.com"]
    (what,) = failures(route_of(reader))
    assert what == f"no HTTPRoute in ctscan is for the host {HOST}"


def test_a_route_without_a_gateway_and_one_that_is_refused() -> None:
    reader = healthy()
    reader.things[ROUTE]["status"] = {}
    (what,) = failures(route_of(reader))
    assert "no Gateway has answered for the HTTPRoute ctscan" in what
    refusal = state("Accepted", "False", "NotAllowedByListeners", "wrong namespace")
    reader.things[ROUTE]["status"] = {"parents": [{"conditions": [refusal]}]}
    (what,) = failures(route_of(reader))
    assert what == (
        "the Gateway refuses the HTTPRoute ctscan (NotAllowedByListeners: wrong namespace)"
    )


def test_a_route_without_a_rule_for_grpc() -> None:
    reader = healthy()
    reader.things[ROUTE]["spec"]["rules"] = [{}]
    (what,) = failures(route_of(reader))
    assert "has no rule for gRPC" in what


def test_ingress_objects_are_left_to_the_calls() -> None:
    reader = healthy()
    config = reader.things["/api/v1/namespaces/kserve/configmaps/inferenceservice-config"]
    config["data"]["ingress"] = "{}"
    assert route_of(reader).outcome == Outcome.NOTE
