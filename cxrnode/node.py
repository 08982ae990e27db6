"""The composition root: the only file that knows every adapter, and the order in which they start and stop.

Hides how the line gets its ports. Promises that the port listens before the models are loaded, that whatever was
started is stopped in the opposite order, and that a second node on the same state is refused.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cxrnode import __version__
from cxrnode.archive import ReferenceArchive, SpoolArchive
from cxrnode.audit import AuditedPeer, AuditedSpool, AuditTrail, Carrier, Collector
from cxrnode.dimse.certificates import Files
from cxrnode.dimse.commitment import CommitmentReport
from cxrnode.dimse.contexts import SOURCE_CLASSES
from cxrnode.dimse.listener import Door, Listener
from cxrnode.dimse.sender import Sender
from cxrnode.dimse.server import Limits
from cxrnode.dimse.tls import Tls
from cxrnode.domain.access import Transport
from cxrnode.domain.capability import Kind
from cxrnode.domain.study import Arrival
from cxrnode.errors import CxrnodeError, Fatal, SettingsInvalid
from cxrnode.evidence import EvidenceComposer
from cxrnode.inference.bundle import verify
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.inference.shelf import enabled_by_default, folders_of
from cxrnode.ledger import SqliteLedger
from cxrnode.ledger.lock import Holder
from cxrnode.pipeline import Line, Plan
from cxrnode.pipeline.retaining import Retaining
from cxrnode.pipeline.running import Seen
from cxrnode.pixels.header import HeaderReader
from cxrnode.schedule import Bell, Bells
from cxrnode.settings import Settings
from cxrnode.settings.sections import ListenerSettings
from cxrnode.telemetry import Event, tell
from cxrnode.web.dependency import Dependency

if TYPE_CHECKING:
    from cxrnode.web.health import HealthServer

LEDGER_FILE = "ledger.sqlite"
AUDIT_FOLDER = "audit"
_AUDIT_SECONDS = 1.0
"""How long what was told to the audit trail may wait to be on disk, and on its way to the collector."""
_POLL_SECONDS = 0.2
_CLOCK_SECONDS = 1.0
_ADOPT_SECONDS = 60.0
"""How soon adoption is tried again where something could not be adopted."""
_CERTIFICATES_SECONDS = 1.0
"""How often the certificates' files are looked at."""
_DEVICE_SECONDS = 30.0
"""How often a GPU that is not there is looked for."""
_GRACE_SECONDS = 3.0
"""How long objects that are just received may take when the node stops."""
_END_SECONDS = 2.0
"""How long the work that runs may take to its end before it is broken off."""
_BREAK_SECONDS = 3.0
"""How long work that is broken off may take to give up."""


class SystemClock:
    """Implements ports.Clock."""

    def now(self) -> datetime:
        """Give the time as aware UTC."""
        return datetime.now(UTC)


