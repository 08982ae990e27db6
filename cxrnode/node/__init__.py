"""The composition root: the only room that knows every adapter, and the order in which they start and stop.

Hides how the line gets its ports. Promises that the port listens before the models are loaded, that whatever was
started is stopped in the opposite order, and that a second node on the same state is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cxrnode import __version__
from cxrnode.dimse.listener import Listener
from cxrnode.node import condition
from cxrnode.node.engine import Engine
from cxrnode.node.parts import (
    LEDGER_FILE,
    audit_of,
    bundle_folders,
    collector_of,
    door_of,
    enabled_models,
    retaining_of,
    spool_of,
    tls_of,
)
from cxrnode.pipeline.running import Seen
from cxrnode.settings import Settings
from cxrnode.telemetry import Event, tell
from cxrnode.web.dependency import Dependency

if TYPE_CHECKING:
    from cxrnode.web.health import HealthServer

__all__ = [
    "LEDGER_FILE",
    "Engine",
    "Node",
    "audit_of",
    "bundle_folders",
    "collector_of",
    "enabled_models",
    "retaining_of",
    "spool_of",
    "tls_of",
]

_GRACE_SECONDS = 3.0
"""How long objects that are just received may take when the node stops."""


class Node:
    """The daemon: an engine with a listener and a health page."""

    def __init__(self, settings: Settings, *, preview: bool = False, seen: Seen | None = None) -> None:
        """Compose it; nothing runs yet. `preview` and `seen` are for the demo's picture."""
        self.settings = settings
        self.archive = spool_of(settings)
        self.engine = Engine(settings, self.archive, preview=preview, seen=seen, has_door=True)
        self.listener = Listener(
            door_of(settings, self.engine.tls),
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
        # The line first: until it knows, the study does not close.
        self.engine.line.association_ended(association)
        self.engine.audit.association_ended(association)

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
            "ledger": condition.ledger(self.engine.ledger),
            "disk": condition.disk(self.archive),
            "models": condition.models(self.engine.predictor),
            "audit": condition.audit(self.engine.audit),
            **({"certificates": condition.certificates(self.engine.tls)} if self.engine.tls is not None else {}),
        }
