"""Addresses: `host:port` or `unix:/path`, bound before anything slow begins."""

import socket
from pathlib import Path

from serving.settings import ConfigError, is_port


def bind(address: str) -> socket.socket:
    """A listening stream socket at the address.

    Raises:
        ConfigError: the address is taken or cannot be used.
    """
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        if path.is_socket():
            path.unlink()  # left behind by a process that was killed
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: str | tuple[str, int] = str(path)
    else:
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        target = (host, port)
    try:
        listener.bind(target)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {address}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


def require_free(address: str) -> None:
    """Refuse an address that is taken; for servers that open their own socket later.

    Raises:
        ConfigError: the address is taken or cannot be used.
    """
    if not address.startswith("unix:"):
        bind(address).close()


def split_address(address: str) -> tuple[str, int]:
    """`127.0.0.1:8000` → (`127.0.0.1`, 8000); `[::1]:8000` → (`::1`, 8000).

    Raises:
        ConfigError: there is no port, or an IPv6 host without brackets.
    """
    host, _, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or not is_port(port) or (":" in bare and host != f"[{bare}]"):
        raise ConfigError(
            f"address {address!r}: expected host:port or unix:/path, with an IPv6 host in brackets"
        )
    return bare, int(port)