class Engine:
    """The line with its adapters and bells, without a door to the world. Owns ledger, child process and senders."""

    def __init__(
        self,
        settings: Settings,
        archive: SpoolArchive | ReferenceArchive,
        *,
        preview: bool = False,
        seen: Seen | None = None,
        objects: tuple[Kind, ...] = (Kind.SEG, Kind.SR),
        has_door: bool = False,
    ) -> None:
        """Open the ledger under its lock and compose the line. AlreadyRunning where another node holds the state.

        `objects`: what is composed where no destination gets it. `has_door`: what comes is told to the audit trail, as
        it is brought by others; a replay reads its user's own files.
        """
        self.settings, self.archive = settings, archive
        self.destinations = tuple(destination.destination() for destination in settings.destinations)
        self.incarnation = uuid.uuid4().hex
        self.stopped = threading.Event()
        self.fatal: Fatal | None = None
        self.tls = tls_of(settings)
        self.predictor = _predictor(settings)
        self.sender = Sender(ae_title=settings.node.ae_title, report=self.take_report, tls=self.tls)
        self.ledger = SqliteLedger.open(
            settings.node.state_dir / LEDGER_FILE,
            incarnation=self.incarnation,
            exclusive=True,
            holder=Holder.here(
                ae_title=settings.node.ae_title, port=settings.node.port if has_door else 0, now=SystemClock().now()
            ),
        )
        self.audit = audit_of(settings, collector=_collector(settings, self.tls))
        self.line = Line(
            plan=_plan(settings, preview=preview, objects=objects),
            archive=archive,
            ledger=self.ledger,
            reader=HeaderReader(),
            predictor=self.predictor,
            composer=_composer(settings),
            peer=AuditedPeer(self.sender, self.audit),
            clock=SystemClock(),
            chance=random.random,
            seen=seen,
            received=self.audit.took if has_door else None,
        )
        self.retaining = retaining_of(
            settings, archive, self.ledger, self.sender, self.audit, stopping=self.stopped.is_set
        )
        self.bells = Bells(self._bells(), self._on_fatal)

    def receive(self, arrival: Arrival) -> int:
        """Take an instance. What is Fatal stops the node, too: it must not go on refusing what it could have kept."""
        try:
            return self.line.receive(arrival)
        except Fatal as error:
            self._on_fatal(error)
            raise

    def take_report(self, report: CommitmentReport) -> bool:
        """Take an N-EVENT-REPORT from either door; what is Fatal stops the node, as in `receive`."""
        try:
            return self.line.confirm(report.transaction_uid, report.committed, report.failed)
        except Fatal as error:
            self._on_fatal(error)
            raise

    def start(self) -> None:
        """Begin to load the models, and put the spool in order. The bells are rung by `ring`."""
        self.audit.started()
        self.predictor.start()
        self.line.start()

    def ring(self) -> None:
        """Start closing, running and delivering."""
        self.bells.start()

    def hush(self) -> None:
        """Begin nothing new, and say what is under way."""
        tell(Event.NODE_STOPPING, incarnation=self.incarnation, running=", ".join(self.bells.ringing) or "nothing")
        self.bells.hush()

    def stop(self) -> tuple[str, ...]:
        """Let the verbs that run end, then break off models and senders, then shut the ledger.

        What is broken off goes back to the ledger, and what does not even end then keeps its lease: the next start
        claims both at once. Gives the names of the latter; their threads still run.
        """
        left = self.bells.stop(_END_SECONDS)
        self.predictor.close()
        self.sender.interrupt()
        self.audit.interrupt()
        left = left and self.bells.stop(_BREAK_SECONDS)
        if not left:
            self.sender.close()
        self.audit.stopped()
        self.ledger.shut()
        return left

    def _bells(self) -> list[Bell]:
        bells = [
            Bell(name="adopt", period_seconds=_ADOPT_SECONDS, verb=self.line.adopt, at_once=True),
            Bell(name="clock", period_seconds=_CLOCK_SECONDS, verb=self.line.mind_clock),
            Bell(name="close", period_seconds=_POLL_SECONDS, verb=self.line.close_due),
            Bell(name="compare", period_seconds=_POLL_SECONDS, verb=self.line.compare_recoded),
            Bell(name="run", period_seconds=_POLL_SECONDS, verb=self.line.run_jobs),
            Bell(name="sync the audit", period_seconds=_AUDIT_SECONDS, verb=self.audit.sync),
            Bell(name="send the audit", period_seconds=_AUDIT_SECONDS, verb=self.audit.forward),
        ]
        if self.tls is not None:
            look = self.tls.look
            bells.append(Bell(name="certificates", period_seconds=_CERTIFICATES_SECONDS, verb=look, at_once=True))
        if self.retaining:
            every, look = self.settings.retention.look_seconds, self.retaining.look
            bells.append(Bell(name="look after the spool", period_seconds=every, verb=look, at_once=True))
        for destination in self.destinations:
            deliver: Callable[[], int] = lambda to=destination: self.line.deliver(to)  # type: ignore[misc]  # noqa: E731
            commit: Callable[[], int] = lambda to=destination: self.line.ask_commitments(to)  # type: ignore[misc]  # noqa: E731
            ask: Callable[[], int] = lambda to=destination: self.line.ask_capabilities(to)  # type: ignore[misc]  # noqa: E731
            every = self.settings.line.capability_seconds
            bells.append(Bell(name=f"ask {destination.name}", period_seconds=every, verb=ask, at_once=True))
            bells.append(Bell(name=f"deliver to {destination.name}", period_seconds=_POLL_SECONDS, verb=deliver))
            bells.append(Bell(name=f"commit at {destination.name}", period_seconds=_POLL_SECONDS, verb=commit))
        return bells

    def _on_fatal(self, error: Fatal) -> None:
        self.fatal = error
        tell(Event.UNEXPECTED, logging.ERROR, operation="node", error=type(error).__name__, hint=error.hint)
        self.stopped.set()


