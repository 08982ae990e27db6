"""`cxrnode jobs`: find, show, run again, and take back what a job stated; beside a running node, on its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cxrnode.cli.app import Json, app, in_line, say, say_json, say_table, settings
from cxrnode.cli.operator import audited, opened_ledger
from cxrnode.domain.reasons import OPERATORS_RETRACTIONS
from cxrnode.errors import NeedsOperator

if TYPE_CHECKING:
    from cxrnode.audit.events import Subject
    from cxrnode.ledger import SqliteLedger
    from cxrnode.ledger.views import EvidenceView, JobDetails, JobView, MemberView
    from cxrnode.ports import StatedEvidence

_State = TypeVar("_State", bound=StrEnum)

jobs = typer.Typer(help="Find, show, retry and retract jobs.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")


@jobs.command("list")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    delivery: Annotated[str | None, typer.Option(help="Only jobs with a delivery in this state.")] = None,
    study: Annotated[str | None, typer.Option(help="Study Instance UID.")] = None,
    accession: Annotated[str | None, typer.Option(help="Accession number.")] = None,
    patient: Annotated[str | None, typer.Option(help="Patient id.")] = None,
    hashed: Annotated[str | None, typer.Option("--hash", help="What the log calls a study or an object of it.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 50,
    json: Json = False,
) -> None:
    """List jobs, the newest first."""
    from cxrnode.domain.delivery import DeliveryState
    from cxrnode.domain.job import JobState

    with opened_ledger() as ledger:
        found = [
            job
            for one in ([study] if hashed is None else _studies_called(ledger, hashed))
            for job in ledger.find_jobs(
                state=_named(JobState, state),
                delivery=_named(DeliveryState, delivery),
                study=one,
                accession=accession,
                patient_id=patient,
                limit=limit,
            )
        ]
    with audited() as trail:
        trail.commanded(f"jobs list, {len(found)} jobs shown")
    if json:
        say_json([asdict(job) for job in found])
        return
    rows = [
        (j.job, j.state, j.attempt, j.patient.patient_id, j.patient.accession_number, j.study_uid, _remark(j))
        for j in found
    ]
    say_table("Jobs", ("job", "state", "attempt", "patient id", "accession", "study", "remark"), rows)


def _studies_called(ledger: SqliteLedger, hashed: str) -> Sequence[str]:
    """Give the studies that a log with `log.uids = "hashed"` means. NeedsOperator where there is none."""
    from cxrnode.discretion import salt_in
    from cxrnode.telemetry import hash_of

    salt, wanted = salt_in(settings().node.state_dir), hashed.removeprefix("#").lower()
    found = ledger.studies_named(lambda uid: hash_of(uid, salt).removeprefix("#") == wanted)
    if not found:
        raise NeedsOperator("no study here is called so", subject=hashed, hint="16 digits, as the log writes them")
    return found


def _remark(job: JobView) -> str:
    """Say what a list has to say of a job: above all whether its results still stand."""
    if job.retracted_by:
        return f"retracted by job {job.retracted_by}: {job.because}"
    told = [f"takes back job {job.retracts}: {job.because}"] if job.retracts else []
    stat = ["urgent"] if job.urgent else []
    return "; ".join([*stat, *told, *filter(None, [job.reason])])


def _named(states: type[_State], name: str | None) -> _State | None:
    if name is None:
        return None
    if name.upper() not in states.__members__:
        raise NeedsOperator("no such state", subject=name, hint=", ".join(states.__members__))
    return states(name.upper())


@jobs.command()
def show(number: Annotated[int, typer.Argument(help="The job's number.")], json: Json = False) -> None:
    """Show one job: what was said of each image, each object, and each delivery."""
    with opened_ledger() as ledger:
        details = ledger.job_details(number)
    with audited() as trail:
        trail.looked_at(_subject(details.job), f"jobs show {number}")
    if json:
        say_json(asdict(details))
    else:
        _say_details(details)


def _subject(job: JobView) -> Subject:
    from cxrnode.audit.events import Subject

    patient = job.patient
    return Subject(
        study_uid=job.study_uid,
        patient_id=patient.patient_id,
        patient_name=patient.name,
        accession=patient.accession_number,
    )


def _say_details(details: JobDetails) -> None:
    job = details.job
    urgent, reason = ", urgent" if job.urgent else "", f", {job.reason}" if job.reason else ""
    say(f"job {job.job}: {job.state}{urgent}, attempt {job.attempt}{reason}")
    for line in _standing(job):
        say(line)
    say(f"study {in_line(job.study_uid)}")
    patient = job.patient
    say(f"accession {in_line(patient.accession_number) or '-'}, patient {in_line(patient.patient_id) or '-'}")
    for destination, sentences in job.fallbacks.items():
        for sentence in sentences:
            say(f"{destination} {sentence}")
    for one in details.taken_back:
        say(_taken_back(one))
    for member in details.members if job.retracts is None else ():
        _say_member(member)
    for evidence in details.evidence:
        say(f"\n{evidence.kind} {evidence.sop_instance_uid}")
        for line in _deliveries(evidence):
            say(f"  {line}")


def _standing(job: JobView) -> Iterator[str]:
    from cxrnode.domain.reasons import RETRACTIONS

    if job.retracted_by:
        yield f"RETRACTED by job {job.retracted_by}, because {RETRACTIONS[job.because].text}"
    if job.retracts:
        yield f"takes back the results of job {job.retracts}, because {RETRACTIONS[job.because].text}"


def _say_member(member: MemberView) -> None:
    from cxrnode.domain.wording import sentences

    say(f"\nimage {in_line(member.sop_instance_uid)}")
    code = member.verdict if member.outcome is None else member.outcome
    for sentence in sentences(code, member.summary or {}) or ["Not run yet."]:
        say(f"  {sentence}")


def _deliveries(evidence: EvidenceView) -> Iterator[str]:
    if evidence.objection:
        yield f"NOT TO BE SENT: {evidence.objection}"
    for delivery in evidence.deliveries:
        at = delivery.committed_at or delivery.sent_at
        when = f" at {at.isoformat(timespec='seconds')}" if at else ""
        why = f": {delivery.reason}" if delivery.reason and at is None else ""
        yield f"to {delivery.destination}: {delivery.state}{when}, attempt {delivery.attempt}{why}"
    if not evidence.deliveries:
        yield "kept here, sent nowhere"


def _taken_back(evidence: StatedEvidence) -> str:
    where = f"from {', '.join(evidence.destinations)}" if evidence.destinations else "sent nowhere yet, stays here"
    return f"  {evidence.kind} {evidence.sop_instance_uid}: {where}"


@jobs.command()
def retry(number: Annotated[int, typer.Argument(help="The job's number.")]) -> None:
    """Run a parked or completed job again, and its parked deliveries.

    Of a retracted job the results are stated again, by a new job.
    """
    with opened_ledger() as ledger:
        subject = _subject(ledger.job_details(number).job)
        scheduled = ledger.requeue_job(number, datetime.now(UTC))
    with audited() as trail:
        trail.changed(subject, f"jobs retry {number}")
    again = f"job {number} is scheduled again"
    say(again if scheduled == number else f"job {scheduled} is scheduled: it states again what job {number} said")


_REASONS = ", ".join(OPERATORS_RETRACTIONS)


def _known(because: str) -> str:
    if because not in OPERATORS_RETRACTIONS:
        raise typer.BadParameter(f"'{because}' is none of {_REASONS}")
    return because


@jobs.command()
def retract(
    number: Annotated[int, typer.Argument(help="The number of the study's last job.")],
    because: Annotated[str, typer.Option(help=f"Why: {_REASONS}.", callback=_known)],
    yes: Annotated[bool, typer.Option("--yes", help="Take it back without asking.")] = False,
) -> None:
    """Take back what a study's jobs stated: a new report says so, and a rejection note goes where it is wanted.

    What is not sent yet is not sent any more.
    """
    with opened_ledger() as ledger:
        _say_what_goes(number, ledger.to_retract(number))
        if not yes:
            typer.confirm("take this back?", abort=True)
        subject = _subject(ledger.job_details(number).job)
        retraction = ledger.schedule_retraction(number, because, datetime.now(UTC))
    with audited() as trail:
        trail.changed(subject, f"jobs retract {number} --because {because}")
    say(f"job {retraction} is scheduled: it tells every destination that the results of job {number} were taken back")


def _say_what_goes(number: int, evidence: Sequence[StatedEvidence]) -> None:
    say(f"what job {number} and the jobs of its study before it stated:")
    for one in evidence:
        say(_taken_back(one))
