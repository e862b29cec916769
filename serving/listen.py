"""Addresses: `host:port` or `unix:/path`, bound before anything slow begins."""

import socket
from pathlib import Path

from serving.settings import ConfigError, split_address


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
