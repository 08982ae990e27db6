"""What a command prints."""

from __future__ import annotations

import sys

import pytest

from cxrnode.cli import main
from cxrnode.cli.app import say


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
