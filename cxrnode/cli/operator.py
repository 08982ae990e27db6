"""`cxrnode status`, `cxrnode jobs`, `cxrnode pause` and `cxrnode resume`: beside a running node, on its ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cxrnode.cli.app import Json, app, say, say_json, say_table, settings
from cxrnode.errors import NeedsOperator

if TYPE_CHECKING:
    from cxrnode.ledger import SqliteLedger
    from cxrnode.ledger.views import Counts, EvidenceView, JobDetails

_State = TypeVar("_State", bound=StrEnum)

jobs = typer.Typer(help="Find, show and retry jobs.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")


@contextmanager
def _ledger() -> Iterator[SqliteLedger]:
    from cxrnode.ledger import SqliteLedger
    from cxrnode.node import LEDGER_FILE

    path = settings().node.state_dir / LEDGER_FILE
    if not path.is_file():
        raise NeedsOperator("there is no ledger yet", subject=str(path), hint="start the node, or check node.state_dir")
    with SqliteLedger.open(path, incarnation="operator", exclusive=False) as ledger:
        yield ledger


@app.command()
def status(json: Json = False) -> None:
    """Show at a glance what came in, what waits, what went out, and what needs an operator."""
    from cxrnode.ledger.database import is_held
    from cxrnode.node import LEDGER_FILE

    with _ledger() as ledger:
        counts, paused = ledger.counts(), ledger.paused()
    running = is_held(settings().node.state_dir / LEDGER_FILE)
    if json:
        say_json({**asdict(counts), "paused": paused, "running": running})
        return
    say("node: running" if running else "node: NOT RUNNING (`cxrnode serve`)")
    say("PAUSED: instances are received and kept, no job runs (`cxrnode resume`)" if paused else "running jobs: yes")
    say(f"instances: {counts.instances}, the last {_ago(counts.last_received_at)}")
    say(f"studies: {_listed(counts.studies_by_state)}")
    say(f"jobs: {_listed(counts.jobs_by_state)}")
    for destination, states in counts.deliveries_by_state.items():
        say(f"to {destination}: {_listed(states)}")
    for line in _wanting(counts):
        say(line)


def _listed(counted: object) -> str:
    assert isinstance(counted, dict)  # every count of a ledger's view is one
    return ", ".join(f"{count} {state}" for state, count in counted.items()) or "none"


def _ago(at: datetime | None) -> str:
    return "never" if at is None else f"{(datetime.now(UTC) - at).total_seconds():.0f} s ago"


def _wanting(counts: Counts) -> Iterator[str]:
    if counts.jobs_parked:
        yield f"ATTENTION: {counts.jobs_parked} jobs are parked: `cxrnode jobs list --state PARKED`"
    if counts.deliveries_parked:
        yield f"ATTENTION: {counts.deliveries_parked} deliveries are parked: `cxrnode jobs list --delivery PARKED`"


@jobs.command("list")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    delivery: Annotated[str | None, typer.Option(help="Only jobs with a delivery in this state.")] = None,
    study: Annotated[str | None, typer.Option(help="Study Instance UID.")] = None,
    accession: Annotated[str | None, typer.Option(help="Accession number.")] = None,
    patient: Annotated[str | None, typer.Option(help="Patient id.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 50,
    json: Json = False,
) -> None:
    """List jobs, the newest first."""
    from cxrnode.domain.delivery import DeliveryState
    from cxrnode.domain.job import JobState

    with _ledger() as ledger:
        found = ledger.find_jobs(
            state=_named(JobState, state),
            delivery=_named(DeliveryState, delivery),
            study=study,
            accession=accession,
            patient_id=patient,
            limit=limit,
        )
    if json:
        say_json([asdict(job) for job in found])
        return
    rows = [
        (j.job, j.state, j.attempt, j.patient.patient_id, j.patient.accession_number, j.study_uid, j.reason)
        for j in found
    ]
    say_table("Jobs", ("job", "state", "attempt", "patient id", "accession", "study", "reason"), rows)


def _named(states: type[_State], name: str | None) -> _State | None:
    if name is None:
        return None
    if name.upper() not in states.__members__:
        raise NeedsOperator("no such state", subject=name, hint=", ".join(states.__members__))
    return states(name.upper())


@jobs.command()
def show(number: Annotated[int, typer.Argument(help="The job's number.")], json: Json = False) -> None:
    """Show one job: what was said of each image, each object, and each delivery."""
    with _ledger() as ledger:
        details = ledger.job_details(number)
    if json:
        say_json(asdict(details))
    else:
        _say_details(details)


def _say_details(details: JobDetails) -> None:
    from cxrnode.domain.wording import sentences

    job = details.job
    say(f"job {job.job}: {job.state}, attempt {job.attempt}{', ' + job.reason if job.reason else ''}")
    say(f"study {job.study_uid}")
    say(f"accession {job.patient.accession_number or '-'}, patient {job.patient.patient_id or '-'}")
    for member in details.members:
        say(f"\nimage {member.sop_instance_uid}")
        code = member.verdict if member.outcome is None else member.outcome
        said = sentences(code, member.summary or {}) or ["Not run yet."]
        for sentence in said:
            say(f"  {sentence}")
    for evidence in details.evidence:
        say(f"\n{evidence.kind} {evidence.sop_instance_uid}")
        for line in _deliveries(evidence):
            say(f"  {line}")


def _deliveries(evidence: EvidenceView) -> Iterator[str]:
    for delivery in evidence.deliveries:
        at = delivery.committed_at or delivery.sent_at
        when = f" at {at.isoformat(timespec='seconds')}" if at else ""
        why = f": {delivery.reason}" if delivery.reason and at is None else ""
        yield f"to {delivery.destination}: {delivery.state}{when}, attempt {delivery.attempt}{why}"
    if not evidence.deliveries:
        yield "kept here, sent nowhere"


@jobs.command()
def retry(number: Annotated[int, typer.Argument(help="The job's number.")]) -> None:
    """Run a parked or completed job again, and its parked deliveries."""
    with _ledger() as ledger:
        ledger.requeue_job(number, datetime.now(UTC))
    say(f"job {number} is scheduled again")


@app.command()
def pause() -> None:
    """Receive and keep, but run no job until `resume`."""
    with _ledger() as ledger:
        ledger.set_paused(True, datetime.now(UTC))
    say("paused: instances are received and kept, no job runs")


@app.command()
def resume() -> None:
    """Run jobs again."""
    with _ledger() as ledger:
        ledger.set_paused(False, datetime.now(UTC))
    say("jobs run again")
