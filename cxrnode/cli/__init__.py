"""The commands: parse, call one room, print, map errors to exit codes.

Hides Typer and Rich from every other room. Promises that `cxrnode --help` loads no heavy library (each command
imports what it needs when it runs), that --json prints one JSON document, and these exit codes: 0 done, 1 something
in the work failed or needs an operator, 2 the command line or the settings are wrong, 130 stopped by SIGINT.
"""

from __future__ import annotations

import sys

from cxrnode.cli.app import app, say_error
from cxrnode.errors import CxrnodeError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; an error of ours is one line on standard error, never a traceback."""
    # Each of these adds its commands to `app`.
    from cxrnode.cli import (  # noqa: F401
        adding,
        bundles,
        daemon,
        films,
        jobs,
        measuring,
        operator,
        spool,
        training,
    )

    try:
        app()
    except CxrnodeError as error:
        sys.exit(say_error(error))
