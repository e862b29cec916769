import json
from typing import Any

import pytest

from ctscan.doctor.case import NotTried
from ctscan.doctor.finding import Outcome
from ctscan.doctor.platform import api_server, kserve
from ctscan.doctor.reader import Refused, Unreachable
from tests.ctscan.doctor.patient import FakeReader, case_of, failures, healthy, state

CONFIG = "/api/v1/namespaces/kserve/configmaps/inferenceservice-config"
CONTROLLER = "/apis/apps/v1/namespaces/kserve/deployments/kserve-controller-manager"


def configured(reader: FakeReader, **parts: Any) -> FakeReader:
    data = reader.things[CONFIG]["data"]
    data.update({name: json.dumps(part) for name, part in parts.items()})
    return reader


def test_the_version_and_the_context_are_named() -> None:
    finding = api_server(case_of(healthy()))
    assert finding.outcome == Outcome.WELL
    assert finding.said == "Kubernetes v1.34.4 at https://cluster.test:6443 (context test)"


@pytest.mark.parametrize(
    ("error", "todo"),
    [(Unreachable("refused"), "start the cluster"), (Refused("no credentials"), "log in")],
)
def test_a_silent_api_server_leaves_it_open(error: Exception, todo: str) -> None:
    reader = healthy()
    reader.refused["/version"] = error  # type: ignore[assignment]
    case = case_of(reader)
    finding = api_server(case)
    assert finding.outcome == Outcome.UNKNOWN
    assert todo in finding.remarks[0].todo
    with pytest.raises(NotTried, match="the API server does not answer"):
        kserve(case)


def look(reader: FakeReader) -> Any:
    case = case_of(reader)
    api_server(case)
    return case, kserve(case)


def test_kserve_is_told_with_its_version_and_mode() -> None:
    case, finding = look(healthy())
    assert finding.outcome == Outcome.WELL
    assert finding.said == (
        "controller kserve-controller:v0.20.0 runs in kserve, default mode Standard"
    )
    assert case.config.get().gateway == "kserve/gate"


@pytest.mark.parametrize("gone", ["/apis/serving.kserve.io/v1beta1", CONTROLLER])
def test_a_cluster_without_kserve_is_told_to_install_it(gone: str) -> None:
    reader = healthy()
    del reader.things[gone]
    case, finding = look(reader)
    assert finding.outcome == Outcome.FAILED
    assert "install KServe" in finding.remarks[0].todo
    assert not case.config.known


def test_other_kinds_of_its_group_are_not_kserve() -> None:
    reader = healthy()
    reader.things["/apis/serving.kserve.io/v1beta1"] = {"resources": [{"name": "others"}]}
    assert look(reader)[1].outcome == Outcome.FAILED


def test_a_controller_that_is_down_is_named_with_its_reason() -> None:
    reader = healthy()
    reader.things[CONTROLLER]["status"] = {
        "conditions": [state("Available", "False", message="Deployment does not have minimum")]
    }
    (what,) = failures(look(reader)[1])
    assert "Deployment does not have minimum" in what
    assert "no pod of one can start" in what


def test_a_missing_configuration_is_a_fault() -> None:
    reader = healthy()
    del reader.things[CONFIG]
    (what,) = failures(look(reader)[1])
    assert "inferenceservice-config is missing in kserve" in what


def test_a_configuration_that_may_not_be_read_is_taken_to_be_right() -> None:
    reader = healthy()
    reader.refused["configmaps"] = Refused("you may not")
    case, finding = look(reader)
    assert finding.outcome == Outcome.UNKNOWN
    assert case.config.get().gateway_api
    assert case.config.get().gateway == "kserve/kserve-ingress-gateway"


def test_knative_by_default_is_a_note() -> None:
    reader = configured(healthy(), deploy={"defaultDeploymentMode": "Serverless"})
    finding = look(reader)[1]
    assert finding.outcome == Outcome.NOTE
    assert "the default mode is Serverless" in finding.remarks[0].what


@pytest.mark.parametrize("ingress", [{}, {"enableGatewayApi": False}])
def test_ingress_objects_let_no_grpc_in(ingress: dict[str, Any]) -> None:
    (what,) = failures(look(configured(healthy(), ingress=ingress))[1])
    assert "gRPC cannot get in" in what


@pytest.mark.parametrize("text", ["{broken", "[1]"])
def test_a_part_that_is_no_json_counts_as_absent(text: str) -> None:
    reader = healthy()
    reader.things[CONFIG]["data"]["deploy"] = text
    assert look(reader)[0].config.get().mode == "Standard"
