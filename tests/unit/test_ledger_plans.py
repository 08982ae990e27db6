"""How SQLite answers the ledger's statements: by index, so that a million studies cost no more than one.

Not by timing: a plan is the same on every machine.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cxrnode.domain.retention import What
from cxrnode.ledger import SqliteLedger
from tests.fakes.instances import STUDY, after, claim_one, close, completion, described, kept, record

GROWING = ("studies", "instances", "jobs", "job_members", "evidence", "job_evidence", "deliveries", "commitments",
           "commitment_deliveries", "source_commitments", "source_commitment_instances", "history")  # fmt: skip
Statements = list[tuple[str, Any]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with SqliteLedger.open(tmp_path / "ledger.sqlite", incarnation="first", exclusive=True) as opened:
        yield opened


@pytest.fixture
def statements() -> Iterator[Statements]:
    """Every statement that SQLAlchemy sends, as SQLite gets it."""
    sent: Statements = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        sent.extend((statement, one) for one in (parameters if many else [parameters]))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def scans(path: Path, statements: Statements) -> list[str]:
    """Give the steps of the statements' plans that walk over all of a growing table."""
    found = []
    with closing(sqlite3.connect(path)) as connection:
        for statement, parameters in statements:
            if statement.startswith(("SELECT", "UPDATE", "INSERT", "DELETE")):
                plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
                found += [f"{step}  <-  {statement}" for *_, step in plan if _walks(step)]
    return found


def _walks(step: str) -> bool:
    table = re.match(r"SCAN (\w+)", step)
    # A partial index is as long as what is left to do, not as what was ever done.
    partial = ("studies_open", "jobs_due", "jobs_leased", "deliveries_due", "deliveries_leased", "deliveries_to_ask")
    return bool(table and table[1] in GROWING and not step.endswith(partial))


def one_of_each(ledger: SqliteLedger) -> None:
    record(ledger, described())
    close(ledger)
    claim = claim_one(ledger)
    ledger.complete(claim, completion(claim, kept("9.1"), kept("9.2", kind="SR")), after(1))
    record(ledger, described("1.2.3.2"), 2)
    close(ledger, seconds=2)


def the_line(ledger: SqliteLedger) -> None:
    """Use every verb of the port."""
    ledger.find_twin(described())
    record(ledger, described(header="corrected"), 3)
    record(ledger, described(pixels="other"), 3)
    ledger.unknown_keys(["a"])
    ledger.open_studies()
    ledger.quiet_studies(after(99), after=(STUDY, after(0)), limit=9)
    close(ledger, seconds=4)
    (parked,) = ledger.find_jobs(study=STUDY, limit=1)
    ledger.requeue_job(parked.job, after(4))
    claim = claim_one(ledger, 5)
    ledger.renew([claim], after(5), lease_seconds=60)
    ledger.fail_job(claim, due_at=after(6), reason="", now=after(5))
    claim = claim_one(ledger, 6)
    ledger.complete(claim, completion(claim, kept("9.1"), kept("9.3", kind="SR")), after(7))
    ledger.accepted("pacs")
    ledger.record_accepted("pacs", ["1.2"], after(7))
    first, second, third = ledger.claim_deliveries("pacs", after(8), limit=9, lease_seconds=60)
    ledger.mark_sent(first, after(8), ask_at=after(8))
    ledger.mark_sent(second, after(8), ask_at=after(8))
    ledger.fail_delivery(third, due_at=after(9), reason="", now=after(8))
    ledger.begin_commitment("pacs", "7.1", after(9), limit=9, ask_again_at=after(99))
    ledger.confirm("7.1", committed=["9.1"], failed={"9.2": 1}, now=after(9), attempts=9)
    ledger.no_commitment([first], park=False, reason="", now=after(9))
    for declined in ledger.claim_deliveries("pacs", after(10), limit=9, lease_seconds=60):
        ledger.decline(declined, reason="", now=after(10))
    ledger.latest_time()
    ledger.pull_in(after(10), beyond=after(10), lease_until=after(99))
    claim = claim_one(ledger, 11)
    ledger.complete(claim, completion(claim, kept("9.1"), kept("9.4", kind="SR")), after(12))


def an_operator(ledger: SqliteLedger) -> None:
    """Ask all that an operator asks about one patient, study or job."""
    ledger.find_jobs(study=STUDY)
    ledger.find_jobs(accession="A1")
    ledger.find_jobs(patient_id="4711")
    ledger.job_details(1)
    ledger.evidence_of(STUDY)
    list(ledger.outcomes())
    ledger.set_paused(True, after(1))
    ledger.paused()


