"""`cxrnode check`: everything an operator would try first, tried in order.

Hides how each thing is tried. Promises that one failed check does not hide the next, and a hint with each failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cxrnode.dimse.sender import Sender
from cxrnode.domain.delivery import Destination
from cxrnode.errors import CxrnodeError
from cxrnode.inference.bundle import verify
from cxrnode.ledger import SqliteLedger
from cxrnode.node import LEDGER_FILE, enabled_models, spool_of
from cxrnode.settings import Settings, settings_file

_FOLDER_HINT = "see 'The state folder cannot be used' in docs/operations.md"
_MODELS_HINT = "see models.folder and models.enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check came to."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def run_checks(settings: Settings) -> list[Result]:
    """Check the settings in force, the state folder, each enabled model and each destination."""
    return [_run(*check) for check in _checks(settings)]


def _checks(settings: Settings) -> Iterator[tuple[str, Callable[[], str], str]]:
    """Give each check's name, what to try, and what to do where the failure itself has no hint."""
    yield "settings", lambda: str(settings_file() or "defaults and environment"), "see deploy/cxrnode.toml"
    yield "ledger", partial(_ledger, settings.node.state_dir / LEDGER_FILE), _FOLDER_HINT
    yield "disk", partial(_disk, settings), _FOLDER_HINT
    yield "models", partial(_enabled, settings), _MODELS_HINT
    for name in _names(settings):
        yield f"model {name}", partial(_model, settings.models.folder / name), _MODELS_HINT
    for one in settings.destinations:
        hint = f"is {one.ae_title} at {one.host}:{one.port} running, and does it know {settings.node.ae_title}?"
        yield f"destination {one.name}", partial(_echo, settings.node.ae_title, one.destination()), hint


def _run(name: str, look: Callable[[], str], hint: str) -> Result:
    try:
        return Result(name=name, ok=True, detail=look())
    except CxrnodeError as error:
        return Result(name=name, ok=False, detail=error.happened, hint=error.hint or hint)
    except OSError as error:
        return Result(name=name, ok=False, detail=f"{error.strerror}", hint=f"look at {error.filename}")


def _ledger(path: Path) -> str:
    if not path.is_file():
        return "none yet; `cxrnode serve` makes it"
    with SqliteLedger.open(path, incarnation="check", exclusive=False) as ledger:
        ledger.check()
    return "sound"


def _disk(settings: Settings) -> str:
    spool_of(settings).check_space()
    return f"{settings.node.state_dir} is above its floor of free space"


def _enabled(settings: Settings) -> str:
    return f"{', '.join(enabled_models(settings)) or 'none'} enabled in {settings.models.folder}"


def _names(settings: Settings) -> tuple[str, ...]:
    """Give the enabled models; none where the check before this one says why there are none."""
    try:
        return enabled_models(settings)
    except CxrnodeError:
        return ()


def _model(folder: Path) -> str:
    card = verify(folder)
    return f"version {card.version}, digest {card.digest[:12]} as pinned"


def _echo(ae_title: str, destination: Destination) -> str:
    sender = Sender(ae_title=ae_title, report=lambda report: False)
    try:
        sender.echo(destination)
    finally:
        sender.close()
    return f"{destination.ae_title} at {destination.host}:{destination.port} answers C-ECHO"
