"""The command line: serve both services on this machine, or classify files."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

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
        return predict_files(given.paths, given.url, given.output, environment)
    except ConfigError as error:
        return f"ctscan: {error}"
    except StartFailed as error:
        return str(error)


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
    predict.add_argument("--url", help="a running service; without it, one is started for this")
    predict.add_argument("--output", choices=OUTPUTS, default="table")
    return top
