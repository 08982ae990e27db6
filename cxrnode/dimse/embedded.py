"""A small archive in process: storage with storage commitment, and bad manners on command.

Hides pynetdicom from `cxrnode.testing`, which is its face. Promises that what it says it keeps lies in its folder when
the C-STORE response goes out, that an N-EVENT-REPORT says what lies there when it is made, and that it goes out after
the response to its N-ACTION.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.presentation import PresentationContext, build_context, build_role

from cxrnode import telemetry
from cxrnode.dimse import commitment, contexts, status
from cxrnode.dimse.connection import Address, Waits, connect, end
from cxrnode.dimse.server import Limits, Securing, Server, Spooling
from cxrnode.dimse.tls import Tls
from cxrnode.errors import CxrnodeError

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event

_ALL_FAILED, _ALL_KEPT = 2, 1
"""Event Type IDs of the report (PS3.4 J.3.3): failures exist, successful."""

_WAITS = Waits(connect_seconds=5, negotiation_seconds=5, answer_seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storing:
    """How C-STORE is met. `times` limits it to so many requests; then the archive behaves again.

    `during` is as soon as the command has come, before the data set is read; `after` is when the object is kept, before
    the answer. A stall lasts until the conduct changes.
    """

    refuse: int = status.SUCCESS
    comment: str = ""
    forget: bool = False
    stall: Literal["", "during", "after"] = ""
    abort: Literal["", "during", "after"] = ""
    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Committing:
    """How N-ACTION is met. A report is held back while `hold`, and goes out `reports` times."""

    refuse: int = status.SUCCESS
    hold: bool = False
    on: Literal["new", "same"] = "new"
    reports: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A storage commitment that was asked for."""

    transaction_uid: str
    uids: tuple[str, ...]


