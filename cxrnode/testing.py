"""A PACS in process, for our tests, the demo and our users' tests.

    with start_pacs() as pacs:
        pacs.knows(node_port, "CXRNODE")
        send([path], to=("127.0.0.1", node_port, "CXRNODE"))
        pacs.wait_for(lambda: pacs.kept)

Hides threads and sockets. Promises a real DICOM peer on a free loopback port, with storage and storage commitment,
that refuses, stalls, aborts and forgets on command; and waiting with a deadline instead of sleeping.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cxrnode.dimse.connection import Address, Waits
from cxrnode.dimse.embedded import Archive, Asked, Committing, Storing
from cxrnode.dimse.push import Push
from cxrnode.dimse.tls import Tls
from cxrnode.domain.access import Transport
from cxrnode.domain.delivery import CommitmentPolicy, Destination
from cxrnode.domain.identity import AETitle

__all__ = ["Asked", "Pacs", "Push", "hold_open", "send", "start_pacs"]

_LOOPBACK = "127.0.0.1"
_LOOK_AGAIN_SECONDS = 0.02


class Pacs:
    """An archive on loopback. Made by `start_pacs`."""

    def __init__(self, archive: Archive) -> None:
        """Wrap a started archive."""
        self._archive = archive

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._archive.port

    @property
    def ae_title(self) -> str:
        """What it is called."""
        return self._archive.ae_title

    @property
    def received(self) -> Mapping[str, int]:
        """How many C-STOREs came for each SOP Instance UID, whatever became of them."""
        with self._archive.changed:
            return dict(self._archive.received)

    @property
    def kept(self) -> Mapping[str, Path]:
        """The objects it keeps, by SOP Instance UID: DICOM files with the data set as it was sent."""
        return {path.stem: path for path in sorted(self._archive.folder.glob("*.dcm"))}

    @property
    def asked(self) -> Sequence[Asked]:
        """Every storage commitment that was asked for."""
        with self._archive.changed:
            return tuple(self._archive.asked)

    @property
    def report_answers(self) -> Sequence[tuple[str, int]]:
        """Transaction UID and DIMSE status of every N-EVENT-REPORT it sent; -1 where no answer came."""
        with self._archive.changed:
            return tuple(self._archive.answers)

    def knows(self, port: int, ae_title: str, host: str = _LOOPBACK) -> None:
        """Tell it where our node listens: reports on a new association go there."""
        self._archive.node = Address(
            host=host, port=port, called=ae_title, calling=self.ae_title, tls=self._archive.tls
        )

    def destination(self, name: str = "pacs", *, commitment: str = "if_offered") -> Destination:
        """Give itself as a destination of a node."""
        return Destination(
            name=name,
            ae_title=AETitle(self.ae_title),
            host=_LOOPBACK,
            port=self.port,
            transport=Transport.LOCAL if self._archive.tls is None else Transport.TLS,
            commitment=CommitmentPolicy(commitment),
        )

    def behave(
        self,
        *,
        refuse: int = 0,
        comment: str = "",
        forget: bool = False,
        stall: Literal["", "during", "after"] = "",
        abort: Literal["", "during", "after"] = "",
        times: int | None = None,
    ) -> None:
        """Meet the next C-STOREs like this, `times` of them or until told otherwise; without arguments: well.

        `refuse` is a DIMSE status, `comment` its Error Comment (0000,0902); `forget` says Success and keeps nothing;
        `stall` and `abort` happen before the data set is read (`during`) or when the object is kept and not yet
        answered (`after`). A stall ends with the next call.
        """
        self._archive.store_like(
            Storing(refuse=refuse, comment=comment, forget=forget, stall=stall, abort=abort, times=times)
        )

    def behave_on_commitment(
        self, *, refuse: int = 0, hold: bool = False, on: Literal["new", "same"] = "new", reports: int = 1
    ) -> None:
        """Meet N-ACTION like this from now on; without arguments: well, with a report on a new association.

        `hold` keeps reports back until the next call; `reports` of 2 sends each twice.
        """
        self._archive.commit_like(Committing(refuse=refuse, hold=hold, on=on, reports=reports))

    def forget(self, uid: str) -> None:
        """Lose an object it had kept."""
        self._archive.path(uid).unlink()

    def go_away(self) -> None:
        """Stop listening and abort what is open, keeping the objects."""
        self._archive.stop()

    def come_back(self) -> None:
        """Listen on the same port again."""
        self._archive.start()

    def wait_for(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Wait until `condition` holds, of the PACS or anything else. TimeoutError after `seconds`."""
        deadline = time.monotonic() + seconds
        with self._archive.changed:
            while not condition():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not within {seconds} s; {len(self.kept)} objects kept")
                self._archive.changed.wait(_LOOK_AGAIN_SECONDS)


@contextmanager
def start_pacs(
    *,
    ae_title: str = "PACS",
    port: int = 0,
    folder: Path | None = None,
    commits: bool = True,
    storage_classes: Sequence[str] | None = None,
    tls: Tls | None = None,
) -> Iterator[Pacs]:
    """Start a PACS for the time of the `with`. Port 0 takes a free one; without a folder it keeps nothing afterwards.

    `commits` False does not offer storage commitment; `storage_classes` are those it accepts, all by default. With
    `tls` it listens and reports under TLS only.
    """
    with tempfile.TemporaryDirectory(prefix="cxrnode-pacs-") as temporary:
        archive = Archive(
            ae_title=ae_title,
            port=port,
            folder=folder or Path(temporary),
            commits=commits,
            storage_classes=storage_classes,
            tls=tls,
        )
        archive.start()
        try:
            yield Pacs(archive)
        finally:
            archive.stop()


def hold_open(
    paths: Sequence[Path],
    to: tuple[str, int, str],
    *,
    calling: str = "MODALITY",
    answer_seconds: float = 60.0,
    tls: Tls | None = None,
) -> Push:
    """Open an association on which `paths` can be pushed, one by one, with `Push.store`; close it or use `with`.

    `to` is host, port and AE title. Raises AssociationLost, or NeedsOperator where the peer refuses.
    """
    host, port, called = to
    address = Address(host=host, port=port, called=called, calling=calling, tls=tls)
    return Push(address, paths, replace(Waits(), answer_seconds=answer_seconds))


def send(
    paths: Sequence[Path], to: tuple[str, int, str], *, calling: str = "MODALITY", tls: Tls | None = None
) -> list[int]:
    """C-STORE files on one association, each in its own transfer syntax; give the DIMSE statuses, -1 for no answer."""
    with hold_open(paths, to, calling=calling, tls=tls) as push:
        return [push.store(path) for path in paths]
