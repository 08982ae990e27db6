"""The line with its adapters and its bells.

Hides the order in which the parts are made, started and broken off. Promises that whatever was started is stopped in
the opposite order, within seconds, and that a second engine on the same state is refused.
"""

from __future__ import annotations

import logging
import random
import threading
import uuid
from collections.abc import Callable

from cxrnode.archive import ReferenceArchive, SpoolArchive
from cxrnode.audit import AuditedPeer
from cxrnode.dimse.commitment import CommitmentReport
from cxrnode.dimse.sender import Sender
from cxrnode.domain.capability import Kind
from cxrnode.domain.study import Arrival
from cxrnode.errors import Fatal
from cxrnode.ledger import SqliteLedger
from cxrnode.ledger.lock import Holder
from cxrnode.node import parts
from cxrnode.pipeline import Line
from cxrnode.pipeline.running import Seen
from cxrnode.pixels.header import HeaderReader
from cxrnode.schedule import Bell, Bells
from cxrnode.settings import Settings
from cxrnode.telemetry import Event, tell

_AUDIT_SECONDS = 1.0
"""How long what was told to the audit trail may wait to be on disk, and on its way to the collector."""
_POLL_SECONDS = 0.2
_CLOCK_SECONDS = 1.0
_ADOPT_SECONDS = 60.0
"""How soon adoption is tried again where something could not be adopted."""
_CERTIFICATES_SECONDS = 1.0
"""How often the certificates' files are looked at."""
_END_SECONDS = 2.0
"""How long the work that runs may take to its end before it is broken off."""
_BREAK_SECONDS = 3.0
"""How long work that is broken off may take to give up."""


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
        self.tls = parts.tls_of(settings)
        self.predictor = parts.predictor_of(settings)
        self.sender = Sender(ae_title=settings.node.ae_title, report=self.take_report, tls=self.tls)
        self.ledger = SqliteLedger.open(
            settings.node.state_dir / parts.LEDGER_FILE,
            incarnation=self.incarnation,
            exclusive=True,
            holder=Holder.here(
                ae_title=settings.node.ae_title,
                port=settings.node.port if has_door else 0,
                now=parts.SystemClock().now(),
            ),
        )
        self.audit = parts.audit_of(settings, collector=parts.collector_of(settings, self.tls))
        self.line = Line(
            plan=parts.plan_of(settings, preview=preview, objects=objects),
            archive=archive,
            ledger=self.ledger,
            reader=HeaderReader(),
            predictor=self.predictor,
            composer=parts.composer_of(settings),
            peer=AuditedPeer(self.sender, self.audit),
            clock=parts.SystemClock(),
            chance=random.random,
            seen=seen,
            received=self.audit.took if has_door else None,
        )
        self.retaining = parts.retaining_of(
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
        claims both at once. Gives the names of the latter; their threads still run, and the ledger stays locked until
        the process has ended.
        """
        left = self.bells.stop(_END_SECONDS)
        self.predictor.close()
        self.sender.interrupt()
        self.audit.interrupt()
        left = left and self.bells.stop(_BREAK_SECONDS)
        self.audit.stopped()
        if not left:
            self.sender.close()
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
