"""What a peer sends, on its way: the bytes of a C-STORE to the disk, everything else to a memory that is bounded.

Hides how pynetdicom puts a message together from its fragments. pynetdicom has a switch of its own for this
(STORE_RECV_CHUNKED_DATASET), which holds for the whole process, writes to the system's temporary folder and leaves the
file behind when the association is aborted. Here each listener writes into its own folder, and what was not handed
over is removed when the association ends.

Promises a `*.part` file that holds a preamble, file meta information of our own and the peer's data set, byte for
byte. An object for which there is no room, before or in its midst (the disk is full, it is larger than allowed, too
many bytes are under way), is swallowed to its end and answered 0xA700. One message waits while another is served, and
no more.

Relies on these inner names of pynetdicom 3.0: DIMSEServiceProvider.receive_primitive, .get_msg and .message, and
DIMSEMessage._data_set_file and ._data_set_path, Association._accepted_cx, DULServiceProvider.event_queue.
"""

from __future__ import annotations

import contextlib
import errno
import queue
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO
from pynetdicom.dsutils import create_file_meta
from pynetdicom.pdu_primitives import P_DATA

from cxrnode import telemetry
from cxrnode.dimse import status
from cxrnode.dimse.admission import Flight, Visit
from cxrnode.dimse.wire import DROWSY_SECONDS
from cxrnode.errors import OutOfSpace, Refused

if TYPE_CHECKING:
    from pynetdicom.association import Association

_FULL = (errno.ENOSPC, errno.EDQUOT)
_INVALID_PDU = "Evt19"
"""The event of the upper layer's state machine that ends in A-ABORT (PS3.8 9.2)."""

_LONGEST_COMMAND = 65_536
LONGEST_IN_MEMORY = 256_000
"""Bytes of a command set, and of a data set that is no object: a commitment report of the hundred instances that are
asked for at once has a tenth. pydicom makes hundreds of times as much of items of nothing, in seconds a megabyte."""

_LOOK_AGAIN_BYTES = 64_000_000
"""After so many bytes of one object it is looked again whether the disk has room for more."""

BROKE = "the peer broke the protocol"
UNFORESEEN = "nobody foresaw this"
NO_CONTEXT = "the peer used a presentation context that was not accepted"
TOO_LONG = "a message that is no object was longer than any may be"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Where objects go while they come, and how much may come. `admit` raises Refused where none may be taken now."""

    folder: Path
    admit: Callable[[Association], None]
    flight: Flight
    largest_bytes: int


class _Broken(Exception):
    """What a peer may not do; the text is ours."""


class Part:
    """A file being received. `refused` says why its bytes were let go, if they were."""

    def __init__(self, room: Room, association: Association) -> None:
        """Make the file, or be one that is refused already."""
        self.path = room.folder / f"{uuid.uuid4().hex}.part"
        self.refused: Refused | None = None
        self._room, self._association = room, association
        self._size = self._counted = 0
        self._file: BinaryIO = BytesIO()
        try:
            self._file = self.path.open("xb")
        except OSError as error:
            self.refused = refusal_of(error)

    @property
    def name(self) -> str:
        """The path, as a file object calls it."""
        return str(self.path)

    @property
    def file(self) -> Part:
        """Itself: pynetdicom flushes `.file` of a temporary file."""
        return self

    def write(self, data: bytes) -> int:
        """Write; after a failure the bytes are let go, so that the sender still gets its answer."""
        if not self.refused:
            try:
                self._make_room(len(data))
            except Refused as refused:
                self.let_go(refused)
            else:
                self._or_let_go(lambda: self._file.write(data))
        return len(data)

    def admit(self) -> None:
        """Let go what comes where no object may be taken now."""
        try:
            self._room.admit(self._association)
        except Refused as refused:
            self.let_go(refused)
        except Exception as error:  # noqa: BLE001 - the edge: the sender gets an answer whatever comes
            telemetry.unexpected("admit", error)
            self.let_go(Refused(UNFORESEEN, status=status.CANNOT_UNDERSTAND, operation="C-STORE"))

    def flush(self) -> None:
        """Hand the bytes to the system."""
        if not self.refused:
            self._or_let_go(self._file.flush)

    def close(self) -> None:
        """Close the file; its bytes are then complete, not yet durable."""
        if not self.refused:
            self._or_let_go(self._file.close)

    def let_go(self, refused: Refused) -> None:
        """Remove the file and swallow what still comes."""
        self.refused = refused
        self.remove()

    def remove(self) -> None:
        """Remove the file if it is still there under this name; its bytes are under way no more."""
        self._room.flight.give_back(self._counted)
        self._counted = 0
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _make_room(self, count: int) -> None:
        if self._size + count > self._room.largest_bytes:
            megabytes = self._room.largest_bytes / 1e6
            hint = "raise listener.largest_object_mb, see 'Who is refused, and why' in docs/operations.md"
            raise OutOfSpace(f"the object is larger than {megabytes:g} MB", operation="C-STORE", hint=hint)
        if not self._room.flight.take(count):
            hint = "raise listener.in_flight_mb, see 'Who is refused, and why' in docs/operations.md"
            raise OutOfSpace("too many bytes are under way at once", operation="C-STORE", hint=hint)
        self._counted += count
        if self._size // _LOOK_AGAIN_BYTES != (self._size + count) // _LOOK_AGAIN_BYTES:
            self._room.admit(self._association)
        self._size += count

    def _or_let_go(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self.let_go(refusal_of(error))


def refusal_of(error: OSError) -> Refused:
    """Turn what the disk raises into the sender's answer: try again later."""
    if error.errno in _FULL:
        hint = "see 'The disk is full' in docs/operations.md"
        return OutOfSpace("the disk is full", operation="C-STORE", hint=hint)
    happened, hint = f"the disk failed with errno {error.errno}", "see 'The disk fails' in docs/operations.md"
    return Refused(happened, status=status.OUT_OF_RESOURCES, operation="C-STORE", hint=hint)


