"""`cxrnode status`, `cxrnode pause` and `cxrnode resume`: beside a running node, on its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cxrnode.cli.app import Json, app, say, say_json, settings
from cxrnode.errors import NeedsOperator, Retryable, SettingsInvalid

if TYPE_CHECKING:
    from cxrnode.audit import AuditTrail
    from cxrnode.ledger import SqliteLedger
    from cxrnode.ledger.lock import Holder
    from cxrnode.ledger.views import Counts
    from cxrnode.web.dependency import Dependency


@contextmanager
def opened_ledger() -> Iterator[SqliteLedger]:
    """Open the ledger beside the node that may hold it. NeedsOperator where there is none, or it is another user's."""
    from cxrnode.discretion import is_ours
    from cxrnode.ledger import SqliteLedger
    from cxrnode.node import LEDGER_FILE

    path = settings().node.state_dir / LEDGER_FILE
    if not is_ours(path):
        raise NeedsOperator("there is no ledger yet", subject=str(path), hint="start the node, or check node.state_dir")
    with SqliteLedger.open(path, incarnation="operator", exclusive=False) as ledger:
        yield ledger


@contextmanager
def audited() -> Iterator[AuditTrail]:
    """Open the audit trail beside the node, to tell what an operator did."""
    from cxrnode.node import audit_of

    trail = audit_of(settings())
    try:
        yield trail
    finally:
        trail.close()


@app.command()
def status(json: Json = False) -> None:
    """Show at a glance what came in, what waits, what went out, and what needs an operator."""
    from cxrnode.ledger.lock import holder_of, is_held
    from cxrnode.node import LEDGER_FILE

    with opened_ledger() as ledger:
        counts, paused = ledger.counts(), ledger.paused()
    path = settings().node.state_dir / LEDGER_FILE
    running, holder = is_held(path), holder_of(path)
    condition, silent = _condition(holder) if running and holder and holder.port else ({}, "")
    if json:
        held_by = asdict(holder) if holder else None
        parts = {name: {"ok": one.ok, "detail": one.detail, "hint": one.hint} for name, one in condition.items()}
        say_json({**asdict(counts), "paused": paused, "running": running, "holder": held_by, "condition": parts})
        return
    who = f" ({holder})" if holder else ""
    say(f"node: running{who}" if running else "node: NOT RUNNING (`cxrnode serve`)")
    say("PAUSED: instances are received and kept, no job runs (`cxrnode resume`)" if paused else "running jobs: yes")
    if condition:
        say(", ".join(f"{name}: {one.detail}" for name, one in condition.items() if one.ok or not one.hint))
    say(f"instances: {counts.instances}, the last {_ago(counts.last_received_at)}")
    say(f"studies: {_listed(counts.studies_by_state)}")
    say(f"jobs: {_listed(counts.jobs_by_state)}")
    for destination, states in counts.deliveries_by_state.items():
        say(f"to {destination}: {_listed(states)}")
    for line in (*_wanting(counts), *_unwell(condition), *_certificates()):
        say(line)
    if silent:
        say(f"ATTENTION: {silent}")


def _condition(holder: Holder) -> tuple[Mapping[str, Dependency], str]:
    """Ask the node how it is; give what it says, or why it says nothing."""
    from cxrnode.web.asking import ask

    web = settings().web
    if not web.enabled or not web.port:
        return {}, ""
    try:
        return ask(web.host, web.port, pid=holder.pid), ""
    except Retryable as error:
        return {}, str(error)


def _unwell(condition: Mapping[str, Dependency]) -> Iterator[str]:
    """Say what is not well; of certificates the files themselves are asked."""
    for name, one in condition.items():
        if not one.ok and one.hint and name != "certificates":
            yield f"ATTENTION: {name}: {one.detail} ({one.hint})"


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


def _certificates() -> Iterator[str]:
    """Say what is wrong with the certificates, where TLS is used."""
    if settings().tls_users:
        from cxrnode.node import tls_of

        try:
            tls, now = tls_of(settings()), datetime.now(UTC)
            ending = tls.ending(now) if tls is not None else None
        except SettingsInvalid as error:
            yield f"ATTENTION: the certificates cannot be used: {error}"
        else:
            if ending is not None:
                yield f"ATTENTION: {ending.said(now)}: `cxrnode check`"


@app.command()
def pause() -> None:
    """Receive and keep, but run no job until `resume`."""
    with opened_ledger() as ledger:
        ledger.set_paused(True, datetime.now(UTC))
    with audited() as trail:
        trail.commanded("pause")
    say("paused: instances are received and kept, no job runs")


@app.command()
def resume() -> None:
    """Run jobs again."""
    with opened_ledger() as ledger:
        ledger.set_paused(False, datetime.now(UTC))
    with audited() as trail:
        trail.commanded("resume")
    say("jobs run again")
