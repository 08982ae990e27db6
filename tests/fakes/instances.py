"""Descriptions of instances that were never sent, and a ledger's first steps with them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cxrnode.domain.identity import AETitle, InstanceUID, SeriesUID, StudyUID
from cxrnode.domain.selection import CR_STORAGE, ImageFacts
from cxrnode.domain.study import Description, Patient, Recorded, Sender
from cxrnode.ports import Claim, Completion, KeptEvidence, Ledger, Outcome, Verdict

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPLICIT, JPEG_LS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80"
MODALITY = Sender(calling_ae=AETitle("CR1"), called_ae=AETitle("CXRNODE"), address="10.0.0.7", association="a1")
FRONTAL = ImageFacts(sop_class_uid=CR_STORAGE, modality="CR", body_part="CHEST", view_position="PA", rows=2048)
CT = ImageFacts(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", modality="CT", rows=512, has_pixels=True)
STUDY, OTHER_STUDY = StudyUID("1.2.3"), StudyUID("1.2.4")


def after(seconds: float) -> datetime:
    """Give the time so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def sha(text: str) -> str:
    """Give a digest as the reader writes them."""
    return hashlib.sha256(text.encode()).hexdigest()


def described(uid: str = "1.2.3.1", *, header: str = "h", pixels: str = "p", **changes: Any) -> Description:
    """Describe an instance whose content is told by the words `header` and `pixels` and its transfer syntax."""
    syntax = changes.get("transfer_syntax_uid", EXPLICIT)
    description = Description(
        sop_class_uid=CR_STORAGE,
        sop_instance_uid=InstanceUID(uid),
        study_uid=STUDY,
        series_uid=SeriesUID("1.2.3.0"),
        transfer_syntax_uid=EXPLICIT,
        patient=Patient(patient_id="4711", name="Doe^Jane", accession_number="A1", study_date="20260301"),
        facts=FRONTAL,
        header_digest=sha(header),
        pixel_digest=sha(pixels + syntax),
        bytes_digest=sha(uid + header + pixels + syntax),
        size=1234,
    )
    return replace(description, **changes)


def record(
    ledger: Ledger, description: Description, seconds: float = 0, *, candidate: bool = True, sender: Sender = MODALITY
) -> Recorded:
    """Record it under the key that its digest gives, so many seconds after noon."""
    key = f"sources/{description.bytes_digest}.dcm"
    return ledger.record(description, sender, key, after(seconds), candidate=candidate)


def close(ledger: Ledger, study: StudyUID = STUDY, seconds: float = 0, **changes: Any) -> int | None:
    """Close a study over all it has, everything to analyse by `lungs` for `pacs`."""
    membership = ledger.membership(study)
    verdicts = [Verdict(row=member.row) for member in membership.instances]
    wanted: dict[str, Any] = {"models": ["lungs"], "destinations": ["pacs"], "schedule": True, "now": after(seconds)}
    return ledger.close(membership, verdicts, **(wanted | changes))


def claim_one(ledger: Ledger, seconds: float = 0, *, lease_seconds: float = 60) -> Claim:
    """Claim exactly one job."""
    (claim,) = ledger.claim_jobs(after(seconds), limit=1, lease_seconds=lease_seconds)
    return claim


def kept(
    uid: str,
    *,
    kind: str = "SEG",
    source: str = "1.2.3.1",
    destinations: tuple[str, ...] = ("pacs",),
    objection: str = "",
) -> KeptEvidence:
    """Name an evidence object in the archive."""
    return KeptEvidence(
        kind=kind,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        sop_instance_uid=uid,
        source="" if kind.startswith("SR") else source,
        model="" if kind.startswith("SR") else "lungs",
        key=f"evidence/{uid}.dcm",
        sha256=sha(uid),
        destinations=destinations,
        objection=objection,
    )


def completion(claim: Claim, *evidence: KeptEvidence, code: str = "") -> Completion:
    """Complete a claim with this evidence and one outcome for every member."""
    summary = {} if code else {"view": "PA"}
    outcomes = tuple(Outcome(row=member.row, code=code, summary=summary) for member in claim.members)
    return Completion(evidence=evidence, outcomes=outcomes)
