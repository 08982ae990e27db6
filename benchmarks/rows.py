"""Ledgers of a given size: studies that were analysed, and some that wait.

Hides the columns. Promises a file that the program's own migrations made, whose rows keep its constraints, and whose
waiting work can be claimed by the real verbs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cxrnode.ledger import SqliteLedger

DESTINATION = "pacs"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_ORDERS = {
    "studies": "study_uid state generation last_instance_at patient_id patient_name accession_number study_date",
    "instances": "id study_uid standing candidate code series_uid sop_class_uid sop_instance_uid transfer_syntax_uid "
    "patient_id patient_name accession_number study_date facts header_digest pixel_digest bytes_digest size unreadable "
    "calling_ae called_ae address association key received_at",
    "jobs": "id study_uid generation state attempt tries due_at models destinations reason scheduled_at ended_at",
    "job_members": "job_id instance_id verdict outcome",
    "evidence": "id study_uid kind sop_class_uid sop_instance_uid source model key sha256 kept_at",
    "job_evidence": "job_id evidence_id stated_at",
    "deliveries": "evidence_id destination state attempt tries due_at reason sent_at committed_at",
}


def fill(path: Path, studies: int, waiting: int) -> None:
    """Make a ledger of so many studies, the last `waiting` of which have a job that waits.

    As many deliveries wait, of studies before those; all others are done and committed.
    """
    SqliteLedger.open(path, incarnation="fill", exclusive=True).shut()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA foreign_keys=OFF")
        with connection:
            for table, order in _ORDERS.items():
                columns = order.split()
                into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
                connection.executemany(into, _rows(table, studies, waiting))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _rows(table: str, studies: int, waiting: int) -> Iterator[tuple[Any, ...]]:
    for number in range(1, studies + 1):
        waits, sent = number > studies - waiting, number <= studies - 2 * waiting
        at = (BEGAN + timedelta(seconds=number)).isoformat(timespec="microseconds")
        if waits and table in {"evidence", "job_evidence", "deliveries"}:
            continue
        yield _row(table, number, at, waits=waits, sent=sent)


def _row(table: str, number: int, at: str, *, waits: bool, sent: bool) -> tuple[Any, ...]:
    uid, patient = f"1.2.826.0.1.{number}", (f"P{number}", "Doe^Jane", f"A{number}", "20260101")
    match table:
        case "studies":
            return (uid, "CLOSED", 1, at, *patient)
        case "instances":
            digest, computed_radiography, explicit = (
                f"{number:064x}",
                "1.2.840.10008.5.1.4.1.1.1",
                "1.2.840.10008.1.2.1",
            )
            return (
                number, uid, "current", 1, "", f"{uid}.0", computed_radiography, f"{uid}.1", explicit, *patient,
                "{}", digest, digest, digest, 8_000_000, "", "CR1", "CXRNODE", "10.0.0.7", "a",
                f"sources/{digest}.dcm", at,
            )  # fmt: skip
        case "jobs":
            state, ended = ("SCHEDULED", None) if waits else ("COMPLETED", at)
            tries = 0 if waits else 1
            return (number, uid, 1, state, tries, tries, at, '["lungs"]', f'["{DESTINATION}"]', "", at, ended)
        case "job_members":
            return (number, number, "", None if waits else "")
        case "evidence":
            key = f"evidence/{number}.dcm"
            return (number, uid, "SEG", "1.2.840.10008.5.1.4.1.1.66.4", f"{uid}.9", f"{uid}.1", "lungs", key, "", at)
        case "job_evidence":
            return (number, number, at)
        case _:
            state = "COMMITTED" if sent else "PENDING"
            return (number, DESTINATION, state, int(sent), int(sent), at, "", *((at, at) if sent else (None, None)))
