"""`cxrnode check`: everything an operator would try first, tried in order.

Hides how each thing is tried. Promises that one failed check does not hide the next, a hint with each failure, and of
each destination that answers what it would be sent, in which class and transfer syntax. The check asks the destinations
itself, on associations of its own, so it tells the truth of this moment beside a node and without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydicom.uid import UID

from cxrnode import audit, discretion
from cxrnode.dimse.sender import Sender
from cxrnode.dimse.tls import HINT as _TLS_HINT
from cxrnode.domain.access import Transport
from cxrnode.domain.capability import NAMES, Choice, Kind, choose, class_of
from cxrnode.domain.delivery import Destination, RejectionNotes
from cxrnode.errors import CxrnodeError
from cxrnode.inference.bundle import verify
from cxrnode.ledger import SqliteLedger
from cxrnode.node import LEDGER_FILE, collector_of, enabled_models, spool_of, tls_of
from cxrnode.settings import Settings, settings_file

_FOLDER_HINT = "see 'The state folder cannot be used' in docs/operations.md"
_MODELS_HINT = "see models.folder and models.enabled"
_TAKES_HINT = "see 'A destination does not take an object' in docs/operations.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A kind of object that a destination is to get."""

    kind: Kind
    sop_class_uid: str
    transfer_syntax_uid: str
    """Empty where it does not take the class."""

    @property
    def sop_class(self) -> str:
        """The SOP class as a person calls it."""
        return NAMES[self.sop_class_uid]

    @property
    def transfer_syntax(self) -> str:
        """The transfer syntax as a person calls it, empty where it does not take the class."""
        return UID(self.transfer_syntax_uid).name


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a destination would be sent: what it is to get, what goes in place of the rest, and rejection notes."""

    destination: str
    objects: tuple[Sent, ...]
    fallbacks: tuple[str, ...]
    """A sentence on everything that it does not take."""

    @property
    def arrives(self) -> bool:
        """Whether it takes anything that says what was found."""
        return any(one.transfer_syntax_uid for one in self.objects if one.kind is not Kind.REJECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check came to. `offer`: of a destination that answers."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    offer: Offer | None = None


def offer_to(destination: Destination, negotiated: Mapping[str, str]) -> Offer:
    """Say what a destination would be sent. `negotiated`: the transfer syntax of each SOP class that it takes."""
    choice = choose(destination, negotiated)
    objects = tuple(_sent(kind, choice, negotiated) for kind in _kinds(destination, choice))
    return Offer(destination=destination.name, objects=objects, fallbacks=choice.fallbacks)


def _kinds(destination: Destination, choice: Choice) -> tuple[Kind, ...]:
    rejections = () if destination.rejection_notes is RejectionNotes.NEVER else (Kind.REJECTION,)
    return tuple(dict.fromkeys((*destination.objects, *choice.kinds, *rejections)))


def _sent(kind: Kind, choice: Choice, negotiated: Mapping[str, str]) -> Sent:
    sop_class = class_of(kind, choice.report_class)
    return Sent(kind=kind, sop_class_uid=sop_class, transfer_syntax_uid=negotiated.get(sop_class, ""))


def run_checks(settings: Settings) -> list[Result]:
    """Check the settings in force, the state folder, each enabled model and each destination."""
    return [_run(*check) for check in _checks(settings)]


def _checks(settings: Settings) -> Iterator[tuple[str, Callable[[], str | Result], str]]:
    """Give each check's name, what to try, and what to do where the failure itself has no hint."""
    yield "settings", lambda: str(settings_file() or "defaults and environment"), "see deploy/cxrnode.toml"
    yield "ledger", partial(_ledger, settings.node.state_dir / LEDGER_FILE), _FOLDER_HINT
    yield "disk", partial(_disk, settings), _FOLDER_HINT
    yield "state folder", partial(_private, settings.node.state_dir), discretion.HINT
    if settings.tls_users:
        yield "certificates", partial(_certificates, settings), _TLS_HINT
    if settings.audit.syslog.host:
        yield "audit collector", partial(_collector, settings), audit.HINT
    yield "models", partial(_enabled, settings), _MODELS_HINT
    for name in _names(settings):
        yield f"model {name}", partial(_model, settings.models.folder / name), _MODELS_HINT
    for one in settings.destinations:
        hint = f"is {one.ae_title} at {one.host}:{one.port} running, and does it know {settings.node.ae_title}?"
        yield f"destination {one.name}", partial(_destination, settings, one.destination()), hint


def _run(name: str, look: Callable[[], str | Result], hint: str) -> Result:
    try:
        found = look()
        return found if isinstance(found, Result) else Result(name=name, ok=True, detail=found)
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


def _private(folder: Path) -> str | Result:
    seen = discretion.demand_private(folder)
    if seen:
        return Result(name="state folder", ok=False, detail=seen, hint=discretion.HINT)
    return "for the node's user only"


def _certificates(settings: Settings) -> str | Result:
    tls, now = tls_of(settings), datetime.now(UTC)
    assert tls is not None  # asked for only where somebody uses it
    ending = tls.ending(now)
    if ending is None:
        return f"valid for more than {settings.tls.warn_days} days, for {', '.join(settings.tls_users)}"
    return Result(name="certificates", ok=False, detail=ending.said(now), hint=_TLS_HINT)


def _collector(settings: Settings) -> str:
    collector = collector_of(settings, tls_of(settings))
    assert collector is not None  # asked for only where one is set
    return audit.reach(collector)


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


def _destination(settings: Settings, destination: Destination) -> Result:
    tls = tls_of(settings) if destination.transport is Transport.TLS else None
    sender = Sender(ae_title=settings.node.ae_title, report=lambda report: False, tls=tls)
    try:
        sender.echo(destination)
        offer = offer_to(destination, sender.negotiated(destination))
    finally:
        sender.close()
    name, where = f"destination {destination.name}", f"{destination.ae_title} at {destination.host}:{destination.port}"
    if not offer.arrives:
        detail = f"{where} takes nothing of what is written for it"
        return Result(name=name, ok=False, detail=detail, hint=_TAKES_HINT, offer=offer)
    return Result(name=name, ok=True, detail=f"{where} answers C-ECHO", offer=offer)
