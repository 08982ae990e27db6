"""Which events this node tells, and how: PS3.15 A.5.3.1, .3, .6, .7, .8 and .11.

Hides the codes of the standard (PS3.16, CID 400 to 403). Promises messages that hold what their tables require; a
message about a patient's objects is about one patient only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cxrnode.audit.message import (
    MOST_INSTANCES,
    Action,
    Code,
    Happening,
    Involved,
    Outcome,
    Participant,
    Source,
    write,
)

APPLICATION_ACTIVITY = Code(value="110100", meaning="Application Activity")
BEGIN_TRANSFERRING = Code(value="110102", meaning="Begin Transferring DICOM Instances")
INSTANCES_ACCESSED = Code(value="110103", meaning="DICOM Instances Accessed")
INSTANCES_TRANSFERRED = Code(value="110104", meaning="DICOM Instances Transferred")
STUDY_DELETED = Code(value="110105", meaning="DICOM Study Deleted")
SECURITY_ALERT = Code(value="110113", meaning="Security Alert")

START = Code(value="110120", meaning="Application Start")
STOP = Code(value="110121", meaning="Application Stop")
NODE_AUTHENTICATION = Code(value="110126", meaning="Node Authentication")
RESTRICTED_FUNCTION = Code(value="110132", meaning="Use of Restricted Function")

APPLICATION = Code(value="110150", meaning="Application")
LAUNCHER = Code(value="110151", meaning="Application Launcher")
DESTINATION = Code(value="110152", meaning="Destination Role ID")
SOURCE = Code(value="110153", meaning="Source Role ID")

STUDY_UID = Code(value="110180", meaning="Study Instance UID")
NODE_ID = Code(value="110182", meaning="Node ID")
PATIENT_NUMBER = Code(value="2", meaning="Patient Number", scheme="RFC-3881")
URI = Code(value="12", meaning="URI", scheme="RFC-3881")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One patient's study, as the objects that are told of name it."""

    study_uid: str
    patient_id: str = ""
    patient_name: str = ""
    accession: str = ""


@dataclass(slots=True)
class Instances:
    """What was transferred of one study: every object counted, the first ones listed, by SOP class."""

    counts: dict[str, int] = field(default_factory=dict)
    listed: dict[str, list[str]] = field(default_factory=dict)

    def add(self, sop_class: str, uid: str) -> None:
        """Count one."""
        self.counts[sop_class] = self.counts.get(sop_class, 0) + 1
        if sum(map(len, self.listed.values())) < MOST_INSTANCES:
            self.listed.setdefault(sop_class, []).append(uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One end of an association: its AE title, its address, and whether it asked for the association."""

    ae_title: str
    address: str = ""
    user: str = ""
    """The process, where it is ours; else the AE title stands for it."""


def activity(kind: Code, at: datetime, source: Source, process: Participant, user: str) -> bytes:
    """A.5.3.1 Application Activity: the node was started or stopped, by whom."""
    launcher = Participant(user=user, requestor=True, role=LAUNCHER)
    happening = Happening(code=APPLICATION_ACTIVITY, action=Action.EXECUTE, at=at, kind=kind)
    return write(happening, (process, launcher), source)


def begin(at: datetime, source: Source, subject: Subject, sender: Side, receiver: Side) -> bytes:
    """A.5.3.3 Begin Transferring DICOM Instances."""
    happening = Happening(code=BEGIN_TRANSFERRING, action=Action.EXECUTE, at=at)
    return write(happening, _ends(sender, receiver), source, *_objects(subject, Instances()))


def transferred(
    at: datetime,
    source: Source,
    subject: Subject,
    instances: Instances,
    sender: Side,
    receiver: Side,
    *,
    came: bool,
    failed: str = "",
) -> bytes:
    """A.5.3.7 DICOM Instances Transferred. `came`: to us, where they are new; `failed`: why they were not."""
    happening = Happening(
        code=INSTANCES_TRANSFERRED,
        action=Action.CREATE if came else Action.READ,
        at=at,
        outcome=Outcome.MINOR_FAILURE if failed else Outcome.SUCCESS,
        description=failed,
    )
    return write(happening, _ends(sender, receiver), source, *_objects(subject, instances))


def accessed(
    action: Action, at: datetime, source: Source, subject: Subject, who: tuple[Participant, ...], why: str
) -> bytes:
    """A.5.3.6 DICOM Instances Accessed: somebody looked at a study's results, or changed what is stated of it."""
    happening = Happening(code=INSTANCES_ACCESSED, action=action, at=at, description=why)
    return write(happening, who, source, *_objects(subject, Instances()))


def deleted(
    at: datetime, source: Source, subject: Subject, instances: Instances, who: tuple[Participant, ...], why: str
) -> bytes:
    """A.5.3.8 DICOM Study Deleted: its objects were removed from the spool."""
    happening = Happening(code=STUDY_DELETED, action=Action.DELETE, at=at, description=why)
    return write(happening, who, source, *_objects(subject, instances))


def alert(
    kind: Code,
    at: datetime,
    source: Source,
    who: tuple[Participant, ...],
    *,
    about: Mapping[str, str],
    because: str,
    outcome: Outcome,
) -> bytes:
    """A.5.3.11 Security Alert. `about`: `node` and its address, or `uri` and what it names."""
    id_type = NODE_ID if "node" in about else URI
    name = about.get("node", about.get("uri", ""))
    detail = (("Alert Description", because),)
    # 2, 13: a system object, a security resource.
    thing = Involved(id=name, id_type=id_type, name=name, type="2", role="13", details=detail)
    happening = Happening(code=SECURITY_ALERT, action=Action.EXECUTE, at=at, kind=kind, outcome=outcome)
    return write(happening, who, source, thing)


def _ends(sender: Side, receiver: Side) -> tuple[Participant, Participant]:
    """In C-STORE the one that sends has asked for the association."""
    return (
        Participant(
            user=sender.user or sender.ae_title,
            ae_titles=(sender.ae_title,),
            requestor=True,
            role=SOURCE,
            address=sender.address,
        ),
        Participant(
            user=receiver.user or receiver.ae_title,
            ae_titles=(receiver.ae_title,),
            requestor=False,
            role=DESTINATION,
            address=receiver.address,
        ),
    )


def _objects(subject: Subject, instances: Instances) -> Sequence[Involved]:
    """The study (2, 3: a system object, a report) and its patient (1, 1: a person, the patient)."""
    counted = tuple((uid, count, tuple(instances.listed.get(uid, ()))) for uid, count in instances.counts.items())
    study = Involved(
        id=subject.study_uid,
        id_type=STUDY_UID,
        name=subject.study_uid,
        type="2",
        role="3",
        accession=subject.accession,
        instances=counted or ((("", 0, ()),) if subject.accession else ()),
    )
    patient = Involved(id=subject.patient_id, id_type=PATIENT_NUMBER, name=subject.patient_name, type="1", role="1")
    return study, patient
