"""What the command asks of the services that it started."""

import httpx
import pytest

from ctscan.pair import listening, reachable


@pytest.mark.parametrize(
    ("status", "model_path", "expected"),
    [(200, "models/model.pt", True), (200, None, False), (503, "models/model.pt", False)],
)
def test_both_listen_when_the_predictor_has_said_its_model_path(
    status: int, model_path: str | None, expected: bool
) -> None:
    answer = {"/health": httpx.Response(status, json={"ok": False, "model_path": model_path})}
    transport = httpx.MockTransport(lambda request: answer[request.url.path])
    with httpx.Client(base_url="http://service", transport=transport) as client:
        assert listening(client) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8000"),
        ("0.0.0.0:8000", "127.0.0.1:8000"),
        ("[::1]:8000", "[::1]:8000"),
        ("[::]:8000", "[::1]:8000"),
        ("host:8000", "host:8000"),
    ],
)
def test_an_address_for_everybody_is_reached_over_loopback(address: str, expected: str) -> None:
    assert reachable(address) == expected
