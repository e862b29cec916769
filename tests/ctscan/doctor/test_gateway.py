from typing import Any

import pytest

from ctscan.doctor.case import Case, Options
from ctscan.doctor.finding import Finding, Outcome
from ctscan.doctor.gateway import gateway
from ctscan.doctor.platform import api_server, kserve
from ctscan.doctor.reader import Refused
from tests.ctscan.doctor.patient import FakeReader, case_of, failures, healthy, state

GATE = "/apis/gateway.networking.k8s.io/v1/namespaces/kserve/gateways/gate"
CLASS = "/apis/gateway.networking.k8s.io/v1/gatewayclasses/envoy"
SERVICE = "/api/v1/namespaces/envoy-gateway-system/services/envoy-gate"


def look(reader: FakeReader, **more: Any) -> tuple[Case, Finding]:
    case = case_of(reader, **more)
    api_server(case)
    kserve(case)
    return case, gateway(case)


def test_a_node_port_is_tried_on_this_machine_first() -> None:
    case, finding = look(healthy())
    assert finding.outcome == Outcome.WELL
    assert case.ingress.get() == "http://127.0.0.1:30080"
    assert finding.said == (
        "kserve/gate is programmed, listener http (80), reached at http://127.0.0.1:30080"
    )


def test_then_on_the_nodes() -> None:
    case, _ = look(healthy(), connects=lambda host, port: (host, port) == ("10.0.0.7", 30080))
    assert case.ingress.get() == "http://10.0.0.7:30080"


def test_a_load_balancer_is_reached_at_its_own_port() -> None:
    reader = healthy()
    reader.things[SERVICE]["spec"]["type"] = "LoadBalancer"
    assert look(reader)[0].ingress.get() == "http://10.0.0.7:80"


def test_an_ipv6_address_and_https_are_written_as_an_address() -> None:
    reader = healthy()
    reader.things[SERVICE]["spec"]["type"] = "LoadBalancer"
    reader.things[GATE]["status"]["addresses"] = [{"value": "fd00::7"}]
    reader.things[GATE]["spec"]["listeners"][0].update(port=443, protocol="HTTPS")
    assert look(reader)[0].ingress.get() == "https://[fd00::7]:443"


def test_a_person_knows_better() -> None:
    case, _ = look(healthy(), options=Options(ingress="http://127.0.0.1:8080"))
    assert case.ingress.get() == "http://127.0.0.1:8080"


def test_the_fallback_comes_last() -> None:
    options = Options(fallback_ingress="https://ingress.test")
    case, _ = look(
        healthy(),
        options=options,
        connects=lambda host, port: (host, port) == ("ingress.test", 443),
    )
    assert case.ingress.get() == "https://ingress.test"


def test_no_way_in_leaves_it_open_and_says_how_to_make_one() -> None:
    case, finding = look(healthy(), connects=lambda host, port: False)
    assert not case.ingress.known
    assert finding.outcome == Outcome.UNKNOWN
    (remark,) = finding.remarks
    assert "http://127.0.0.1:30080 or http://10.0.0.7:30080" in remark.what
    assert "kubectl -n envoy-gateway-system port-forward service/envoy-gate 8080:80" in remark.todo


def test_services_that_may_not_be_listed_leave_the_gateways_own_address() -> None:
    reader = healthy()
    reader.refused["/api/v1/services"] = Refused("you may not")
    assert look(reader)[0].ingress.get() == "http://10.0.0.7:80"


def test_a_missing_gateway_is_named() -> None:
    reader = healthy()
    del reader.things[GATE]
    (what,) = failures(look(reader)[1])
    assert "names the Gateway kserve/gate, which does not exist" in what
    del reader.things["/apis/gateway.networking.k8s.io"]
    (what,) = failures(look(reader)[1])
    assert "does not know Gateways" in what


def test_a_gateway_without_its_class_is_nobodys() -> None:
    reader = healthy()
    del reader.things[CLASS]
    (what,) = failures(look(reader)[1])
    assert "the GatewayClass 'envoy' does not exist" in what


def test_a_class_that_may_not_be_read_is_passed_over() -> None:
    reader = healthy()
    reader.refused["gatewayclasses"] = Refused("you may not")
    assert look(reader)[1].outcome == Outcome.WELL


def test_a_class_that_no_controller_accepts_is_named() -> None:
    reader = healthy()
    reader.things[CLASS]["status"] = {}
    (what,) = failures(look(reader)[1])
    assert "is not accepted: no controller has answered for it" in what


@pytest.mark.parametrize(
    ("kind", "words"), [("Accepted", "is not accepted: why"), ("Programmed", "no proxy serves it")]
)
def test_a_gateway_that_is_not_programmed(kind: str, words: str) -> None:
    reader = healthy()
    conditions = [it for it in reader.things[GATE]["status"]["conditions"] if it["type"] != kind]
    conditions.append(state(kind, "False", message="why"))
    reader.things[GATE]["status"]["conditions"] = conditions
    finding = look(reader)[1]
    assert finding.said.startswith("kserve/gate is not ready")
    (what,) = failures(finding)
    assert words in what


def test_a_listener_that_does_not_work_is_named() -> None:
    reader = healthy()
    bad = {"name": "tls", "conditions": [state("Programmed", "False", message="no certificate")]}
    reader.things[GATE]["status"]["listeners"].append(bad)
    (what,) = failures(look(reader)[1])
    assert "the listener 'tls' does not work: no certificate" in what


def test_without_gateway_api_the_way_in_is_a_guess() -> None:
    reader = healthy()
    config = reader.things["/api/v1/namespaces/kserve/configmaps/inferenceservice-config"]
    config["data"]["ingress"] = "{}"
    case, finding = look(reader)
    assert finding.outcome == Outcome.NOTE
    assert case.ingress.get() == "http://127.0.0.1:30080"
