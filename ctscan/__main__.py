"""`ctscan`, from the shell."""

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors are one line on standard error and exit status 1."""
    try:
        # Not above: Ctrl-C may come while these imports are under way.
        from ctscan.command import run

        code = run(os.environ, arguments)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
