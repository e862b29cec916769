"""Builds what the doctor needs and lets him walk; the only file here that makes objects."""

import socket
import sys
from collections.abc import Mapping

from rich.console import Console

from ctscan.doctor.case import Case, Options, utc_now
from ctscan.doctor.cluster import Cluster
from ctscan.doctor.reader import KubeReader, NoContext
from ctscan.doctor.report import Lines, as_json
from ctscan.doctor.walk import CANNOT_TELL, Verdict, verdict, walk

CONNECT_S = 3.0


def visit(options: Options, context: str | None, json: bool, environment: Mapping[str, str]) -> int:
    """Examine one InferenceService and say what was found; the exit status.

    0: well; 1: not well; 2: that cannot be told.
    """
    try:
        reader = KubeReader(environment.get("KUBECONFIG"), context)
    except NoContext as error:
        lost = Verdict(CANNOT_TELL, f"cannot tell: {error}; name one with KUBECONFIG and --context")
        print(as_json([], lost) if json else lost.line)
        return lost.status
    case = Case(Cluster(reader), options, connects, utc_now)
    findings = []
    console = Console(file=sys.stdout)
    lines = Lines(console)
    for name, finding in walk(case):
        findings.append((name, finding))
        if not json:
            lines.show(name, finding)
    end = verdict(findings)
    if json:
        print(as_json(findings, end))
    else:
        lines.end(end)
    return end.status


def connects(host: str, port: int) -> bool:
    """Whether somebody takes a connection there."""
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError:
        return False
    return True
