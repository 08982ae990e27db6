"""What a command prints."""

from __future__ import annotations

import sys

import pytest

from cxrnode.cli import main
from cxrnode.cli.app import say, say_table


def test_what_would_steer_the_terminal_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A bundle's page may be written to clear the screen it is shown on; lines and columns stay."""
    say("one\ttwo\nthree \x1b[2J\x9b2J\u202eétoile\r")
    assert capsys.readouterr().out == "one\ttwo\nthree ?[2J?2J?étoile?\n"


def test_nor_is_it_in_an_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that was given comes back in the message."""
    monkeypatch.setattr(sys, "argv", ["cxrnode", "models", "show", "\x1b[2J"])
    with pytest.raises(SystemExit):
        main()
    assert "?[2J: no such model" in capsys.readouterr().err


def test_nor_is_it_in_a_table_and_what_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A patient id of a hostile sender: it neither steers the terminal nor ends the command nor begins a row."""
    say_table("Jobs", ("job", "patient id"), [(1, "\x1b[2J"), (2, "[/x]"), (3, "[red]x[/red]:smile:"), (4, "a\nb")])
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert said == ["Jobs", "job patient id", "1 ?[2J", "2 [/x]", "3 [red]x[/red]:smile:", "4 a?b"]
