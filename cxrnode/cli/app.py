"""The root of the command line, and how every command prints."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrnode import __version__
from cxrnode.errors import CxrnodeError, SettingsInvalid

if TYPE_CHECKING:
    from cxrnode.settings import Settings
    from cxrnode.training.evaluation.report import Printed

app = typer.Typer(
    name="cxrnode",
    help="Chest radiographs in by C-STORE; SEG and SR back to the PACS. Research use, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

STOPPED = 130
"""Exit code after SIGINT, as shells have it: 128 and the number of the signal."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]


def _say_version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def _root(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file (TOML); else CXRNODE_CONFIG, else /etc/cxrnode/cxrnode.toml."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    if config:
        os.environ["CXRNODE_CONFIG"] = str(config)


def settings() -> Settings:
    """Load the settings in force."""
    from cxrnode.settings import load

    return load()


_STEERING = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
"""Controls, what turns the direction of writing, and halves of characters (file names of another encoding)."""


def say(text: str = "") -> None:
    """Print a line for a person, or for a script."""
    sys.stdout.write(f"{_seen(text)}\n")


def say_aside(text: str) -> None:
    """Print a line beside the output, on standard error."""
    sys.stderr.write(f"{_seen(text)}\n")


def _seen(text: str) -> str:
    """Give text without what would steer a terminal, or cannot be written: it may come from a header or a bundle."""
    return re.sub(_STEERING, "?", text)


def in_line(text: object) -> str:
    """Give what a sender stated so that it cannot begin a line of its own either."""
    return re.sub(r"[\n\t\u2028\u2029]", "?", _seen(str(text)))


def say_error(error: CxrnodeError) -> int:
    """Say an error of ours in one line, never a traceback; give the exit code that it means."""
    if isinstance(error, SettingsInvalid):
        say_aside(f"cxrnode: settings: {error}")
        return 2
    say_aside(f"cxrnode: {error}")
    return 1


def say_json(document: Any) -> None:
    """Print one JSON document."""
    say(json.dumps(document, indent=2, default=str))


def say_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table as wide as it has to be; a cell is shown as it is, whatever Rich would read in it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(in_line(cell)) for cell in row))
    Console(highlight=False).print(table)


def say_told(found: Printed, *, as_json: bool) -> None:
    """Print what was found, one way or the other."""
    if as_json:
        say_json(found.as_json())
    else:
        say(found.table())


def progress() -> Callable[[dict[str, Any]], None]:
    """Print lines of progress to standard error; of films that are counted, one a second."""
    last = [0.0]

    def report(line: dict[str, Any]) -> None:
        if time.monotonic() - last[0] >= 1.0 or line.get("event") != "film":
            last[0] = time.monotonic()
            say_aside(_in_words(line))

    return report


def _in_words(line: Mapping[str, Any]) -> str:
    """Give a line of progress for a person: a remark as it is, numbers in about four digits."""
    if "remark" in line:
        return f"note: {line['remark']}"
    pairs = ((key.replace(" ", "_"), _short(value)) for key, value in line.items())
    return " ".join(value if key == "event" else f"{key}={value}" for key, value in pairs)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else str(value)
