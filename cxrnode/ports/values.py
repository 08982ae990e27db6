"""What goes through the ports: plain values, which no adapter changes and every fake can make.

Hides nothing. Promises values that hold no resource, so that they can be compared, kept and made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrnode.domain.capability import Kind
from cxrnode.domain.delivery import Delivery
from cxrnode.domain.identity import StudyUID
from cxrnode.domain.study import Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What closing decided on one member: `code` is empty for an image to analyse."""

    row: int
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The current revision of every instance of a study, and the generation that fences closing it."""

    study_uid: StudyUID
    generation: int
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recoding:
    """A kept copy of a known instance in another transfer syntax, whose pixels nobody has compared yet."""

    row: int
    key: str
    current_key: str
    study_uid: StudyUID


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedEvidence:
    """An evidence object that a job stated before, and the destinations that have it or may have it."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    key: str
    destinations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retracted:
    """What a retraction takes back: all that `job` and the jobs of its study before it stated, and why."""

    job: int
    because: str
    """A key of RETRACTIONS."""
    evidence: tuple[StatedEvidence, ...]
    """Without rejection notes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A leased job: the study, its exact membership and verdicts, and the fence."""

    job: int
    attempt: int
    """The fence: only grows."""
    tries: int
    """Attempts since it was scheduled or an operator scheduled it again: what the retry policy counts."""
    study_uid: StudyUID
    members: tuple[Instance, ...]
    verdicts: Mapping[int, str]
    """Code by instance row; empty for images to analyse."""
    models: tuple[str, ...]
    destinations: tuple[str, ...]
    reports: Mapping[str, str]
    """The study's latest report of each kind of evidence that starts with `SR`: SOP Instance UID by kind."""
    reports_at: Mapping[str, str] = field(default_factory=dict)
    """The latest report that each destination has, may have or is about to get: SOP Instance UID by destination."""
    retracts: Retracted | None = None
    """Where this job only says that results were taken back."""
    superseded: tuple[StatedEvidence, ...] = ()
    """What the study's jobs stated so far and some destination has, also what this one will state again; neither
    rejection notes nor what was taken back. Empty for a retraction."""


Picture = NDArray[np.uint8]
"""A display image (rows, columns), 8 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An evidence object before its bytes: its UID says already all that it will state (law 4)."""

    kind: Kind
    line: str
    """What the ledger files it under: the kind, for a report its line (`Choice.report_line`)."""
    sop_class_uid: str
    sop_instance_uid: str
    source: str
    """SOP Instance UID of its source; empty for what is of the whole study."""
    model: str
    compose: Callable[[], bytes]
    """Gives the whole DICOM file. Raises NeedsOperator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLink:
    """What a kept report says of its place in its line: its own class and number, and which report it follows."""

    sop_class_uid: str
    revision: int
    predecessor: str
    predecessor_class: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEvidence:
    """An evidence object in the archive, for the ledger."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    source: str
    model: str
    key: str
    sha256: str
    destinations: tuple[str, ...]
    objection: str = ""
    """Why it must not be sent, as the node's own inspection has it: its deliveries are parked for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one member: `code` empty and a summary where it was analysed, else a key of REASONS."""

    row: int
    code: str
    summary: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """All that a finished attempt writes, in one transaction."""

    evidence: tuple[KeptEvidence, ...]
    outcomes: tuple[Outcome, ...]
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By destination: what it does not take, and what goes in its place, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One image for the models. `key` names the row; `path` is the kept source."""

    row: int
    path: Path
    transfer_syntax_uid: str
    models: tuple[str, ...]
    preview: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreResult:
    """What became of one C-STORE: `error` is None where the peer took it (0x0000 or a warning 0xBxxx), ClassNotAccepted
    where another kind of object may go in its place."""

    delivery: Delivery
    status: int
    error: Exception | None = None
