"""Whole HTTP requests as bytes, made once and sent many times."""

import base64
import json
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


def post(url: str, content_type: str, bodies: Sequence[bytes], *more: str) -> Target:
    """`POST` of each body to `url`; `more` are further header lines."""
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    lines = "".join(f"{line}\r\n" for line in (f"Content-Type: {content_type}", *more))
    return Target(
        where.hostname,
        where.port,
        [
            f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n{lines}"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
            for body in bodies
        ],
    )


def predict(url: str, images: Sequence[bytes]) -> Target:
    """`POST /predict` of each image."""
    return _files(f"{url}/predict", "file", [[image] for image in images])


def predict_batch(url: str, images: Sequence[bytes], files: int) -> Target:
    """`POST /predict/batch` of so many images, over and over the same."""
    return _files(
        f"{url}/predict/batch", "files", [[images[n % len(images)] for n in range(files)]]
    )


def v2_infer(url: str, images: Sequence[bytes], rows: int) -> Target:
    """V2 `infer` of so many images in one request, over and over the same, as binary tensors."""
    chosen = [images[n % len(images)] for n in range(rows)]
    raw = b"".join(len(image).to_bytes(4, "little") + image for image in chosen)
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [rows],
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    length = f"Inference-Header-Content-Length: {len(head)}"
    path = f"{url}/v2/models/ctscan/infer"
    return post(path, "application/octet-stream", [head + raw], length)


def kserve_v1(url: str, images: Sequence[bytes]) -> Target:
    """V1 `:predict` of each image, in the form that KServe's custom models read."""
    coded = [base64.b64encode(image).decode() for image in images]
    bodies = [json.dumps({"instances": [{"image": {"b64": text}}]}).encode() for text in coded]
    return post(f"{url}/v1/models/peer:predict", "application/json", bodies)


def _files(url: str, field: str, groups: Sequence[Sequence[bytes]]) -> Target:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="slice.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode()
    end = f"--{BOUNDARY}--\r\n".encode()
    bodies = [b"".join(head + image + b"\r\n" for image in group) + end for group in groups]
    return post(url, f"multipart/form-data; boundary={BOUNDARY}", bodies)