class Node:
    """The daemon: an engine with a listener and a health page."""

    def __init__(self, settings: Settings, *, preview: bool = False, seen: Seen | None = None) -> None:
        """Compose it; nothing runs yet. `preview` and `seen` are for the demo's picture."""
        self.settings = settings
        self.archive = spool_of(settings)
        self.engine = Engine(settings, self.archive, preview=preview, seen=seen, has_door=True)
        self.listener = Listener(
            _door(settings, self.engine.tls),
            incoming=self.archive.incoming,
            receive=self.engine.receive,
            report=self.engine.take_report,
            admit=self.archive.check_space,
            association_ended=self._association_ended,
            refused=self.engine.audit.heard,
        )
        self.health: HealthServer | None = None

    def start(self) -> None:
        """Sweep, listen, then ring the bells, that of adoption among them, and open the health page."""
        self.engine.start()
        self.listener.start()
        self.engine.ring()
        self._open_health_page()
        aet, incarnation = self.settings.node.ae_title, self.engine.incarnation
        tell(Event.NODE_STARTED, version=__version__, incarnation=incarnation, aet=aet)

    def _association_ended(self, association: str) -> None:
        self.engine.audit.association_ended(association)
        self.engine.line.association_ended(association)

    def reload(self) -> None:
        """Take up the certificates anew; associations go on. May be called from a signal's handler."""
        if self.engine.tls is not None:
            self.engine.tls.ask_again()

    def _open_health_page(self) -> None:
        """Load the HTTP library only now: the port for DICOM opened first."""
        from cxrnode.web.health import HealthServer

        web = self.settings.web
        if web.enabled:
            self.health = HealthServer(host=web.host, port=web.port, version=__version__, look=self.look)
            self.health.start()

    def wait(self) -> None:
        """Block until `stop` is asked for from a signal, or something Fatal happened, which is raised."""
        self.engine.stopped.wait()
        if self.engine.fatal:
            raise self.engine.fatal

    def stop(self) -> bool:
        """Take no more, then end what runs, within seconds. False where threads are left that did not end in time."""
        self.engine.hush()
        self.listener.stop(_GRACE_SECONDS)
        left = self.engine.stop()
        if self.health:
            self.health.stop()
        tell(Event.NODE_STOPPED, incarnation=self.engine.incarnation, running=", ".join(left) or "nothing")
        return not left

    def look(self) -> Mapping[str, Dependency]:
        """Give the health of each dependency, without waiting for any."""
        return {
            "ledger": _try(lambda: "paused: jobs wait for `cxrnode resume`" if self.engine.ledger.paused() else "open"),
            "disk": _try(lambda: _with_room(self.archive)),
            "models": _models(self.engine.predictor),
            "audit": _audit(self.engine.audit),
            **({"certificates": _certificates(self.engine.tls)} if self.engine.tls is not None else {}),
        }


def audit_of(settings: Settings, *, collector: Collector | None = None) -> AuditTrail:
    """Give the audit trail of a state folder; `collector` is the node's to speak to, not a command's."""
    return AuditTrail(
        settings.node.state_dir / AUDIT_FOLDER,
        ae_title=settings.node.ae_title,
        host=socket.gethostname(),
        now=SystemClock().now,
        site=settings.audit.site,
        keep_days=settings.audit.keep_days,
        collector=collector,
    )


def _collector(settings: Settings, tls: Tls | None) -> Collector | None:
    syslog = settings.audit.syslog
    if not syslog.host:
        return None
    plain = Collector(host=syslog.host, port=syslog.port, transport=Carrier(syslog.transport))
    return replace(plain, context=tls.client_context) if tls else plain


def spool_of(settings: Settings) -> SpoolArchive:
    """Give the archive of a node's state folder."""
    floor = settings.listener.free_space_floor_mb * 1_000_000
    return SpoolArchive(settings.node.state_dir / "spool", floor_bytes=floor)


