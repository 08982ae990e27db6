"""What every DICOM audit message must look like (PS3.15 A.5.1 to A.5.3), held against a message's own bytes.

The standard's schema is not copied here: these are its facts, stated anew, for the events that the node tells.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as Xml

LONGEST = 32768
"""Octets of a message that every collector has to take (PS3.15 A.6)."""

_ATTRIBUTES = {
    "AuditMessage": (set(), set()),
    "EventIdentification": ({"EventDateTime", "EventOutcomeIndicator"}, {"EventActionCode"}),
    "EventID": ({"csd-code", "codeSystemName", "originalText"}, {"displayName"}),
    "EventTypeCode": ({"csd-code", "codeSystemName", "originalText"}, {"displayName"}),
    "EventOutcomeDescription": (set(), set()),
    "ActiveParticipant": (
        {"UserID", "UserIsRequestor"},
        {"AlternativeUserID", "UserName", "NetworkAccessPointID", "NetworkAccessPointTypeCode"},
    ),
    "RoleIDCode": ({"csd-code", "codeSystemName", "originalText"}, {"displayName"}),
    "AuditSourceIdentification": ({"AuditSourceID"}, {"AuditEnterpriseSiteID"}),
    "AuditSourceTypeCode": ({"csd-code"}, {"codeSystemName", "originalText", "displayName"}),
    "ParticipantObjectIdentification": (
        {"ParticipantObjectID"},
        {"ParticipantObjectTypeCode", "ParticipantObjectTypeCodeRole", "ParticipantObjectDataLifeCycle"},
    ),
    "ParticipantObjectIDTypeCode": ({"csd-code", "codeSystemName", "originalText"}, {"displayName"}),
    "ParticipantObjectName": (set(), set()),
    "ParticipantObjectDetail": ({"type", "value"}, set()),
    "ParticipantObjectDescription": (set(), set()),
    "Accession": ({"Number"}, set()),
    "SOPClass": ({"NumberOfInstances"}, {"UID"}),
    "Instance": ({"UID"}, set()),
}
"""By element: the attributes that it must have, and those that it may have."""

_CHILDREN = {
    "AuditMessage": [
        ("EventIdentification", 1, 1),
        ("ActiveParticipant", 1, None),
        ("AuditSourceIdentification", 1, 1),
        ("ParticipantObjectIdentification", 0, None),
    ],
    "EventIdentification": [("EventID", 1, 1), ("EventTypeCode", 0, None), ("EventOutcomeDescription", 0, 1)],
    "ActiveParticipant": [("RoleIDCode", 0, None)],
    "AuditSourceIdentification": [("AuditSourceTypeCode", 0, None)],
    "ParticipantObjectIdentification": [
        ("ParticipantObjectIDTypeCode", 1, 1),
        ("ParticipantObjectName", 1, 1),
        ("ParticipantObjectDetail", 0, None),
        ("ParticipantObjectDescription", 0, None),
    ],
    "ParticipantObjectDescription": [("Accession", 0, None), ("SOPClass", 0, None)],
    "SOPClass": [("Instance", 0, None)],
}
"""By element: its children in their order, each with how many there must and may be."""

_ENUMERATED = {
    "EventActionCode": set("CRUDE"),
    "EventOutcomeIndicator": {"0", "4", "8", "12"},
    "UserIsRequestor": {"true", "false"},
    "NetworkAccessPointTypeCode": {"1", "2", "3", "4", "5"},
    "ParticipantObjectTypeCode": {"1", "2", "3", "4"},
    "ParticipantObjectTypeCodeRole": {str(number) for number in range(1, 27)},
}

STUDY, PATIENT, NODE, RESOURCE = ("2", "3", "110180"), ("1", "1", "2"), ("2", "13", "110182"), ("2", "13", "12")
"""ParticipantObjectTypeCode, its role, and the code of the id's type."""

_TABLES = {
    "110100": ({"E"}, {"110120", "110121"}, {"110150", "110151"}, []),
    "110102": ({"E"}, set(), {"110152", "110153"}, [STUDY, PATIENT]),
    "110103": ({"C", "R", "U", "D"}, set(), set(), [STUDY, PATIENT]),
    "110104": ({"C", "R", "U"}, set(), {"110152", "110153"}, [STUDY, PATIENT]),
    "110105": ({"D"}, set(), set(), [STUDY, PATIENT]),
    "110113": ({"E"}, {"110126", "110132"}, set(), None),
}
"""By EventID (A.5.3.1, .3, .6, .7, .8, .11): actions, types, roles that must be there, and what it is about."""


