"""The Kubernetes client against a server that answers as an API server does."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from ctscan.doctor.cluster import Cluster
from ctscan.doctor.reader import (
    Absent,
    KubeReader,
    NoContext,
    ReadError,
    Refused,
    Unreachable,
)

# In place of a status.
HANG_UP = 0
POD_LOG = "/api/v1/namespaces/ctscan/pods/p/log?container=c&previous=true&tailLines=80"


class ApiServer:
    """Answers by path; keeps the paths and credentials that it was sent."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.paths: list[str] = []
        self.tokens: set[str | None] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.paths.append(self.path)
                server.tokens.add(self.headers["authorization"])
                status, body = server.answers.get(self.path, (404, b"{}"))
                if status == HANG_UP:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    server = ApiServer()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def kube_config(folder: Path, url: str) -> str:
    path = folder / "config"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("here", "there")
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture
def reader(server: ApiServer, tmp_path: Path) -> KubeReader:
    return KubeReader(kube_config(tmp_path, server.url), None)


def test_an_object_is_read_with_the_credentials_of_the_context(
    server: ApiServer, reader: KubeReader
) -> None:
    server.answers["/version"] = (200, b'{"gitVersion": "v1.34.4"}')
    assert Cluster(reader).version() == "v1.34.4"
    assert server.tokens == {"Bearer secret"}
    assert reader.where == f"{server.url} (context here)"


def test_a_list_and_a_log_are_asked_for_by_query(server: ApiServer, reader: KubeReader) -> None:
    labels = "/api/v1/namespaces/ctscan/pods?labelSelector=a%3Db"
    server.answers[labels] = (200, b'{"items": [{"metadata": {"name": "p"}}]}')
    assert [it["metadata"]["name"] for it in Cluster(reader).pods("ctscan", "a=b")] == ["p"]
    server.answers[POD_LOG] = (200, "first\nlast \N{SNOWMAN}\n".encode())
    assert Cluster(reader).log("ctscan", "p", "c", True) == ["first", "last \N{SNOWMAN}"]
    assert server.paths == [labels, POD_LOG]


def test_a_log_that_is_not_kept_is_empty(reader: KubeReader) -> None:
    assert Cluster(reader).log("ctscan", "p", "c", True) == []


def test_a_pod_is_asked_through_the_api_server(server: ApiServer, reader: KubeReader) -> None:
    path = "/api/v1/namespaces/ctscan/pods/p:8080/proxy/card"
    server.answers[path] = (200, b'{"version": "x"}')
    assert Cluster(reader).ask_pod("ctscan", "p", 8080, "card") == {"version": "x"}


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Refused), (403, Refused), (404, Absent), (500, ReadError)]
)
def test_a_refusal_is_one_of_ours(
    server: ApiServer, reader: KubeReader, status: int, kind: type[ReadError]
) -> None:
    server.answers["/version"] = (status, json.dumps({"message": "why"}).encode())
    with pytest.raises(kind) as raised:
        reader.read("/version")
    assert type(raised.value) is kind
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b""])
def test_an_answer_that_is_no_object_is_an_error(
    server: ApiServer, reader: KubeReader, body: bytes
) -> None:
    server.answers["/version"] = (200, body)
    with pytest.raises(ReadError, match="does not answer with a JSON object"):
        Cluster(reader).version()


def test_no_server_is_unreachable_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    reader = KubeReader(kube_config(tmp_path, f"http://127.0.0.1:{port}"), None)
    with pytest.raises(Unreachable) as raised:
        reader.read("/version")
    assert str(raised.value).endswith("Connection refused")
    assert "object at" not in str(raised.value)


def test_a_server_that_hangs_up_is_unreachable(server: ApiServer, reader: KubeReader) -> None:
    server.answers["/version"] = (HANG_UP, b"")
    with pytest.raises(Unreachable, match=r"^Remote end closed connection without response$"):
        reader.read("/version")


def test_a_server_without_its_certificate_is_unreachable(server: ApiServer, tmp_path: Path) -> None:
    path = kube_config(tmp_path, server.url.replace("http:", "https:"))
    with pytest.raises(Unreachable, match="SSL"):
        KubeReader(path, None).read("/version")


def test_another_context_may_be_named(server: ApiServer, tmp_path: Path) -> None:
    path = kube_config(tmp_path, server.url)
    assert KubeReader(path, "there").where.endswith("(context there)")
    with pytest.raises(NoContext, match="no usable context 'nowhere'"):
        KubeReader(path, "nowhere")


@pytest.mark.parametrize("text", [None, "", "{", "a: b", "[]"])
def test_no_kube_config_is_one_line(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(NoContext, match="no kube config that can be used"):
        KubeReader(str(path), None)
