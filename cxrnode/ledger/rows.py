"""How the line's values become rows, and rows become values again.

Hides column names. Promises that what goes in as a Description or an Instance comes out equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.delivery import Delivery
from cxrnode.domain.identity import AETitle, InstanceUID, SeriesUID, StudyUID
from cxrnode.domain.selection import ImageFacts
from cxrnode.domain.study import Description, Instance, Patient, Sender
from cxrnode.ledger.schema import deliveries, evidence

_DIGESTS = ("header_digest", "pixel_digest", "bytes_digest")
_TUPLES = frozenset(field.name for field in fields(ImageFacts) if str(field.type).startswith("tuple"))


def patient_columns(patient: Patient) -> dict[str, str]:
    """Give the columns that an operator finds a study by."""
    return {
        "patient_id": patient.patient_id,
        "patient_name": patient.name,
        "accession_number": patient.accession_number,
        "study_date": patient.study_date,
    }


def patient_of(row: sa.Row[Any]) -> Patient:
    """Give the patient columns back as a value."""
    return Patient(
        patient_id=row.patient_id,
        name=row.patient_name,
        accession_number=row.accession_number,
        study_date=row.study_date,
    )


def instance_columns(description: Description, sender: Sender, key: str, now: datetime) -> dict[str, Any]:
    """Give an instance's columns, except those that say what it is in the ledger."""
    return {
        "series_uid": description.series_uid,
        "sop_class_uid": description.sop_class_uid,
        "sop_instance_uid": description.sop_instance_uid,
        "transfer_syntax_uid": description.transfer_syntax_uid,
        **patient_columns(description.patient),
        "facts": asdict(description.facts),
        **{name: getattr(description, name) for name in _DIGESTS},
        "size": description.size,
        "unreadable": description.unreadable,
        **asdict(sender),
        "key": key,
        "received_at": now,
    }


def description_of(row: sa.Row[Any]) -> Description:
    """Give a row of `instances` as the description that was recorded."""
    return Description(
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=InstanceUID(row.sop_instance_uid),
        study_uid=StudyUID(row.study_uid or ""),
        series_uid=SeriesUID(row.series_uid),
        transfer_syntax_uid=row.transfer_syntax_uid,
        patient=patient_of(row),
        facts=_facts(row.facts),
        header_digest=row.header_digest,
        pixel_digest=row.pixel_digest,
        bytes_digest=row.bytes_digest,
        size=row.size,
        unreadable=row.unreadable,
    )


def instance_of(row: sa.Row[Any]) -> Instance:
    """Give a row of `instances` as an Instance."""
    sender = Sender(
        calling_ae=AETitle(row.calling_ae),
        called_ae=AETitle(row.called_ae),
        address=row.address,
        association=row.association,
    )
    return Instance(
        row=row.id,
        description=description_of(row),
        sender=sender,
        key=row.key,
        received_at=row.received_at,
        priority=row.priority,
    )


def _facts(stored: Mapping[str, Any]) -> ImageFacts:
    """Read facts as any version wrote them: what this one does not know is passed over, what is missing is unstated."""
    known = {field.name for field in fields(ImageFacts)}
    values: dict[str, Any] = {
        name: tuple(value) if name in _TUPLES else value for name, value in stored.items() if name in known
    }
    return ImageFacts(**values)


DELIVERY_COLUMNS = (
    deliveries.c.id,
    deliveries.c.destination,
    deliveries.c.state,
    deliveries.c.tries,
    evidence.c.sop_class_uid,
    evidence.c.sop_instance_uid,
    evidence.c.key,
    deliveries.c.attempt,
)


def delivery_of(row: sa.Row[Any], *, claimed: bool = False) -> Delivery:
    """Give a row of DELIVERY_COLUMNS as a Delivery; where it was `claimed` since it was read, at the next attempt."""
    return Delivery(
        row=row.id,
        destination=row.destination,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        key=row.key,
        attempt=row.attempt + claimed,
        tries=row.tries + claimed,
    )