def wrong_with(message: bytes) -> list[str]:
    """Give everything that is wrong with a message; empty for a valid one."""
    if len(message) > LONGEST or b"\n" in message:
        return [f"{len(message)} bytes, {message.count(10)} line feeds"]
    root = Xml.fromstring(message)
    wrong = [] if root.tag == "AuditMessage" else [f"the root is {root.tag}"]
    for element in root.iter():
        wrong += _of_attributes(element)
        wrong += _of_children(element)
    return wrong or _of_event(root)


def _of_attributes(element: Xml.Element) -> list[str]:
    if element.tag not in _ATTRIBUTES:
        return [f"no such element: {element.tag}"]
    must, may = _ATTRIBUTES[element.tag]
    wrong = [f"{element.tag} lacks {name}" for name in must - set(element.keys())]
    wrong += [f"{element.tag} must not have {name}" for name in set(element.keys()) - must - may]
    wrong += [
        f"{name} is {value}"
        for name, value in element.items()
        if name in _ENUMERATED and value not in _ENUMERATED[name]
    ]
    if at := element.get("EventDateTime"):
        wrong += [] if datetime.fromisoformat(at).utcoffset() is not None else [f"local time {at}"]
    if element.tag == "ParticipantObjectDetail":
        base64.b64decode(element.get("value", ""), validate=True)
    return wrong


def _of_children(element: Xml.Element) -> list[str]:
    allowed = _CHILDREN.get(element.tag, [])
    order = [name for name, _, _ in allowed]
    found = [child.tag for child in element]
    counts = Counter(found)
    wrong = [f"{element.tag} holds {name}" for name in found if name not in order]
    if not wrong and found != sorted(found, key=order.index):
        wrong.append(f"{element.tag} has its children in another order")
    for name, least, most in allowed:
        if counts[name] < least or (most is not None and counts[name] > most):
            wrong.append(f"{element.tag} has {counts[name]} {name}")
    return wrong


def _of_event(root: Xml.Element) -> list[str]:
    code = event_of(root)
    if code not in _TABLES:
        return [f"no event of ours: {code}"]
    actions, kinds, roles, about = _TABLES[code]
    event = root.find("EventIdentification")
    assert event is not None
    wrong = [] if event.get("EventActionCode") in actions else [f"action {event.get('EventActionCode')}"]
    said = {kind.get("csd-code") for kind in event.findall("EventTypeCode")}
    wrong += [] if said <= kinds and bool(said) == bool(kinds) else [f"types {said}"]
    there = {role.get("csd-code") for role in root.iter("RoleIDCode")}
    wrong += [f"nobody has the role {role}" for role in roles - there]
    objects = [_kind(one) for one in root.findall("ParticipantObjectIdentification")]
    if about is None:
        return wrong + _of_alert(root, objects)
    return wrong + ([] if objects == about else [f"about {objects}"])


def _of_alert(root: Xml.Element, objects: list[tuple[str, str, str]]) -> list[str]:
    wrong = [] if set(objects) <= {NODE, RESOURCE} and objects else [f"about {objects}"]
    details = {detail.get("type") for detail in root.iter("ParticipantObjectDetail")}
    return wrong + ([] if "Alert Description" in details else ["no Alert Description"])


def _kind(element: Xml.Element) -> tuple[str, str, str]:
    code = element.find("ParticipantObjectIDTypeCode")
    assert code is not None
    return (
        element.get("ParticipantObjectTypeCode", ""),
        element.get("ParticipantObjectTypeCodeRole", ""),
        code.get("csd-code", ""),
    )


def event_of(root: Xml.Element) -> str:
    """Give the code of a message's event."""
    event = root.find("EventIdentification/EventID")
    return "" if event is None else event.get("csd-code", "")


def lines_in(folder: Path) -> list[bytes]:
    """Give every line of the audit's files, in order."""
    return [line for path in sorted(folder.glob("audit-*.xml")) for line in path.read_bytes().splitlines()]


def told_in(folder: Path) -> list[Xml.Element]:
    """Give every message of the audit's files, in order."""
    return [Xml.fromstring(line) for line in lines_in(folder)]


def alert_texts(root: Xml.Element) -> list[str]:
    """Give what a security alert says."""
    return [base64.b64decode(one.get("value", "")).decode() for one in root.iter("ParticipantObjectDetail")]


def header_and_message(framed: bytes) -> tuple[bytes, bytes]:
    """Split a syslog message (RFC 5424) into its header and the audit message behind the byte order mark."""
    match = re.fullmatch(rb"(<85>1 .*?) \xef\xbb\xbf(.*)", framed, re.DOTALL)
    assert match, framed[:200]
    return match[1], match[2]
