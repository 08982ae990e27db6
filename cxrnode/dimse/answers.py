"""What a peer that we called may answer with.

Hides pynetdicom's belief that the next message is the answer to the last request. Promises that an answer counts only
where it is of the request's own kind and names its message (PS3.7 9.1.1.1): a peer that answers one object twice has
not stored the next. And that no PDU longer than was negotiated is read from it, and nobody waits for a reactor that
has ended.

Relies on these inner names of pynetdicom 3.0: Association.dimse, ._is_paused and .run, DIMSEServiceProvider.send_msg
and .get_msg, AssociationSocket.recv.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from cxrnode.dimse.wire import read

if TYPE_CHECKING:
    from pynetdicom.association import Association


def hold_to_answers(association: Association) -> None:
    """Hold an association that is just being made to the promises above."""
    exchange = _Exchange(association.dimse)
    provider: Any = association.dimse
    provider.send_msg, provider.get_msg = exchange.send, exchange.take
    wrapped: Any = association.dul.socket
    wrapped.recv = partial(read, wrapped)
    association.run = partial(_run, association.run, association)  # type: ignore[method-assign]


class _Exchange:
    """Numbers our requests, and takes their answers."""

    def __init__(self, provider: Any) -> None:
        self._send, self._take = provider.send_msg, provider.get_msg
        self._numbers = itertools.cycle(range(1, 0x10000))
        self._asked: Any = None

    def send(self, primitive: Any, context_id: int) -> None:
        """Send a request under a number of its own; an answer of ours as it is."""
        if primitive.MessageIDBeingRespondedTo is None:
            primitive.MessageID = next(self._numbers)
            self._asked = primitive
        self._send(primitive, context_id)

    def take(self, block: bool = False) -> tuple[Any, Any]:
        """Give the next message; where an answer is awaited, that one or none, which pynetdicom reads as no answer."""
        context_id, message = self._take(block)
        if block and message is not None and not self._is_awaited(message):
            return None, None
        return context_id, message

    def _is_awaited(self, message: Any) -> bool:
        asked = self._asked
        return type(message) is type(asked) and message.MessageIDBeingRespondedTo == asked.MessageID


def _run(run: Callable[[], None], association: Association) -> None:
    try:
        run()
    finally:
        # A request that began just before waits for this flag, and would for ever.
        association._is_paused = True