class SpoolingProvider(DIMSEServiceProvider):
    """pynetdicom's DIMSE provider, with the data sets of C-STORE on disk instead of in memory."""

    def __init__(
        self, assoc: Association, room: Room, visit: Visit, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Spool into the room; say to the visit how its peer gets on."""
        super().__init__(assoc)
        self.visit = visit
        self._room, self._clock = room, clock
        self._parts: set[Part] = set()
        self._answering = False
        self._command = self._in_memory = 0

    @property
    def receiving(self) -> bool:
        """Whether an object is under way: its bytes still come, or its answer has not gone out."""
        return bool(self._parts) or self._answering

    def has_enough(self) -> bool:
        """Tell whether a message waits to be served already."""
        return not self.msg_queue.empty()

    def get_msg(self, block: bool = False) -> Any:
        """Give the next message. Whoever asks for it has answered the one before."""
        if block:
            return super().get_msg(block)
        progress = self.visit.progress
        if progress.at_work:
            progress.last, progress.at_work = self._clock(), False
        self._answering = False
        got = self._wait_for_message()
        if got[1] is not None:
            progress.at_work = True
            if not isinstance(got[1], C_ECHO):
                progress.last_request = self._clock()
        return got

    def _wait_for_message(self) -> Any:
        """pynetdicom's reactor asks every millisecond; where nothing has come for a while it waits a little instead."""
        drowsy = self.visit.progress.is_quiet(self._clock())
        try:
            return self.msg_queue.get(block=drowsy, timeout=DROWSY_SECONDS)
        except queue.Empty:
            return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take fragments one by one, so that the file is there before the first byte of the data set."""
        progress = self.visit.progress
        began = progress.ours_since = self._clock()
        try:
            self._receive(primitive)
        except Exception as error:  # noqa: BLE001 - the edge: else the thread that reads the socket dies unseen
            self.visit.blame(str(error) if isinstance(error, _Broken) else BROKE, error)
            self.assoc.dul.event_queue.put(_INVALID_PDU)
        finally:
            now = self._clock()
            progress.ours, progress.ours_since = progress.ours + now - began, None
            if self.message is None:
                progress.end(now)

    def serve_in_turn(self, message: Any, context_id: int) -> None:
        """Let the association's own thread serve this; pynetdicom starts a thread for each N-EVENT-REPORT."""
        self.msg_queue.put((context_id, message))

    def done_with(self, part: Part) -> None:
        """Remove the file unless somebody moved it away; its answer goes out next."""
        self._answering = True
        part.remove()
        self._parts.discard(part)

    def remove_parts(self) -> None:
        """Remove every file not handed over; the association has ended."""
        for part in tuple(self._parts):
            self.done_with(part)

    def _receive(self, primitive: P_DATA) -> None:
        for fragment in primitive.presentation_data_value_list:
            self._bound(fragment)
            single = P_DATA()
            single.presentation_data_value_list.append(fragment)
            super().receive_primitive(single)
            if self.message is None:
                self._command = self._in_memory = 0
            self._attach_file()

    def _bound(self, fragment: Any) -> None:
        """Count what pynetdicom gathers in memory. The message control header says what it is (PS3.8 E.2)."""
        _, content = fragment
        if content[0] & 1:
            self._command += len(content)
        elif self.message is None or self.message._data_set_file is None:
            self._in_memory += len(content)
        if self._command > _LONGEST_COMMAND or self._in_memory > LONGEST_IN_MEMORY:
            raise _Broken(TOO_LONG)

    def _attach_file(self) -> None:
        if isinstance(self.message, C_STORE_RQ) and self.message._data_set_file is None:
            context = self.assoc._accepted_cx.get(self.message.context_id or 0)
            if context is None:
                raise _Broken(NO_CONTEXT)
            part = Part(self._room, self.assoc)
            self._parts.add(part)
            message: Any = self.message  # Any: what is set below is annotated for pynetdicom's own files
            message._data_set_file, message._data_set_path = part, part.path
            part.admit()
            self._begin(part, message, context.transfer_syntax[0])

    def _begin(self, part: Part, message: Any, transfer_syntax: str) -> None:
        meta = create_file_meta(
            sop_class_uid=message.command_set.AffectedSOPClassUID,
            sop_instance_uid=message.command_set.AffectedSOPInstanceUID,
            transfer_syntax=UID(transfer_syntax),
        )
        # PS3.10 Table 7.1-1: whoever finds the file without its row still knows how it came.
        meta.SendingApplicationEntityTitle = str(self.assoc.requestor.ae_title).strip()
        asked: Any = self.assoc.requestor.primitive
        meta.ReceivingApplicationEntityTitle = str(asked.called_ae_title).strip()
        part.write(b"\x00" * 128 + b"DICM")
        write_file_meta_info(part, meta)  # type: ignore[arg-type]
