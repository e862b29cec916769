import socket
from contextlib import closing
from pathlib import Path

import pytest

from serving.listen import bind, require_free
from serving.settings import ConfigError


def test_a_port_is_bound_and_listening_before_anything_is_served() -> None:
    with closing(bind("127.0.0.1:0")) as listener:
        assert listener.getblocking() is False
        with socket.create_connection(listener.getsockname()) as client:
            assert client.getpeername() == listener.getsockname()


def test_a_taken_port_is_one_clear_line() -> None:
    with closing(bind("127.0.0.1:0")) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        for claim in (bind, require_free):
            with pytest.raises(ConfigError, match=f"cannot listen on {address}: Address already"):
                claim(address)


def test_a_free_address_is_left_free() -> None:
    with closing(bind("127.0.0.1:0")) as listener:
        port = listener.getsockname()[1]
    require_free(f"127.0.0.1:{port}")
    bind(f"127.0.0.1:{port}").close()


def test_ipv6_is_bound() -> None:
    try:
        listener = bind("[::1]:0")
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    with closing(listener):
        assert listener.family == socket.AF_INET6


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'a.sock'}"
    bind(address).close()
    with closing(bind(address)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "a.sock"))


def test_a_file_at_the_path_of_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("kept")
    with pytest.raises(ConfigError, match="cannot listen on unix:"):
        bind(f"unix:{path}")
    assert path.read_text() == "kept"


@pytest.mark.parametrize("path", ["missing/a.sock", "a" * 200])
def test_a_path_that_cannot_be_bound_says_why(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen on unix:") as refused:
        bind(f"unix:{tmp_path / path}")
    assert "None" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        *("8000", ":8000", "host", "host:", "host:http", "host:99999"),
        *("::1:8000", "::1", "[::1]", "[::1:8000", "[]:8000", "[host]:8000"),
        *("a..b:8000", "10.0.0.300:8000", "http://host:8000", "host/path:8000", f"{'a' * 64}:8000"),
    ],
)
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="expected host:port or unix:/path"):
        bind(address)