def a_retraction(ledger: SqliteLedger) -> None:
    """Take results back, tell of it, and state them again."""
    claim = claim_one(ledger, 3)
    ledger.complete(claim, completion(claim, kept("9.1"), kept("9.3", kind="SR")), after(4))
    ledger.to_retract(claim.job)
    retraction = ledger.schedule_retraction(claim.job, "wrong_result", after(5))
    ledger.job_details(retraction)
    told = claim_one(ledger, 6)
    ledger.complete(told, completion(told, kept("9.5", kind="SR")), after(7))
    ledger.requeue_job(claim.job, after(8))
    claim_one(ledger, 9)


def retention(ledger: SqliteLedger) -> None:
    """Ask who keeps what, let it go, and take it again."""
    inventory = ledger.inventory
    for what in What:
        list(inventory.holdings(what, uncommitted=False))
        list(inventory.holdings(what, before=after(9), uncommitted=True))
        inventory.mark_swept(what, [1, 2], after(9), uncommitted=True)
        inventory.removed(inventory.remove_marked(what, lambda key: None))
    inventory.begin_source_commitment("pacs", "7.1", [1, 2], after(9), not_since=after(1))
    ledger.confirm("7.1", committed=["1.2.3.1"], failed={}, now=after(10), attempts=1)
    inventory.forget_source_commitment("7.1")
    ledger.kept_key(described())
    ledger.restore(described(), "sources/again.dcm", after(11), lambda key: True)


def a_reconciliation(ledger: SqliteLedger) -> None:
    """Walk over everything, a page at a time."""
    inventory = ledger.inventory
    list(inventory.instances())
    list(inventory.evidence())
    for study in inventory.studies():
        inventory.sent_to("pacs", study)
    inventory.size_at("sources/one.dcm")
    inventory.unknown_evidence(["9.1", "9.9"])
    inventory.is_swept(What.SOURCE, 1)


@pytest.mark.parametrize("use", [the_line, an_operator, a_retraction, retention, a_reconciliation])
def test_no_verb_walks_over_a_growing_table(
    ledger: SqliteLedger, statements: Statements, tmp_path: Path, use: Callable[[SqliteLedger], None]
) -> None:
    """Every statement finds its rows by a key or an index."""
    one_of_each(ledger)
    statements.clear()
    use(ledger)
    assert len(statements) >= 10
    assert scans(tmp_path / "ledger.sqlite", statements) == []


def test_counting_reads_indexes_only(ledger: SqliteLedger, statements: Statements, tmp_path: Path) -> None:
    """No count touches a table's rows, and each state has its own index to be counted by."""
    one_of_each(ledger)
    statements.clear()
    ledger.counts()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        steps = [
            step
            for statement, parameters in statements
            if "count(*)" in statement
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert len(steps) == 14
    assert all("COVERING INDEX" in step for step in steps), steps


def test_a_walk_would_be_seen(ledger: SqliteLedger, tmp_path: Path) -> None:
    """The test above can fail: it knows a walk, by table or by a whole index, from a search."""
    walks = ["SELECT * FROM jobs WHERE reason = 'x'", "SELECT count(*) FROM instances"]
    assert len(scans(tmp_path / "ledger.sqlite", [(walk, ()) for walk in walks])) == 2


@pytest.mark.parametrize(
    ("verb", "index"),
    [
        (lambda ledger: ledger.claim_jobs(after(9), limit=4, lease_seconds=60), "jobs_due"),
        (lambda ledger: ledger.claim_jobs(after(9), limit=4, lease_seconds=60), "jobs_leased"),
        (lambda ledger: ledger.claim_deliveries("pacs", after(9), limit=4, lease_seconds=60), "deliveries_due"),
        (lambda ledger: ledger.claim_deliveries("pacs", after(9), limit=4, lease_seconds=60), "deliveries_leased"),
        (
            lambda ledger: ledger.begin_commitment("pacs", "7.1", after(9), limit=4, ask_again_at=after(99)),
            "deliveries_to_ask",
        ),
        (lambda ledger: ledger.open_studies(), "studies_open"),
        (lambda ledger: ledger.quiet_studies(after(9), after=None, limit=4), "studies_open"),
        (lambda ledger: ledger.quiet_studies(after(9), after=(STUDY, after(0)), limit=4), "studies_open"),
    ],
)
def test_what_waits_is_found_by_a_partial_index(
    ledger: SqliteLedger,
    statements: Statements,
    tmp_path: Path,
    verb: Callable[[SqliteLedger], Any],
    index: str,
) -> None:
    """The index holds what can be claimed and nothing else, and no sorting is left to do for it."""
    verb(ledger)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        steps = [
            step
            for statement, parameters in statements
            if statement.startswith("SELECT")
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert any(step.endswith(index) or f"INDEX {index} (" in step for step in steps), steps
    if index in {"jobs_due", "deliveries_due", "deliveries_to_ask", "studies_open"}:
        assert not any("TEMP B-TREE" in step for step in steps if "ORDER BY" in step), steps
