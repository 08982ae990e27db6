"""How `cxrnode check --reconcile` says what it finds, as it finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cxrnode.cli.app import say, say_json, settings
from cxrnode.cli.operator import opened_ledger

if TYPE_CHECKING:
    from cxrnode.reconcile import Discrepancy, Reconciliation

_MOST_LISTED = 1000
"""Discrepancies in the JSON document; the rest is counted."""


def reconcile(*, read_bytes: bool, json: bool) -> None:
    """Hold ledger, spool and destinations against each other; exit code 1 where something is not as it should be."""
    from cxrnode.reconcile import reconciling

    listed: list[Discrepancy] = []
    with opened_ledger() as ledger:
        work = reconciling(settings(), ledger, read_bytes=read_bytes)
        for discrepancy in work.walk():
            if len(listed) < _MOST_LISTED:
                listed.append(discrepancy)
            if not json:
                _say(discrepancy)
    if json:
        say_json(_as_json(work.found, listed))
    else:
        _sum_up(work.found)
    if work.found.troubles:
        raise typer.Exit(1)


def _say(discrepancy: Discrepancy) -> None:
    where = f" ({discrepancy.where})" if discrepancy.where else ""
    say(f"FAIL  {discrepancy.trouble}: {discrepancy.uid}{where}")
    say(f"      {discrepancy.do}")


def _sum_up(found: Reconciliation) -> None:
    for name, count in sorted(found.counts.items()):
        say(f"{count:>9}  {name}")
    for destination, why in found.not_asked.items():
        say(f"not asked: {destination} {why}, so nobody knows from here what it holds")
    total = sum(found.troubles.values())
    say(f"{total} discrepancies" if total else "everything is where it should be")


def _as_json(found: Reconciliation, listed: list[Discrepancy]) -> dict[str, object]:
    total = sum(found.troubles.values())
    return {
        "ok": not total,
        "counts": dict(sorted(found.counts.items())),
        "troubles": {str(trouble): count for trouble, count in found.troubles.items()},
        "not_asked": list(found.not_asked),
        "discrepancies": [{"trouble": one.trouble, "uid": one.uid, "where": one.where, "do": one.do} for one in listed],
        "not_listed": total - len(listed),
    }