def retaining_of(
    settings: Settings,
    archive: SpoolArchive | ReferenceArchive,
    ledger: SqliteLedger,
    keeper: Sender,
    audit: AuditTrail,
    *,
    by_operator: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Retaining | None:
    """Give what looks after the room on the disk; None for a replay, whose files stay."""
    if not isinstance(archive, SpoolArchive):
        return None
    return Retaining(
        rules=settings.retention.rules(),
        destinations=tuple(destination.destination() for destination in settings.destinations),
        spool=AuditedSpool(archive, archive.path, audit, by_operator=by_operator),
        inventory=ledger.inventory,
        keeper=keeper,
        clock=SystemClock(),
        chance=random.random,
        stopping=stopping,
    )


def _with_room(archive: SpoolArchive) -> str:
    archive.check_space()
    return "above its floor of free space"


def _try(look: Callable[[], str]) -> Dependency:
    try:
        return Dependency(ok=True, detail=look())
    except CxrnodeError as error:
        return Dependency(ok=False, detail=error.happened)


def _audit(audit: AuditTrail) -> Dependency:
    trouble = audit.trouble()
    return Dependency(ok=not trouble, detail=trouble or "written", needed=False)


def _models(predictor: ChildPredictor) -> Dependency:
    """The node receives and keeps without its models, so it is ready while they load."""
    trouble = predictor.trouble()
    if trouble:
        return Dependency(ok=False, detail=trouble.happened, needed=False)
    detail, lesser = "loaded" if predictor.ready() else "loading", predictor.lesser_device()
    if lesser:
        return Dependency(ok=False, detail=f"{detail} on the CPU: {lesser}", needed=False)
    return Dependency(ok=predictor.ready(), detail=detail, needed=False)


def _certificates(tls: Tls) -> Dependency:
    """The node takes its part with certificates that end; its peers will not for long."""
    now = datetime.now(UTC)
    ending = tls.ending(now)
    wrong = f"the new files cannot be used, the old ones are: {tls.trouble}" if tls.trouble else ""
    wrong = wrong or (ending.said(now) if ending is not None else "")
    return Dependency(ok=not wrong, detail=wrong or "valid", needed=False)


def tls_of(settings: Settings) -> Tls | None:
    """Give the TLS of a node; None where nothing asks for it. SettingsInvalid with every problem of its files."""
    if not settings.tls_users:
        return None
    tls, listener = settings.tls, settings.listener
    return Tls(
        Files(certificate=Path(tls.certificate), key=Path(tls.key), authorities=Path(tls.authorities)),
        client_certificates=listener.client_certificates == "required",
        roles=_roles(settings),
        handshake_seconds=tls.handshake_seconds,
        warn_days=tls.warn_days,
    )


def _roles(settings: Settings) -> tuple[str, ...]:
    """Give what our certificate is for."""
    server = ("server",) if settings.listener.transport is Transport.TLS else ()
    client = any(one.transport is Transport.TLS for one in settings.destinations)
    return (*server, "client") if client else server


def enabled_models(settings: Settings) -> tuple[str, ...]:
    """Give the names of the bundles that run.

    NeedsOperator where a bundle cannot be read or none is enabled, SettingsInvalid where a rule names another.
    """
    chosen = settings.models.enabled
    names = enabled_by_default(settings.models.folder) if chosen == "default" else chosen
    strangers = sorted({name for rule in settings.rules for name in rule.models if name not in names})
    if strangers:
        hint = f"enabled: {', '.join(names)}; name others in models.enabled"
        raise SettingsInvalid("a rule names a model that is not enabled", subject=", ".join(strangers), hint=hint)
    return names


def bundle_folders(settings: Settings) -> dict[str, Path]:
    """Give the enabled bundles' folders, each checked. NeedsOperator where one is missing, ModelAltered."""
    folders = folders_of(settings.models.folder, enabled_models(settings))
    for folder in folders.values():
        verify(folder)
    return folders


def _predictor(settings: Settings) -> ChildPredictor:
    inference = settings.inference
    return ChildPredictor(
        bundle_folders(settings),
        device=inference.device,
        threads=inference.threads,
        batch=inference.batch,
        stall_seconds=inference.stall_seconds,
        image_seconds=inference.image_seconds,
        device_seconds=_DEVICE_SECONDS,
    )


def _composer(settings: Settings) -> EvidenceComposer:
    return EvidenceComposer(
        device_name=settings.node.device_name or settings.node.ae_title,
        timezone_offset=settings.node.timezone_offset,
        software_version=__version__,
    )


def _plan(settings: Settings, *, preview: bool, objects: tuple[Kind, ...]) -> Plan:
    line = settings.line
    return Plan(
        rules=settings.rules_in_force,
        stat=tuple(one.rule() for one in settings.stat),
        models=enabled_models(settings),
        destinations=tuple(destination.destination() for destination in settings.destinations),
        quiet_seconds=settings.studies.quiet_seconds,
        batch=settings.inference.batch,
        job_policy=line.jobs.policy(),
        delivery_policy=line.deliveries.policy(),
        job_lease_seconds=line.job_lease_seconds,
        delivery_lease_seconds=line.delivery_lease_seconds,
        commitment_wait_seconds=line.commitment_wait_seconds,
        objects=objects,
        preview=preview,
        state_withheld=settings.models.state_withheld,
        children=settings.models.children,
    )


def _door(settings: Settings, tls: Tls | None) -> Door:
    node, listener = settings.node, settings.listener
    return Door(
        ae_title=node.ae_title,
        host=node.host,
        port=node.port,
        calling_ae_titles=listener.calling_ae_titles,
        networks=tuple(str(network) for network in listener.addresses),
        storage_classes=(*SOURCE_CLASSES, *listener.other_storage_classes),
        tls=tls if listener.transport is Transport.TLS else None,
        certificate_names=listener.certificate_names,
        limits=_limits(listener),
    )


def _limits(listener: ListenerSettings) -> Limits:
    return Limits(
        associations=listener.maximum_associations,
        per_address=listener.maximum_per_address,
        negotiation_seconds=listener.negotiation_seconds,
        idle_seconds=listener.idle_seconds,
        slowest_bytes_per_second=listener.slowest_kb_per_second * 1000,
        largest_object_bytes=listener.largest_object_mb * 1_000_000,
        in_flight_bytes=listener.in_flight_mb * 1_000_000,
    )
