"""`cxrnode check --reconcile`: ledger, spool and destinations held against each other, instance by instance.

Hides in which order they are walked, so that a node may work meanwhile. Promises that each thing that is not where the
ledger says, or is where the ledger does not say, is named by its UID with what to do about it; that the memory it takes
does not grow with the ledger; and that nothing is changed. A file of evidence that no job has stated yet is no such
thing: its job states it, or finds it there when it composes again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path

from cxrnode.archive import SpoolArchive
from cxrnode.dimse.query import Finder, NotOffered
from cxrnode.dimse.sender import Sender
from cxrnode.domain.delivery import DeliveryState, Destination
from cxrnode.domain.identity import InstanceUID
from cxrnode.domain.retention import What
from cxrnode.domain.study import Arrival
from cxrnode.errors import CxrnodeError
from cxrnode.evidence.identity import series_uid
from cxrnode.ledger import SqliteLedger
from cxrnode.ledger.reconciling import End, KeptInstance, KeptObject, SentObject
from cxrnode.node import spool_of, tls_of
from cxrnode.pixels.header import HeaderReader
from cxrnode.settings import Settings

_KEYS_AT_ONCE = 1000
_OURS = "cxrnode "
"""How the descriptions of our series begin."""


class Trouble(StrEnum):
    """What can be wrong."""

    SOURCE_MISSING = "source missing"
    SOURCE_ALTERED = "source altered"
    SOURCE_UNKNOWN = "source unknown"
    NOWHERE = "instance without end"
    EVIDENCE_MISSING = "evidence missing"
    EVIDENCE_ALTERED = "evidence altered"
    NOT_THERE = "not at the destination"
    STRANGER = "unknown at the destination"
    NOT_ASKED = "destination not asked"
    NO_WAY = "destination not in the settings"


WHAT_TO_DO: dict[Trouble, str] = {
    Trouble.SOURCE_MISSING: "have it sent again: it is then kept again; or restore the file from the backup",
    Trouble.SOURCE_ALTERED: "remove the file, then have it sent again; look at the disk",
    Trouble.SOURCE_UNKNOWN: "start the node again: it is adopted",
    Trouble.NOWHERE: "report this, with the lines of `cxrnode jobs list --study`; have the study sent again",
    Trouble.EVIDENCE_MISSING: "`cxrnode jobs retry` of its study's job composes it again",
    Trouble.EVIDENCE_ALTERED: "remove the file, then `cxrnode jobs retry` of its study's job; look at the disk",
    Trouble.NOT_THERE: "ask the archive what became of it; its bytes here are what was sent",
    Trouble.STRANGER: "of another node, or from before the ledger was restored; delete it there if it is wrong",
    Trouble.NOT_ASKED: "see `cxrnode check`",
    Trouble.NO_WAY: "what was to go there goes nowhere: give the destination its name in the settings again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """One thing that is not as the ledger says. `uid`: an SOP Instance UID, or a file's name where it has no row."""

    trouble: Trouble
    uid: str
    where: str = ""
    """The destination, or what happened."""

    @property
    def do(self) -> str:
        """What to do about it."""
        return WHAT_TO_DO[self.trouble]


@dataclass(slots=True)
class Reconciliation:
    """What was counted, and who could not be asked."""

    counts: Counter[str] = field(default_factory=Counter)
    troubles: Counter[Trouble] = field(default_factory=Counter)
    not_asked: dict[str, str] = field(default_factory=dict)
    """Destinations whose holdings are not known, which is no fault, and why: they offer no C-FIND, say."""


