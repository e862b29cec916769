"""Reads from the API server with the `kubernetes` client: the only file that knows it.

Objects stay the plain dicts of the API, with the names that `kubectl -o yaml` shows.
"""

import logging
from typing import Any, Protocol

import urllib3
from kubernetes import client, config

TIMEOUT_S = 15.0


class ReadError(Exception):
    """The API server did not give what was asked for; the text says why, in plain words."""


class Unreachable(ReadError):
    """No API server answered."""


class Refused(ReadError):
    """The API server knows the caller not at all, or does not let it read this."""


class Absent(ReadError):
    """There is no such object, or the API server does not know its kind."""


class NoContext(ReadError):
    """The kube config has no such context, or there is none."""


class Reader(Protocol):
    """What the steps need of a cluster; a dict will do in a test."""

    @property
    def where(self) -> str:
        """The address of the API server and the context, for people."""

    def read(self, path: str, **query: str) -> bytes:
        """The body of a GET.

        Raises:
            ReadError: one of the classes above.
        """


class KubeReader:
    """A reader for one context of a kube config."""

    def __init__(self, kube_config: str | None, context: str | None) -> None:
        # The library reports every retry of its own; the steps say what was wrong.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        logging.getLogger("kubernetes").setLevel(logging.ERROR)
        try:
            _, current = config.list_kube_config_contexts(kube_config)
            self.context = context or current["name"]
            settings = client.Configuration()
            config.load_kube_config(
                kube_config, context, client_configuration=settings, persist_config=False
            )
        except Exception as error:  # a broken file can fail anywhere in the library
            raise NoContext(_no_context(context)) from error
        settings.retries = urllib3.Retry(connect=1, read=0, redirect=0, status=0, other=0)
        self._settings = settings
        self._client = client.ApiClient(settings)

    @property
    def where(self) -> str:
        """The address of the API server and the context, for people."""
        return f"{self._settings.host} (context {self.context})"

    def read(self, path: str, **query: str) -> bytes:
        """The body of a GET.

        Raises:
            ReadError: one of the classes above.
        """
        call = self._client.param_serialize(
            "GET",
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json, */*"},
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._client.call_api(*call, _request_timeout=TIMEOUT_S)
            body: bytes = answer.read()
        except client.ApiException as error:
            raise Unreachable(_plain(error.reason)) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(_plain(error)) from error
        if answer.status < 300:
            return body
        raise _refusal(answer.status, path, body)


def _no_context(context: str | None) -> str:
    if context is not None:
        return f"the kube config has no usable context {context!r}"
    return "there is no kube config that can be used, with a current context"


def _refusal(status: int, path: str, body: bytes) -> ReadError:
    said = " ".join(body.decode(errors="replace").split())[:300]
    if status == 401:
        return Refused("the API server does not accept these credentials")
    if status == 403:
        return Refused(f"these credentials may not read {path}")
    if status == 404:
        return Absent(f"{path} is not there")
    return ReadError(f"{path} answers {status}: {said}")


def _plain(error: Any) -> str:
    """The innermost reason of an error of urllib3, without addresses of objects."""
    reason = getattr(error, "reason", error)
    inner = reason.args[-1] if isinstance(reason, Exception) and reason.args else reason
    text = str(inner).rpartition(">: ")[2]
    return " ".join(text.split())[:200]
