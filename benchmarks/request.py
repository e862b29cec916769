"""Whole HTTP requests as bytes, made once and sent many times."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

BOUNDARY = "ctscan-benchmark"


@dataclass(frozen=True)
class Target:
    """Where to send, and the requests that are sent in turn."""

    host: str
    port: int
    requests: Sequence[bytes]


def post(url: str, content_type: str, bodies: Sequence[bytes]) -> Target:
    """`POST` of each body to `url`."""
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    return Target(
        where.hostname,
        where.port,
        [
            f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            for body in bodies
        ],
    )


def predict(url: str, images: Sequence[bytes]) -> Target:
    """`POST /predict` of each image."""
    return _files(f"{url}/predict", "file", [[image] for image in images])


def predict_batch(url: str, images: Sequence[bytes], files: int) -> Target:
    """`POST /predict/batch` of so many images, over and over the same."""
    return _files(f"{url}/predict/batch", "files", [[images[n % len(images)] for n in range(files)]])


def _files(url: str, field: str, groups: Sequence[Sequence[bytes]]) -> Target:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="slice.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode()
    end = f"--{BOUNDARY}--\r\n".encode()
    bodies = [b"".join(head + image + b"\r\n" for image in group) + end for group in groups]
    return post(url, f"multipart/form-data; boundary={BOUNDARY}", bodies)