class Reconciling:
    """Walks over everything once. `found` holds the counts as they grow."""

    def __init__(
        self,
        *,
        ledger: SqliteLedger,
        archive: SpoolArchive,
        destinations: Sequence[Destination],
        finder: Callable[[Destination], Finder],
        read_bytes: bool,
    ) -> None:
        """Compose it. `read_bytes`: every file is read and held against its digest, not only looked for."""
        self._inventory, self._ledger, self._archive = ledger.inventory, ledger, archive
        self._destinations, self._finder, self._read = destinations, finder, read_bytes
        self.found = Reconciliation()

    def walk(self) -> Iterator[Discrepancy]:
        """Give each discrepancy as it is found."""
        here = (self._sources(), self._files(), self._evidence(), self._ways())
        for walk in (*here, *map(self._at, self._destinations)):
            for discrepancy in walk:
                self.found.troubles[discrepancy.trouble] += 1
                yield discrepancy

    def _sources(self) -> Iterator[Discrepancy]:
        for one in self._inventory.instances():
            self.found.counts["instances"] += 1
            self.found.counts[f"instances {one.end}"] += 1
            if one.end is End.NOWHERE:
                yield Discrepancy(trouble=Trouble.NOWHERE, uid=one.sop_instance_uid)
            if one.swept:
                self.found.counts["instances swept"] += 1
            elif trouble := self._source_trouble(one):
                yield Discrepancy(trouble=trouble, uid=one.sop_instance_uid, where=one.key)

    def _source_trouble(self, one: KeptInstance) -> Trouble | None:
        path = self._archive.path(one.key)
        try:
            size = path.stat().st_size
            whole = size == one.size and (not self._read or _digest_of(path) == one.bytes_digest)
        except OSError:
            return None if self._inventory.is_swept(What.SOURCE, one.row) else Trouble.SOURCE_MISSING
        return None if whole else Trouble.SOURCE_ALTERED

    def _files(self) -> Iterator[Discrepancy]:
        """What has no row when it is first looked at may just be arriving: it is looked at again at the end."""
        suspects: list[str] = []
        files = iter(self._archive.finished())
        while page := list(islice(files, _KEYS_AT_ONCE)):
            self.found.counts["source files"] += len(page)
            suspects += self._ledger.unknown_keys(page)
        for key in self._ledger.unknown_keys(suspects):
            if self._archive.path(key).is_file():
                yield Discrepancy(trouble=Trouble.SOURCE_UNKNOWN, uid=Path(key).name)

    def _evidence(self) -> Iterator[Discrepancy]:
        for one in self._inventory.evidence():
            self.found.counts["evidence"] += 1
            if one.swept:
                self.found.counts["evidence swept"] += 1
            elif trouble := self._evidence_trouble(one):
                yield Discrepancy(trouble=trouble, uid=one.sop_instance_uid, where=one.key)

    def _evidence_trouble(self, one: KeptObject) -> Trouble | None:
        path = self._archive.path(one.key)
        try:
            whole = path.stat().st_size > 0 and (not self._read or _sha256(path) == one.sha256)
        except OSError:
            return None if self._inventory.is_swept(What.EVIDENCE, one.row) else Trouble.EVIDENCE_MISSING
        return None if whole else Trouble.EVIDENCE_ALTERED

    def _ways(self) -> Iterator[Discrepancy]:
        """Count what has not arrived, and name the destinations that nobody sends to or asks any more."""
        configured = {destination.name for destination in self._destinations}
        for name, states in self._ledger.counts().deliveries_by_state.items():
            waiting = states.get(DeliveryState.PENDING, 0) + states.get(DeliveryState.SENDING, 0)
            parked = states.get(DeliveryState.PARKED, 0)
            self.found.counts += Counter({f"not yet at {name}": waiting, f"parked on the way to {name}": parked})
            if name not in configured:
                self.found.not_asked[name] = "is not in the settings"
                if waiting + parked:
                    yield Discrepancy(trouble=Trouble.NO_WAY, uid=name, where=f"{waiting + parked} objects")

    def _at(self, destination: Destination) -> Iterator[Discrepancy]:
        """Hold what a destination took against what it says it holds."""
        try:
            with self._finder(destination) as finder:
                for study in self._inventory.studies():
                    yield from self._study_at(destination, study, finder)
        except NotOffered:
            self.found.not_asked[destination.name] = "offers no C-FIND"
        except CxrnodeError as error:
            yield Discrepancy(trouble=Trouble.NOT_ASKED, uid=destination.name, where=error.happened)

    def _study_at(self, destination: Destination, study: str, finder: Finder) -> Iterator[Discrepancy]:
        """What the ledger says is read before the archive is asked, and what is not in it is looked up after that."""
        sent = self._inventory.sent_to(destination.name, study)
        held = _held(finder, study, sent)
        self.found.counts[f"at {destination.name}"] += len(sent)
        for one in sent:
            if one.sop_instance_uid in held:
                self.found.counts[f"found at {destination.name}"] += 1
            elif one.hidden:
                self.found.counts[f"rejected at {destination.name}"] += 1
            else:
                yield Discrepancy(trouble=Trouble.NOT_THERE, uid=one.sop_instance_uid, where=destination.name)
        strangers = held.difference(one.sop_instance_uid for one in sent)
        for uid in self._inventory.unknown_evidence(sorted(strangers)):
            yield Discrepancy(trouble=Trouble.STRANGER, uid=uid, where=destination.name)


def _held(finder: Finder, study: str, sent: Iterable[SentObject]) -> set[str]:
    """Give what an archive holds in series of ours: those that our objects are in, and those that are called so."""
    expected = {series_uid(one.sop_instance_uid) for one in sent}
    found = finder.series(study)
    ours = [one.series_uid for one in found if one.series_uid in expected or one.description.startswith(_OURS)]
    return {uid for series in ours for uid in finder.instances(study, series)}


def _digest_of(path: Path) -> str:
    """Give the digest of a source as it was recorded: of the data set, not of the file."""
    sender = HeaderReader().sender_of(path)
    arrival = Arrival(
        path=path, sop_class_uid="", sop_instance_uid=InstanceUID(""), transfer_syntax_uid="", sender=sender
    )
    return HeaderReader().describe(arrival).bytes_digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reconciling(settings: Settings, ledger: SqliteLedger, *, read_bytes: bool) -> Reconciling:
    """Compose a reconciliation of a node's ledger, spool and destinations."""
    sender = Sender(ae_title=settings.node.ae_title, report=lambda report: False, tls=tls_of(settings))
    return Reconciling(
        ledger=ledger,
        archive=spool_of(settings),
        destinations=tuple(one.destination() for one in settings.destinations),
        finder=lambda destination: Finder(sender.address_of(destination)),
        read_bytes=read_bytes,
    )
