"""A server for associations.

Hides pynetdicom's entity and how a server starts and stops. Promises what `acceptor`, `admission`, `wire` and `spool`
promise of every connection; and that a stop lets objects under way be answered, and ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from cxrnode.dimse.acceptor import Acceptor, Handler, visit_handlers
from cxrnode.dimse.admission import Limits
from cxrnode.dimse.contexts import MAXIMUM_PDU
from cxrnode.dimse.handshake import Handshakes
from cxrnode.dimse.house import House, Spooling
from cxrnode.dimse.spool import SpoolingProvider
from cxrnode.dimse.tls import Tls
from cxrnode.dimse.wire import close_socket, connected, tune

__all__ = ["Limits", "Securing", "Server", "Spooling", "close_socket", "connected", "quieten", "tune"]

_LOOK_AGAIN_SECONDS = 0.02

_HANDSHAKES = 4
"""How many TLS handshakes may be under way for each association that may: they are short."""

_ABORT_SECONDS = 2.0
"""How long an aborted peer may take to close its side before its socket is closed under it."""

STOPPING = "the node stops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Securing:
    """Under which TLS (None: in the clear), and whom to tell, with the peer's address and in words, that a connection
    came to nothing: TLS failed, or came where none is."""

    tls: Tls | None = None
    failed: Callable[[str, str], None] = lambda address, why: None


def quieten() -> None:
    """Keep pynetdicom from describing every PDU and message: that costs time, and some quote patient data."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        # It tells what a stranger sent several times over; we tell it once, and why.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


class Server:
    """Accepts associations from `start` to `stop`."""

    def __init__(
        self,
        *,
        ae_title: str,
        host: str,
        port: int,
        contexts: Sequence[PresentationContext],
        handlers: Sequence[Any],
        spooling: Spooling,
        limits: Limits,
        calling_ae_titles: Sequence[str] = (),
        securing: Securing | None = None,
    ) -> None:
        """Keep what is needed. Port 0 takes a free one; an empty list of calling AE titles takes any."""
        quieten()
        self._address = (host, port)
        self._contexts, self._handlers = list(contexts), list(handlers)
        self._spooling, self._limits = spooling, limits
        self._securing = securing or Securing()
        self._entity = _entity(ae_title, limits, calling_ae_titles)
        self._acceptor: Acceptor | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port in use; 0 before `start` where a free one was asked for."""
        return int(self._acceptor.server_address[1]) if self._acceptor else self._address[1]

    def start(self) -> None:
        """Listen. OSError where the address cannot be used."""
        house = House.of(self._limits, self._spooling, self._handshakes(), self._securing.failed)
        acceptor = self._entity.make_server(
            self._address,
            ae_title=self._entity.ae_title,
            contexts=self._contexts,
            evt_handlers=[*self._handlers, *visit_handlers(house)],
            server_class=Acceptor,
            request_handler=Handler,
        )
        assert isinstance(acceptor, Acceptor)  # make_server is annotated with the parent class
        acceptor.open(house)
        self._acceptor = acceptor
        self._thread = threading.Thread(target=partial(acceptor.serve_forever, 0.05), name="acceptor", daemon=True)
        self._thread.start()

    def stop(self, grace_seconds: float = 0.0) -> None:
        """Accept no more, let objects under way be answered for `grace_seconds`, then abort every association.

        Returns when their threads have ended, or 4 s later where a request is still being served.
        """
        if self._acceptor is None:
            return
        acceptor, self._acceptor = self._acceptor, None
        self._address = (self._address[0], int(acceptor.server_address[1]))
        acceptor.shutdown()
        _wait_while_receiving(acceptor, grace_seconds)
        for visit in acceptor.house.places.visits():
            acceptor.house.turn_out(visit, STOPPING)
        join(acceptor.active_associations, _ABORT_SECONDS)
        for association in acceptor.active_associations:
            close_socket(association)
        join(acceptor.active_associations, _ABORT_SECONDS)

    def _handshakes(self) -> Handshakes | None:
        tls = self._securing.tls
        return Handshakes(tls, most=_HANDSHAKES * self._limits.associations) if tls is not None else None


def _wait_while_receiving(acceptor: Acceptor, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_is_receiving(each) for each in acceptor.active_associations):
        time.sleep(_LOOK_AGAIN_SECONDS)


def _is_receiving(association: Association) -> bool:
    return isinstance(association.dimse, SpoolingProvider) and association.dimse.receiving


def _entity(ae_title: str, limits: Limits, calling_ae_titles: Sequence[str]) -> ApplicationEntity:
    entity = ApplicationEntity(ae_title=ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = list(calling_ae_titles)
    # Ours count better: pynetdicom's takes a connection that says nothing for an association.
    entity.maximum_associations = limits.connections + 1
    entity.maximum_pdu_size = MAXIMUM_PDU
    # The house looks for laggards (see admission); pynetdicom's timers run by the wall clock, and start anew by a byte.
    entity.acse_timeout = limits.negotiation_seconds + 1
    entity.dimse_timeout = limits.idle_seconds
    entity.network_timeout = None
    return entity


def join(threads: Sequence[threading.Thread], seconds: float) -> None:
    """Wait until they have ended, for so long at most; also for one that is just being started."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        while True:
            try:
                thread.join(max(0.0, deadline - time.monotonic()))
                break
            except RuntimeError:  # `threading.enumerate` gives those, too, that do not run yet
                if time.monotonic() > deadline:
                    return
                time.sleep(_LOOK_AGAIN_SECONDS)
