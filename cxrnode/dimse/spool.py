"""The bytes of a C-STORE on their way to the disk.

Hides how pynetdicom puts a message together from its fragments. pynetdicom has a switch of its own for this
(STORE_RECV_CHUNKED_DATASET), which holds for the whole process, writes to the system's temporary folder and leaves the
file behind when the association is aborted. Here each listener writes into its own folder, and what was not handed
over is removed when the association ends.

Promises a `*.part` file that holds a preamble, file meta information of our own and the peer's data set, byte for
byte. A disk that is full, before or in the midst of an object, swallows the rest of it and answers 0xA700.

Relies on these inner names of pynetdicom 3.0: DIMSEServiceProvider.receive_primitive and .message, and
DIMSEMessage._data_set_file and ._data_set_path.
"""

from __future__ import annotations

import contextlib
import errno
import uuid
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pydicom.filewriter import write_file_meta_info
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dsutils import create_file_meta
from pynetdicom.pdu_primitives import P_DATA

from cxrnode import telemetry
from cxrnode.dimse import status
from cxrnode.errors import OutOfSpace, Refused

if TYPE_CHECKING:
    from pynetdicom.association import Association

_FULL = (errno.ENOSPC, errno.EDQUOT)
_INVALID_PDU = "Evt19"
"""The event of the upper layer's state machine that ends in A-ABORT (PS3.8 9.2)."""


class Part:
    """A file being received. `refused` says why its bytes were let go, if they were."""

    def __init__(self, folder: Path) -> None:
        """Make the file in `folder`, or be one that is refused already."""
        self.path = folder / f"{uuid.uuid4().hex}.part"
        self.refused: Refused | None = None
        self._file: BinaryIO = BytesIO()
        try:
            self._file = self.path.open("xb")
        except OSError as error:
            self.refused = _refusal(error)

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
            self._or_let_go(lambda: self._file.write(data))
        return len(data)

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
        """Remove the file if it is still there under this name."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _or_let_go(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self.let_go(_refusal(error))


def _refusal(error: OSError) -> Refused:
    if error.errno in _FULL:
        return OutOfSpace("the disk is full", operation="C-STORE")
    return Refused(f"the disk failed with errno {error.errno}", status=status.OUT_OF_RESOURCES, operation="C-STORE")


class SpoolingProvider(DIMSEServiceProvider):
    """pynetdicom's DIMSE provider, with the data sets of C-STORE on disk instead of in memory."""

    def __init__(self, assoc: Association, folder: Path, admit: Callable[[Association], None]) -> None:
        """Spool into `folder`; `admit` raises Refused where no object may be taken now."""
        super().__init__(assoc)
        self._folder = folder
        self._admit = admit
        self._parts: set[Part] = set()
        self._answering = False

    @property
    def receiving(self) -> bool:
        """Whether an object is under way: its bytes still come, or its answer has not gone out."""
        return bool(self._parts) or self._answering

    def get_msg(self, block: bool = False) -> Any:
        """Give the next message. Whoever asks for it has answered the one before."""
        self._answering = False
        return super().get_msg(block)

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take fragments one by one, so that the file is there before the first byte of the data set."""
        try:
            for fragment in primitive.presentation_data_value_list:
                single = P_DATA()
                single.presentation_data_value_list.append(fragment)
                super().receive_primitive(single)
                self._attach_file()
        except Exception as error:  # noqa: BLE001 - the edge: else the thread that reads the socket dies unseen
            telemetry.unexpected("receive", error)
            self.assoc.dul.event_queue.put(_INVALID_PDU)

    def done_with(self, part: Part) -> None:
        """Remove the file unless somebody moved it away; its answer goes out next."""
        self._answering = True
        part.remove()
        self._parts.discard(part)

    def remove_parts(self) -> None:
        """Remove every file not handed over; the association has ended."""
        for part in tuple(self._parts):
            self.done_with(part)

    def _attach_file(self) -> None:
        if isinstance(self.message, C_STORE_RQ) and self.message._data_set_file is None:
            part = Part(self._folder)
            self._parts.add(part)
            message: Any = self.message  # Any: what is set below is annotated for pynetdicom's own files
            message._data_set_file, message._data_set_path = part, part.path
            self._begin(part, message)

    def _begin(self, part: Part, message: Any) -> None:
        try:
            self._admit(self.assoc)
        except Refused as refused:
            part.let_go(refused)
            return
        context = self.assoc._accepted_cx[message.context_id or 0]
        meta = create_file_meta(
            sop_class_uid=message.command_set.AffectedSOPClassUID,
            sop_instance_uid=message.command_set.AffectedSOPInstanceUID,
            transfer_syntax=context.transfer_syntax[0],
        )
        # PS3.10 Table 7.1-1: whoever finds the file without its row still knows how it came.
        meta.SendingApplicationEntityTitle = str(self.assoc.requestor.ae_title).strip()
        asked: Any = self.assoc.requestor.primitive
        meta.ReceivingApplicationEntityTitle = str(asked.called_ae_title).strip()
        part.write(b"\x00" * 128 + b"DICM")
        write_file_meta_info(part, meta)  # type: ignore[arg-type]
