"""A listener with nothing behind it: it keeps what comes in and remembers who came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrnode.dimse.commitment import CommitmentReport
from cxrnode.dimse.listener import Door, Listener
from cxrnode.domain.study import Arrival, Sender

NODE = "CXRNODE"
LOOPBACK = "127.0.0.1"


class OpenDoor:
    """What went through a listener; `receive` and `admit` may be replaced before anybody comes."""

    def __init__(self, folder: Path) -> None:
        self.incoming, self.kept = folder / "incoming", folder / "kept"
        self.incoming.mkdir(parents=True)
        self.kept.mkdir()
        self.arrivals: list[Arrival] = []
        self.opened: list[Sender] = []
        self.ended: list[str] = []
        self.reports: list[CommitmentReport] = []
        self.receive: Callable[[Arrival], int] = self.keep
        self.report: Callable[[CommitmentReport], bool] = lambda _: True
        self.admit: Callable[[], None] = lambda: None
        self.port = 0
        self._changed = threading.Condition()

    @property
    def address(self) -> tuple[str, int, str]:
        return LOOPBACK, self.port, NODE

    def keep(self, arrival: Arrival) -> int:
        arrival.path.replace(self.path(arrival.sop_instance_uid))
        return 0

    def path(self, uid: str) -> Path:
        return self.kept / f"{uid}.dcm"

    def wait_for(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(condition()), seconds), "not in time"

    def listener(self, door: Door) -> Listener:
        return Listener(
            door,
            incoming=self.incoming,
            receive=self._received,
            report=self._reported,
            admit=lambda: self.admit(),
            association_opened=lambda sender: self._note(self.opened, sender),
            association_ended=lambda number: self._note(self.ended, number),
        )

    def _received(self, arrival: Arrival) -> int:
        self._note(self.arrivals, arrival)
        return self.receive(arrival)

    def _reported(self, report: CommitmentReport) -> bool:
        known = self.report(report)
        self._note(self.reports, report)
        return known

    def _note(self, notes: list, note: object) -> None:
        with self._changed:
            notes.append(note)
            self._changed.notify_all()


@contextmanager
def open_door(folder: Path, **door: object) -> Iterator[OpenDoor]:
    """Listen as CXRNODE on a free port for the time of the `with`; keywords are those of `Door`."""
    behind = OpenDoor(folder)
    listener = behind.listener(Door(**{"ae_title": NODE, "port": 0} | door))
    listener.start()
    behind.port = listener.port
    try:
        yield behind
    finally:
        listener.stop(grace_seconds=0)


def data_set_of(path: Path) -> bytes:
    """Give the bytes of a DICOM file after its file meta information (PS3.10 7.1): group length says where."""
    content = path.read_bytes()
    assert content[128:132] == b"DICM"
    assert content[132:136] == b"\x02\x00\x00\x00"
    return content[144 + int.from_bytes(content[140:144], "little") :]
