"""The command line: serve both services, classify files, or examine a deployment."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from ctscan.pair import StartFailed
from ctscan.predict import OUTPUTS, predict_files
from ctscan.serve import serve
from serving.settings import ConfigError


def run(environment: Mapping[str, str], arguments: Sequence[str] | None = None) -> int | str:
    """Run the command line; its exit status, or the one line that says why it failed."""
    given = parser().parse_args(arguments)
    try:
        if given.command == "serve":
            return serve(environment)
        if given.command == "doctor":
            return doctor(given, environment)
        return predict_files(given.paths, given.url, given.output, environment)
    except ConfigError as error:
        return f"ctscan: {error}"
    except StartFailed as error:
        return str(error)


def doctor(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Examine a deployment; its exit status."""
    # Not above: the Kubernetes client takes a second to import, and nothing else needs it.
    from ctscan.doctor.case import Options
    from ctscan.doctor.visit import visit

    options = Options(
        namespace=given.namespace,
        name=given.name,
        ingress=given.ingress,
        headers=tuple(given.header),
    )
    if named := environment.get("INGRESS"):
        options = replace(options, fallback_ingress=named)
    return visit(options, given.context, given.json, environment)


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    top = argparse.ArgumentParser(
        prog="ctscan",
        description="Serve a chest-CT classifier. Research use only, not a medical device.",
    )
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "serve",
        help="start predictor and transformer and wait until a prediction would succeed",
        description="Settings come from the environment and CONFIG_PATH: docs/configuration.md.",
    )
    predict = commands.add_parser("predict", help="classify image files or folders of them")
    predict.add_argument("paths", nargs="+", type=Path, metavar="FILE|DIR")
    predict.add_argument(
        "--url", type=address, help="a running service; without it, one is started for this"
    )
    predict.add_argument("--output", choices=OUTPUTS, default="table")
    examine = commands.add_parser(
        "doctor",
        help="say what is wrong with a deployment on Kubernetes, and what to do",
        description="Walks from the kube context to a prediction through the ingress. Exit status "
        "0: well, 1: not well, 2: that cannot be told. docs/doctor.md",
    )
    examine.add_argument("--namespace", default="ctscan")
    examine.add_argument("--name", default="ctscan", help="of the InferenceService")
    examine.add_argument(
        "--ingress",
        type=address,
        metavar="URL",
        help="default: found from the Gateway, else the variable INGRESS, else "
        "http://127.0.0.1:30080",
    )
    examine.add_argument("--context", help="of the kube config; default: the current one")
    examine.add_argument(
        "--header",
        type=header,
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="to send with each call through the ingress; may be given several times",
    )
    examine.add_argument("--json", action="store_true", help="print one JSON object")
    return top


def address(text: str) -> str:
    """The address of a service or an ingress.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        # Each refuses what the other takes, a port above 65535 or 1.2.3.256 as a host.
        httpx.URL(text)
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        known = False
    if not known:
        raise argparse.ArgumentTypeError(f"{text!r} is no address, expected http://host:port")
    return text.rstrip("/")


def header(text: str) -> tuple[str, str]:
    """Name and value of a header.

    Raises:
        argparse.ArgumentTypeError: the text has no colon.
    """
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError("expected 'NAME: VALUE'")
    return name.strip(), value.strip()
