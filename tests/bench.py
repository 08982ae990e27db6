"""A line on a real disk and a real ledger, without a network, a child or a clock of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrnode.archive import SpoolArchive
from cxrnode.domain.delivery import Destination
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.job import JobState, RetryPolicy
from cxrnode.domain.routing import Rule
from cxrnode.domain.study import Arrival, Sender
from cxrnode.ledger import SqliteLedger
from cxrnode.ledger.views import DeliveryView, JobView
from cxrnode.phantom import Radiograph, write
from cxrnode.pipeline import Line, Plan
from cxrnode.pixels.header import HeaderReader
from tests.fakes.clock import FakeClock
from tests.fakes.composer import FakeComposer
from tests.fakes.peer import FakePeer
from tests.fakes.predictor import FakePredictor

PACS = Destination(name="pacs", ae_title=AETitle("PACS"), host="127.0.0.1", port=104)
PLAN = Plan(
    rules=(Rule(destinations=("pacs",)),),
    models=("lungs",),
    destinations=(PACS,),
    quiet_seconds=5,
    batch=8,
    job_policy=RetryPolicy(attempts=3, first_seconds=10),
    delivery_policy=RetryPolicy(attempts=3, first_seconds=10),
    job_lease_seconds=60,
    delivery_lease_seconds=60,
    commitment_wait_seconds=60,
)
FILM = Radiograph(rows=256, cols=256)


class Bench:
    """Receives phantoms and rings bells by hand. `changes` are those of the plan."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.plan = replace(PLAN, **changes)
        self.archive = SpoolArchive(folder / "spool", floor_bytes=0)
        self.ledger = SqliteLedger.open(folder / "ledger.sqlite", incarnation="one", exclusive=True)
        self.clock, self.peer, self.predictor = FakeClock(), FakePeer(), FakePredictor()
        self.composer = FakeComposer()
        self.line = Line(
            plan=self.plan,
            archive=self.archive,
            ledger=self.ledger,
            reader=HeaderReader(),
            predictor=self.predictor,
            composer=self.composer,
            peer=self.peer,
            clock=self.clock,
            chance=lambda: 0.5,
        )

    def take(
        self,
        film: Radiograph,
        *,
        calling: str = "CR1",
        association: str = "a",
        ended: bool = True,
        priority: int = 0,
    ) -> None:
        """Receive a film."""
        path = self.archive.incoming / "film.part"
        write(film, path)
        sender = Sender(
            calling_ae=AETitle(calling), called_ae=AETitle("CXRNODE"), address="127.0.0.1", association=association
        )
        arrival = Arrival(
            path=path,
            sop_class_uid="",
            sop_instance_uid=InstanceUID(""),
            transfer_syntax_uid="",
            sender=sender,
            priority=priority,
        )
        assert self.line.receive(arrival) == 0
        if ended:
            self.line.association_ended(association)

    def work(self, rounds: int = 1, *, seconds: float = 6) -> None:
        """Let time pass and ring every bell."""
        for _ in range(rounds):
            self.clock.move(seconds)
            self.line.compare_recoded()
            self.line.close_due()
            self.line.run_jobs()
            self.deliver()

    def deliver(self) -> None:
        """Ring the bells of every destination, and take their reports."""
        for destination in self.plan.destinations:
            self.line.deliver(destination)
            self.line.ask_commitments(destination)
        while self.peer.reports:
            self.line.confirm(*self.peer.reports.pop(0))

    def jobs(self) -> list[JobView]:
        """All jobs, the oldest first."""
        return sorted(self.ledger.find_jobs(), key=lambda job: job.job)

    def states(self) -> list[JobState]:
        """States of all jobs, the oldest first."""
        return [job.state for job in self.jobs()]

    def said(self, kind: str = "SR") -> list[dict[str, Any]]:
        """What the evidence of a kind states, over all studies, the oldest first."""
        studies = dict.fromkeys(job.study_uid for job in self.jobs())
        found = [one for study in studies for one in self.ledger.evidence_of(study) if one.kind.split()[0] == kind]
        return [json.loads(self.archive.path(one.key).read_text()) for one in found]

    def held(self, name: str = "pacs") -> list[dict[str, Any]]:
        """What a destination holds, in the order it came."""
        return [json.loads(content) for content in self.peer.kept.get(name, {}).values()]

    def kinds(self, name: str = "pacs") -> list[str]:
        """What kinds of objects a destination holds, by name."""
        return sorted(one["kind"] for one in self.held(name))

    def deliveries(self) -> list[DeliveryView]:
        """All deliveries."""
        studies = dict.fromkeys(job.study_uid for job in self.jobs())
        return [way for study in studies for one in self.ledger.evidence_of(study) for way in one.deliveries]

    def codes(self) -> set[str | None]:
        """What became of every instance."""
        return {view.code for view in self.ledger.outcomes()}
