"""The command from its arguments to its exit status."""

import json
import socket
from typing import Any

import pytest

from ctscan.__main__ import main
from ctscan.command import parser, run
from ctscan.doctor import visit as visit_module
from ctscan.doctor.case import Options
from ctscan.doctor.visit import connects
from ctscan.doctor.walk import STEPS
from tests.ctscan.doctor.patient import FakeReader, case_of, healthy

NOWHERE = {"KUBECONFIG": "/nowhere/config"}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> FakeReader:
    """What `visit` finds in place of a cluster."""
    reader = healthy()
    asked: dict[str, Any] = {}
    monkeypatch.setattr(visit_module, "KubeReader", lambda *given: asked.update(at=given) or reader)
    monkeypatch.setattr(visit_module, "connects", lambda host, port: False)
    reader.asked = asked  # type: ignore[attr-defined]
    return reader


def test_findings_are_lines_and_the_verdict_is_the_last(
    patient: FakeReader, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run({"KUBECONFIG": "k"}, ["doctor", "--context", "c"]) == 2
    assert patient.asked["at"] == ("k", "c")  # type: ignore[attr-defined]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok         API server")
    assert lines[-1].startswith("cannot tell: Gateway: nothing takes a connection from here at")


@pytest.mark.usefixtures("patient")
def test_json_is_all_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run({}, ["doctor", "--json"]) == 2
    whole = json.loads(capsys.readouterr().out)
    assert [it["step"] for it in whole["steps"]] == list(STEPS)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_without_a_kube_config_nothing_can_be_told(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main_with(NOWHERE, ["doctor", *arguments])
    assert ended.value.code == 2
    assert "there is no kube config" in capsys.readouterr().out


def main_with(environment: dict[str, str], arguments: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        main(arguments)


def options_of(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *text: str) -> Options:
    """The options that a command line means."""
    seen: list[Options] = []
    monkeypatch.setattr(visit_module, "visit", lambda options, *_: seen.append(options))
    run(environment, ["doctor", *text])
    return seen[0]


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options_of(monkeypatch, {}) == Options()
    text = ["--namespace", "n", "--name", "m", "--ingress", "http://h:1/"]
    text += ["--header", "x-api-key: k:1", "--header", "a:b"]
    assert options_of(monkeypatch, {"INGRESS": "http://i:2"}, *text) == Options(
        namespace="n",
        name="m",
        ingress="http://h:1",
        fallback_ingress="http://i:2",
        headers=(("x-api-key", "k:1"), ("a", "b")),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ingress", "localhost"],
        ["--ingress", "ftp://host"],
        ["--ingress", "http://"],
        ["--ingress", "http://h:port"],
        ["--header", "no colon"],
        ["--header", ": no name"],
        ["--unknown"],
    ],
)
def test_a_wrong_argument_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["doctor", *arguments])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_whether_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert connects("127.0.0.1", port)
    assert not connects("127.0.0.1", port)


def test_ages_are_told_in_units_that_people_use() -> None:
    from ctscan.doctor.case import duration, utc_now

    assert [duration(it) for it in (59.9, 130, 7300, 200_000)] == [
        "59 s",
        "2 min",
        "2 h",
        "2 days",
    ]
    assert utc_now().tzinfo is not None
    case = case_of(healthy())
    assert case.age_s(None) == 0
    assert case.age_s("2026-11-25T11:59:30Z") == 30
    # Where this clock is behind that of the server.
    assert case.age_s("2026-11-25T12:00:30Z") == 0
