import pytest

from serving.kserve.arguments import with_arguments
from serving.settings import ConfigError


def test_what_the_controller_appends_becomes_environment() -> None:
    found = with_arguments(
        {"PORT": "1", "OTHER": "kept"},
        [
            *("--model_name", "ctscan", "--predictor_host", "ctscan-predictor.ns"),
            *("--http_port", "8080", "--grpc_port=8081", "--workers", "1"),
        ],
    )
    assert found == {
        "PORT": "1",
        "OTHER": "kept",
        "HTTP_ADDRESS": "0.0.0.0:8080",
        "GRPC_ADDRESS": "0.0.0.0:8081",
        "PREDICTOR_GRPC_ADDRESS": "ctscan-predictor.ns:8081",
        "PREDICTOR_HTTP_ADDRESS": "ctscan-predictor.ns:80",
    }


def test_without_arguments_the_environment_stays_as_it_is() -> None:
    environment = {"HTTP_ADDRESS": "unix:/a"}
    found = with_arguments(environment, [])
    assert found == environment
    assert found is not environment


@pytest.mark.parametrize(
    ("host", "grpc_address", "http_address"),
    [
        ("p.ns", "p.ns:8081", "p.ns:80"),
        ("p.ns:9000", "p.ns:9000", "p.ns:80"),
        ("dns:///p.ns.svc:8081", "dns:///p.ns.svc:8081", "p.ns.svc:80"),
        ("dns:///p.ns.svc", "dns:///p.ns.svc:8081", "p.ns.svc:80"),
        ("dns:p.ns.svc", "dns:p.ns.svc:8081", "p.ns.svc:80"),
    ],
)
def test_a_predictor_host_without_a_port_is_met_at_its_grpc_port(
    host: str, grpc_address: str, http_address: str
) -> None:
    found = with_arguments({}, ["--predictor_host", host])
    assert found["PREDICTOR_GRPC_ADDRESS"] == grpc_address
    assert found["PREDICTOR_HTTP_ADDRESS"] == http_address


@pytest.mark.parametrize(("given", "taken"), [("p:9", "p:9"), ("", "q:80")])
def test_the_environment_says_where_the_card_is_read_when_it_says_anything(
    given: str, taken: str
) -> None:
    found = with_arguments({"PREDICTOR_HTTP_ADDRESS": given}, ["--predictor_host", "q"])
    assert found["PREDICTOR_HTTP_ADDRESS"] == taken


def test_unknown_arguments_are_let_be() -> None:
    assert with_arguments({}, ["--enable_latency_logging", "false", "rest", "--http"]) == {}


def test_another_models_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="--model_name is 'other', expected 'ctscan'"):
        with_arguments({}, ["--model_name=other"])
