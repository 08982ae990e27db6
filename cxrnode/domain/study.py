"""Instances and studies as the line knows them, and the rule that closes a study.

Hides nothing; promises values that never change once made. Times are aware UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cxrnode.domain.identity import AETitle, InstanceUID, SeriesUID, StudyUID
from cxrnode.domain.selection import ImageFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sent an instance: the association's AE titles (stripped) and the peer's address."""

    calling_ae: AETitle
    called_ae: AETitle
    address: str
    association: str
    """Names the association within this run of the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A C-STORE request whose bytes are complete in `path` and not yet durable.

    `sop_class_uid` and `sop_instance_uid` are those of the command set; `path` is a DICOM file whose data
    set is the peer's, byte for byte.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: InstanceUID
    transfer_syntax_uid: str
    sender: Sender
    priority: int = 0
    """What the sender says: 1 where the C-STORE's Priority is HIGH, else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What an operator finds a study by. Patient data: in the ledger, never in a log or an error."""

    patient_id: str = ""
    name: str = ""
    accession_number: str = ""
    study_date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What was read of an instance's header, and the digests that tell one content from another.

    `header_digest` covers the elements before the pixels, independent of transfer syntax, private elements
    and group lengths left out; `pixel_digest` covers the encoded pixel bytes; `bytes_digest` the whole data set.
    Where the header cannot be read, `unreadable` says why and the UIDs are the command set's or empty.
    """

    sop_class_uid: str
    sop_instance_uid: InstanceUID
    study_uid: StudyUID
    series_uid: SeriesUID
    transfer_syntax_uid: str
    patient: Patient
    facts: ImageFacts
    header_digest: str
    pixel_digest: str
    bytes_digest: str
    size: int
    unreadable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A kept and recorded instance. `row` is its number in the ledger, `key` its name in the archive."""

    row: int
    description: Description
    sender: Sender
    key: str
    received_at: datetime
    priority: int = 0
    """What its sender said: 1 for urgent."""

    @property
    def uid(self) -> InstanceUID:
        """The SOP Instance UID."""
        return self.description.sop_instance_uid

    @property
    def study_uid(self) -> StudyUID:
        """The Study Instance UID, empty where the header could not be read."""
        return self.description.study_uid

    @property
    def facts(self) -> ImageFacts:
        """What selection looks at."""
        return self.description.facts


class Recorded(StrEnum):
    """What the ledger made of a received instance."""

    NEW = "new"
    DUPLICATE = "duplicate"
    """The same content again: answered Success, nothing changes."""
    REVISION = "revision"
    """The same pixels under a new header (a corrected name), or the whole of what was cut: becomes current."""
    RECODED = "recoded"
    """The same UID in another transfer syntax: kept; the first one stays current until the pixels are compared."""
    RESTORED = "restored"
    """The same content again, whose bytes are gone from here: kept again; nothing else changes."""
    CUT = "cut"
    """The same UID again, cut off in its pixels: kept; the whole one stays current."""
    CONFLICT = "conflict"
    """The same UID with other pixels: both kept, the study's work is parked for a person."""


def classify(known: Description, new: Description) -> Recorded:
    """Tell what `new` is, given the current revision of the same SOP Instance UID."""
    if new.bytes_digest == known.bytes_digest:
        return Recorded.DUPLICATE
    same_pixels, same_header = (
        new.pixel_digest == known.pixel_digest,
        new.header_digest == known.header_digest,
    )
    if same_pixels:
        return Recorded.DUPLICATE if same_header else Recorded.REVISION
    if new.facts.whole != known.facts.whole:
        return Recorded.REVISION if new.facts.whole else Recorded.CUT
    return Recorded.RECODED if new.transfer_syntax_uid != known.transfer_syntax_uid else Recorded.CONFLICT


def is_due(*, last_instance_at: datetime, now: datetime, quiet_seconds: float, still_sent: bool) -> bool:
    """The closing rule: no open association has sent the study, and it has been quiet for long enough."""
    return not still_sent and now - last_instance_at >= timedelta(seconds=quiet_seconds)
