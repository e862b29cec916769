"""`ctscan`: serve both services on this machine, or classify files."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ctscan.pair import StartFailed
from ctscan.predict import OUTPUTS, predict_files
from ctscan.serve import serve
from serving.settings import ConfigError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors are one line on standard error and exit status 1."""
    given = parser().parse_args(arguments)
    try:
        if given.command == "serve":
            code = serve(os.environ)
        else:
            code = predict_files(given.paths, given.url, given.output, os.environ)
    except ConfigError as error:
        code = f"ctscan: {error}"
    except StartFailed as error:
        code = str(error)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


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


if __name__ == "__main__":
    main()
