"""The ledger under whatever order of events: the law of both life cycles holds, and nothing is lost."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cxrnode.domain.delivery import DELIVERY_TRANSITIONS, Delivery, DeliveryState
from cxrnode.domain.identity import StudyUID
from cxrnode.domain.job import JOB_TRANSITIONS, JobState
from cxrnode.domain.retention import What
from cxrnode.domain.study import Recorded
from cxrnode.errors import LeaseLost, NeedsOperator
from cxrnode.ledger import SqliteLedger
from cxrnode.ports import Claim
from tests.fakes.instances import after, close, completion, described, kept, record

STUDIES = [StudyUID("1.2.1"), StudyUID("1.2.2")]
LEASE = 10.0
JOB_STEPS = {(before, after) for (before, _), after in JOB_TRANSITIONS.items()}
DELIVERY_STEPS = {(before, after) for (before, _), after in DELIVERY_TRANSITIONS.items()}


class LedgerMachine(RuleBasedStateMachine):
    """Sends, closes, claims, fails, completes, retracts, crashes and retries, with any claim it ever held."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite"
        self.seconds, self.incarnation, self.objects = 0.0, 0, 0
        self.claims: list[Claim] = []
        self.deliveries: list[Delivery] = []
        self.transactions: list[str] = []
        self.held: set[tuple[int, int]] = set()
        self.states: dict[str, dict[int, str]] = {"jobs": {}, "deliveries": {}}
        self.ledger = self._open()

    def _open(self) -> SqliteLedger:
        self.incarnation += 1
        return SqliteLedger.open(self.path, incarnation=str(self.incarnation), exclusive=True)

    def teardown(self) -> None:
        self.ledger.shut()
        self.folder.cleanup()

    @rule(
        study=st.sampled_from(STUDIES),
        image=st.integers(1, 2),
        header=st.sampled_from("ab"),
        pixels=st.sampled_from("pppq"),
        candidate=st.booleans(),
    )
    def send(self, study: StudyUID, image: int, header: str, pixels: str, candidate: bool) -> None:
        instance = described(f"{study}.{image}", study_uid=study, header=header, pixels=pixels)
        if self.ledger.find_twin(instance) is Recorded.DUPLICATE and self.ledger.kept_key(instance) is None:
            self.ledger.restore(instance, f"sources/{instance.bytes_digest}.dcm", after(self.seconds), lambda key: True)
        else:
            record(self.ledger, instance, self.seconds, candidate=candidate)

    @rule(uncommitted=st.booleans())
    def sweep(self, uncommitted: bool) -> None:
        inventory, now = self.ledger.inventory, after(self.seconds)
        for what in What:
            rows = [one.row for one in inventory.holdings(what, uncommitted=uncommitted)]
            inventory.mark_swept(what, rows, now, uncommitted=uncommitted)
            inventory.removed(inventory.remove_marked(what, lambda key: None))

    @rule(study=st.sampled_from(STUDIES))
    def close(self, study: StudyUID) -> None:
        close(self.ledger, study, self.seconds)

    @rule(seconds=st.sampled_from([1.0, LEASE + 1]))
    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    @rule()
    def crash(self) -> None:
        self.ledger.shut()
        self.ledger = self._open()

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        claims = self.ledger.claim_jobs(after(self.seconds), limit=limit, lease_seconds=LEASE)
        for claim in claims:
            assert (claim.job, claim.attempt) not in self.held, "one attempt was claimed twice"
            self.held.add((claim.job, claim.attempt))
        assert len({claim.study_uid for claim in claims}) == len(claims)
        assert all(claim.attempt == 1 for claim in claims) or len(claims) == 1
        self.claims += claims

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), changed=st.booleans(), objection=st.sampled_from(["", "", "wrong"]))
    def complete(self, data: Any, changed: bool, objection: str) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        self.objects += changed
        images = () if claim.retracts else claim.members
        evidence = [kept(f"9.{member.row}", source=member.uid, objection=objection) for member in images]
        with suppress(LeaseLost):
            self.ledger.complete(
                claim,
                completion(claim, *evidence, kept(f"8.{claim.job}.{self.objects}", kind="SR")),
                after(self.seconds),
            )
            assert claim.attempt == max(attempt for job, attempt in self.held if job == claim.job)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), park=st.booleans())
    def fail(self, data: Any, park: bool) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        due_at = None if park else after(self.seconds + 1)
        with suppress(LeaseLost):
            self.ledger.fail_job(claim, due_at=due_at, reason="x", now=after(self.seconds))

    @rule(job=st.integers(1, 6))
    def retry(self, job: int) -> None:
        with suppress(NeedsOperator):
            self.ledger.requeue_job(job, after(self.seconds))

    @rule(job=st.integers(1, 6))
    def retract(self, job: int) -> None:
        with suppress(NeedsOperator):
            self.ledger.schedule_retraction(job, "wrong_result", after(self.seconds))

    @rule()
    def claim_deliveries(self) -> None:
        self.deliveries += self.ledger.claim_deliveries("pacs", after(self.seconds), limit=3, lease_seconds=LEASE)

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data(), mark=st.sampled_from(["sent", "sent", "final", "later", "park", "none", "decline"]))
    def mark(self, data: Any, mark: str) -> None:
        delivery, now = data.draw(st.sampled_from(self.deliveries)), after(self.seconds)
        with suppress(LeaseLost):
            if mark in {"sent", "final"}:
                self.ledger.mark_sent(delivery, now, ask_at=now if mark == "sent" else None)
            elif mark == "decline":
                self.ledger.decline(delivery, reason="takes no such class", now=now)
            elif mark == "none":
                self.ledger.no_commitment([delivery], park=True, reason="x", now=now)
            else:
                due_at = None if mark == "park" else now
                self.ledger.fail_delivery(delivery, due_at=due_at, reason="x", now=now)

    @rule()
    def ask(self) -> None:
        transaction = f"7.{len(self.transactions)}"
        again = after(self.seconds + 1)
        if self.ledger.begin_commitment("pacs", transaction, after(self.seconds), limit=2, ask_again_at=again):
            self.transactions.append(transaction)

    @precondition(lambda self: self.transactions and self.deliveries)
    @rule(data=st.data(), held=st.booleans())
    def report(self, data: Any, held: bool) -> None:
        transaction = data.draw(st.sampled_from(self.transactions))
        uid = data.draw(st.sampled_from(self.deliveries)).sop_instance_uid
        committed, failed = ([uid], {}) if held else ([], {uid: 0x0112})
        assert self.ledger.confirm(transaction, committed=committed, failed=failed, now=after(self.seconds), attempts=3)

    @invariant()
    def every_step_is_one_of_the_law(self) -> None:
        """Between two rules a row takes at most two steps (a replaced job is parked, then canceled).

        A delivery may wait for a moment in between: it fails, is taken back, and is withdrawn.
        """
        for table, steps, kind in (("jobs", JOB_STEPS, JobState), ("deliveries", DELIVERY_STEPS, DeliveryState)):
            now = dict(self._ask(f"SELECT id, state FROM {table}"))
            for row, state in now.items():
                before = self.states[table].get(row, state)
                one = (kind(before), kind(state)) in steps or before == state
                two = any((kind(before), mid) in steps and (mid, kind(state)) in steps for mid in kind)
                assert one or two, f"{table}: {before} to {state}"
            assert self.states[table].keys() <= now.keys()
            self.states[table] = now

    @invariant()
    def no_received_instance_is_forgotten(self) -> None:
        """A current candidate is in an open study, or a member of its study's last job that is not canceled."""
        forgotten = self._ask(
            """
            SELECT i.id FROM instances i JOIN studies s USING (study_uid)
            WHERE i.standing = 'current' AND i.candidate AND s.state = 'CLOSED' AND NOT EXISTS (
                SELECT 1 FROM job_members m JOIN jobs j ON j.id = m.job_id
                WHERE m.instance_id = i.id AND j.state <> 'CANCELED'
                AND j.id = (SELECT max(id) FROM jobs WHERE study_uid = i.study_uid))
            """
        )
        assert forgotten == []

    @invariant()
    def what_was_taken_back_or_objected_to_never_waits_to_be_sent(self) -> None:
        """Nor is a retraction canceled: whoever took the results back was heard, or called it off."""
        waiting = self._ask(
            """
            SELECT d.id FROM deliveries d JOIN evidence e ON e.id = d.evidence_id
            WHERE d.state = 'PENDING' AND (e.objection <> '' OR NOT EXISTS (
                SELECT 1 FROM job_evidence s WHERE s.evidence_id = e.id
                AND s.job_id NOT IN (SELECT job_id FROM retractions)))
            """
        )
        assert waiting == []
        canceled = "SELECT j.id FROM retractions r JOIN jobs j ON j.id = r.retraction_id WHERE j.state = 'CANCELED'"
        assert self._ask(canceled) == []

    @invariant()
    def nobody_waits_for_bytes_that_were_swept(self) -> None:
        """No job that will run looks at an image that is gone, and nothing that is gone is on its way."""
        jobs = self._ask(
            """
            SELECT j.id FROM jobs j JOIN job_members m ON m.job_id = j.id JOIN instances i ON i.id = m.instance_id
            WHERE j.state IN ('SCHEDULED', 'IN_PROGRESS') AND m.verdict = '' AND i.swept_at IS NOT NULL
            """
        )
        assert jobs == []
        on_the_way = self._ask(
            """
            SELECT d.id FROM deliveries d JOIN evidence e ON e.id = d.evidence_id
            WHERE d.state IN ('PENDING', 'SENDING') AND e.swept_at IS NOT NULL
            """
        )
        assert on_the_way == []
        assert self._ask("SELECT key FROM removals") == []

    @invariant()
    def completed_jobs_have_all_their_deliveries(self) -> None:
        """Law 3: evidence without its delivery does not exist."""
        assert self._ask("SELECT id FROM evidence WHERE id NOT IN (SELECT evidence_id FROM deliveries)") == []

    @invariant()
    def counts_agree_with_the_tables(self) -> None:
        counts = self.ledger.counts()
        assert counts.jobs == self._ask("SELECT count(*) FROM jobs")[0][0]
        states = dict(self._ask("SELECT state, count(*) FROM jobs GROUP BY state"))
        assert {state: number for state, number in counts.jobs_by_state.items() if number} == states
        ways = dict(self._ask("SELECT state, count(*) FROM deliveries GROUP BY state"))
        assert counts.deliveries_by_state.get("pacs", {}) == ways

    def _ask(self, question: str) -> list[Any]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(question).fetchall()
        finally:
            connection.close()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