class Archive:
    """Owns a port and a folder. `changed` is notified whenever something of the public attributes changes."""

    def __init__(
        self,
        *,
        ae_title: str,
        port: int,
        folder: Path,
        commits: bool,
        storage_classes: Sequence[str] | None,
        tls: Tls | None = None,
    ) -> None:
        """Keep what is needed; `commits` False does not offer storage commitment at all. `tls`: in both directions."""
        self.ae_title, self.folder, self.tls = ae_title, folder, tls
        self.node: Address | None = None
        self.received: Counter[str] = Counter()
        self.asked: list[Asked] = []
        self.answers: list[tuple[str, int]] = []
        self.changed = threading.Condition(threading.RLock())
        self._storing, self._committing = Storing(), Committing()
        self._conduct: dict[Association, Storing] = {}
        self._due: dict[Association, list[tuple[str, tuple[tuple[str, str], ...]]]] = {}
        self._stopped = False
        self._told = 0
        self._incoming = folder / "incoming"
        self._server = Server(
            ae_title=ae_title,
            host="127.0.0.1",
            port=port,
            contexts=_contexts(commits, storage_classes),
            handlers=[
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_N_ACTION, self._act),
                (evt.EVT_PDU_SENT, self._sent),
            ],
            spooling=Spooling(folder=self._incoming, admit=self._admit, ended=self._forget_association),
            limits=Limits(),
            securing=Securing(tls=tls),
        )

    @property
    def port(self) -> int:
        """The port in use."""
        return self._server.port

    def start(self) -> None:
        """Listen."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._stopped = False
        self._server.start()

    def stop(self) -> None:
        """Listen no more; abort what is open, let go what stalls. What it keeps stays in the folder."""
        with self.changed:
            self._stopped = True
            self.changed.notify_all()
        self._server.stop()

    def store_like(self, conduct: Storing) -> None:
        """Meet C-STORE like this from now on; what stalls goes on."""
        with self.changed:
            self._storing = conduct
            self._told += 1
            self.changed.notify_all()

    def commit_like(self, conduct: Committing) -> None:
        """Meet N-ACTION like this from now on; reports held back go out unless `hold`."""
        with self.changed:
            self._committing = conduct
            self.changed.notify_all()

    def path(self, uid: str) -> Path:
        """Where an object with this SOP Instance UID lies, if it is kept."""
        return self.folder / f"{uid}.dcm"

    def _admit(self, association: Association) -> None:
        with self.changed:
            conduct = self._next_storing()
            self._conduct[association] = conduct
        if conduct.stall == "during":
            self._stall()
        if conduct.abort == "during":
            association.abort(block=False)

    def _next_storing(self) -> Storing:
        conduct = self._storing
        if conduct.times == 0:
            self._storing = conduct = Storing()
        elif conduct.times is not None:
            self._storing = replace(conduct, times=conduct.times - 1)
        return conduct

    def _stall(self) -> None:
        with self.changed:
            told = self._told
            self.changed.wait_for(lambda: self._stopped or self._told != told)

    def _store(self, event: Event) -> int | Dataset:
        request: Any = event.request
        uid, part = str(request.AffectedSOPInstanceUID), request._dataset_file
        conduct = self._conduct.get(event.assoc, Storing())
        part.close()
        kept = not (conduct.refuse or conduct.forget)
        if kept:
            part.path.replace(self.path(uid))
        provider: Any = event.assoc.dimse
        provider.done_with(part)
        with self.changed:
            self.received[uid] += 1
            self.changed.notify_all()
        if conduct.stall == "after":
            self._stall()
        if conduct.abort == "after":
            event.assoc.abort(block=False)
        return _answer(conduct)

    def _act(self, event: Event) -> tuple[int, Dataset | None]:
        transaction, pairs = commitment.read_references(event.action_information)
        with self.changed:
            self.asked.append(Asked(transaction_uid=transaction, uids=tuple(uid for _, uid in pairs)))
            if not self._committing.refuse:
                self._due.setdefault(event.assoc, []).append((transaction, pairs))
            self.changed.notify_all()
            return self._committing.refuse, None

    def _sent(self, event: Event) -> None:
        # The first PDU after N-ACTION's handler is its response; a report must not overtake it.
        for transaction, pairs in self._due.pop(event.assoc, []):
            arguments = (event.assoc, transaction, pairs)
            threading.Thread(target=self._report, args=arguments, name="report", daemon=True).start()

    def _report(self, association: Association, transaction: str, pairs: tuple[tuple[str, str], ...]) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self._stopped or not self._committing.hold)
            if self._stopped:
                return
            conduct = self._committing
        information, kind = self._what_is_kept(transaction, pairs)
        for _ in range(conduct.reports):
            try:
                answer = self._tell(association if conduct.on == "same" else None, information, kind)
            except CxrnodeError as error:
                telemetry.unexpected("N-EVENT-REPORT", error)
                answer = status.NO_ANSWER
            with self.changed:
                self.answers.append((transaction, answer))
                self.changed.notify_all()

    def _what_is_kept(self, transaction: str, pairs: tuple[tuple[str, str], ...]) -> tuple[Dataset, int]:
        information = Dataset()
        information.TransactionUID = transaction
        kept = [commitment.reference(*pair) for pair in pairs if self.path(pair[1]).exists()]
        failed = [commitment.reference(*pair) for pair in pairs if not self.path(pair[1]).exists()]
        for item in failed:
            item.FailureReason = commitment.NO_SUCH_INSTANCE
        # Type 1C: a sequence stands there only when it is not empty (PS3.4 Table J.3-2).
        if kept:
            information.ReferencedSOPSequence = kept
        if failed:
            information.FailedSOPSequence = failed
        return information, _ALL_FAILED if failed else _ALL_KEPT

    def _tell(self, association: Association | None, information: Dataset, kind: int) -> int:
        if association is not None:
            return _send_report(association, information, kind)
        if self.node is None:
            return status.NO_ANSWER
        context = build_context(contexts.STORAGE_COMMITMENT, list(contexts.UNCOMPRESSED))
        role = build_role(UID(contexts.STORAGE_COMMITMENT), scp_role=True)
        new = connect(self.node, [context], _WAITS, roles=[role])
        try:
            return _send_report(new, information, kind)
        finally:
            end(new)

    def _forget_association(self, association: Association, _why: str) -> None:
        self._conduct.pop(association, None)
        self._due.pop(association, None)


def _answer(conduct: Storing) -> int | Dataset:
    if not conduct.comment:
        return conduct.refuse
    answer = Dataset()
    answer.Status, answer.ErrorComment = conduct.refuse, conduct.comment
    return answer


def _send_report(association: Association, information: Dataset, kind: int) -> int:
    try:
        answer, _ = association.send_n_event_report(
            information, kind, UID(contexts.STORAGE_COMMITMENT), UID(contexts.STORAGE_COMMITMENT_INSTANCE)
        )
    except (RuntimeError, ValueError):
        # The association ended before, or does not let us be the SCP.
        return status.NO_ANSWER
    return int(answer.Status) if "Status" in answer else status.NO_ANSWER


def _contexts(commits: bool, storage_classes: Sequence[str] | None) -> list[PresentationContext]:
    everything = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    classes = everything if storage_classes is None else storage_classes
    accepted = [build_context(uid, list(contexts.TRANSFER_SYNTAXES)) for uid in dict.fromkeys(classes)]
    services = [contexts.VERIFICATION, *([contexts.STORAGE_COMMITMENT] if commits else [])]
    return [*accepted, *(build_context(uid, list(contexts.UNCOMPRESSED)) for uid in services)]
