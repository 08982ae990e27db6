"""The DICOM audit message (PS3.15 A.5.1): an event, who took part, which system says so, and what it was about.

Hides XML. Promises one line of well-formed XML in UTF-8 whatever text stands in a value, in the order of the schema,
and below the 32768 bytes that every collector takes (PS3.15 A.6), as long as what is told is.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from xml.etree import ElementTree as Xml

MOST_INSTANCES = 200
"""Listed of one study, all of them counted: with UIDs of 64 characters that is half of what a collector takes."""

MACHINE_NAME, IP_ADDRESS = "1", "2"
"""NetworkAccessPointTypeCode."""

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold; a sender can write them into any text."""
_LONGEST_TEXT = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded value of the schema."""

    value: str
    meaning: str
    scheme: str = "DCM"


class Action(StrEnum):
    """EventActionCode."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(StrEnum):
    """EventOutcomeIndicator (PS3.15 A.5.2.4)."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"
    SERIOUS_FAILURE = "8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """EventIdentification."""

    code: Code
    action: Action
    at: datetime
    outcome: Outcome = Outcome.SUCCESS
    kind: Code | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """ActiveParticipant: a person or a process. `ae_titles` are those that a process goes by (PS3.15 A.5.2.2)."""

    user: str
    requestor: bool
    ae_titles: tuple[str, ...] = ()
    name: str = ""
    role: Code | None = None
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """AuditSourceIdentification: the system that says it."""

    name: str
    site: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Involved:
    """ParticipantObjectIdentification: what it was about."""

    id: str
    id_type: Code
    name: str
    type: str
    role: str
    details: tuple[tuple[str, str], ...] = ()
    accession: str = ""
    instances: tuple[tuple[str, int, tuple[str, ...]], ...] = ()
    """By SOP class: its UID, how many, and the UIDs that are listed."""


def write(happening: Happening, participants: tuple[Participant, ...], source: Source, *involved: Involved) -> bytes:
    """Give the message as one line without its line feed."""
    root = Xml.Element("AuditMessage")
    _add_event(root, happening)
    for participant in participants:
        _add_participant(root, participant)
    _add_source(root, source)
    for one in involved:
        _add_involved(root, one)
    encoded: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=False)
    return encoded


def told(text: object) -> str:
    """Give a text as it may stand in a message: one line, of characters that XML has, and not endless."""
    return " ".join(_NOT_XML.sub("?", str(text)).split())[:_LONGEST_TEXT]


def _set(element: Xml.Element, **attributes: str) -> None:
    for name, value in attributes.items():
        if value:
            element.set(name, told(value))


def _add_code(parent: Xml.Element, name: str, code: Code) -> None:
    element = Xml.SubElement(parent, name)
    element.set("csd-code", code.value)
    _set(element, codeSystemName=code.scheme, displayName=code.meaning, originalText=code.meaning)


def _add_event(root: Xml.Element, happening: Happening) -> None:
    event = Xml.SubElement(root, "EventIdentification")
    at = happening.at.isoformat(timespec="milliseconds")
    _set(event, EventActionCode=happening.action, EventDateTime=at, EventOutcomeIndicator=happening.outcome)
    _add_code(event, "EventID", happening.code)
    if happening.kind:
        _add_code(event, "EventTypeCode", happening.kind)
    if happening.description:
        Xml.SubElement(event, "EventOutcomeDescription").text = told(happening.description)


def _add_participant(root: Xml.Element, participant: Participant) -> None:
    element = Xml.SubElement(root, "ActiveParticipant")
    titles = f"AETITLES={';'.join(participant.ae_titles)}" if participant.ae_titles else ""
    element.set("UserID", told(participant.user))
    _set(element, AlternativeUserID=titles, UserName=participant.name)
    element.set("UserIsRequestor", str(participant.requestor).lower())
    if participant.address:
        kind = IP_ADDRESS if _is_ip(participant.address) else MACHINE_NAME
        _set(element, NetworkAccessPointID=participant.address, NetworkAccessPointTypeCode=kind)
    if participant.role:
        _add_code(element, "RoleIDCode", participant.role)


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _add_source(root: Xml.Element, source: Source) -> None:
    element = Xml.SubElement(root, "AuditSourceIdentification")
    _set(element, AuditEnterpriseSiteID=source.site, AuditSourceID=source.name)
    # 4: an application server process (PS3.15 A.5.1.2.1).
    Xml.SubElement(element, "AuditSourceTypeCode").set("csd-code", "4")


def _add_involved(root: Xml.Element, involved: Involved) -> None:
    element = Xml.SubElement(root, "ParticipantObjectIdentification")
    element.set("ParticipantObjectID", told(involved.id))
    _set(element, ParticipantObjectTypeCode=involved.type, ParticipantObjectTypeCodeRole=involved.role)
    _add_code(element, "ParticipantObjectIDTypeCode", involved.id_type)
    Xml.SubElement(element, "ParticipantObjectName").text = told(involved.name)
    for kind, value in involved.details:
        encoded = base64.b64encode(told(value).encode()).decode()
        _set(Xml.SubElement(element, "ParticipantObjectDetail"), type=kind, value=encoded)
    if involved.accession or involved.instances:
        _add_contents(Xml.SubElement(element, "ParticipantObjectDescription"), involved)


def _add_contents(description: Xml.Element, involved: Involved) -> None:
    if involved.accession:
        _set(Xml.SubElement(description, "Accession"), Number=involved.accession)
    for sop_class, count, uids in involved.instances:
        element = Xml.SubElement(description, "SOPClass")
        _set(element, UID=sop_class, NumberOfInstances=str(count))
        for uid in uids:
            Xml.SubElement(element, "Instance").set("UID", told(uid))
