"""`cxrnode spool`: what is in the spool, what may go, and a copy of it all; beside a running node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrnode.cli.app import Json, app, say, say_json, say_table, settings
from cxrnode.cli.operator import audited, opened_ledger
from cxrnode.errors import NeedsOperator

if TYPE_CHECKING:
    from cxrnode.pipeline.retaining import Retaining, Survey, Tally

spool = typer.Typer(help="Show, sweep and back up what the node keeps.", no_args_is_help=False)
app.add_typer(spool, name="spool")

_INSIDE = "it lies in the state folder itself"
_DIFFER = "see 'Is everything there?' in docs/operations.md: `cxrnode check --reconcile --bytes` names them"
_BUSY = "a sweep or a backup runs: try again when it has ended"


@contextmanager
def _retaining() -> Iterator[Retaining]:
    from cxrnode.dimse.sender import Sender
    from cxrnode.node import retaining_of, spool_of

    in_force = settings()
    # Nobody is asked to commit from here: the reports come to the node.
    nobody = Sender(ae_title=in_force.node.ae_title, report=lambda report: False)
    with opened_ledger() as ledger, audited() as trail:
        retaining = retaining_of(in_force, spool_of(in_force), ledger, nobody, trail, by_operator=True)
        assert retaining is not None  # a node's spool
        yield retaining


@spool.callback(invoke_without_command=True)
def show(context: typer.Context, json: Json = False) -> None:
    """Show what is in the spool, what goes with the next sweep, and why the rest stays."""
    if context.invoked_subcommand:
        return
    with _retaining() as retaining:
        survey = retaining.survey()
    if json:
        say_json(_as_json(survey))
    else:
        _say(survey)


def _as_json(survey: Survey) -> dict[str, object]:
    held = [
        {"what": what, "stand": stand, "count": tally.count, "bytes": tally.bytes, "oldest": tally.oldest}
        for (what, stand), tally in survey.tallies.items()
    ]
    return {"free_bytes": survey.free_bytes, "short": survey.short, "held": held}


def _say(survey: Survey) -> None:
    from cxrnode.domain.retention import SENTENCES

    rows = [
        (what, tally.count, _megabytes(tally.bytes), f"{tally.oldest:%Y-%m-%d}", SENTENCES[stand])
        for (what, stand), tally in survey.tallies.items()
    ]
    say_table("Spool", ("what", "files", "MB", "oldest", "stays or goes"), rows)
    short = ", below retention.below_free_mb: the oldest that may go are deleted" if survey.short else ""
    say(f"{_megabytes(survey.free_bytes)} MB are free{short}")


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f}"


@spool.command()
def sweep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    json: Json = False,
) -> None:
    """Delete now what the retention settings let go; the node does the same by itself."""
    with _retaining() as retaining:
        survey = retaining.survey()
        if json and dry_run:
            say_json(_as_json(survey))
            return
        if not json:
            _say(survey)
        if dry_run or (survey.going.count and not yes and not typer.confirm(_question(survey.going))):
            return
        swept = retaining.sweep()
    if swept is None:
        raise NeedsOperator(_BUSY, operation="sweep the spool")
    with audited() as trail:
        trail.commanded(f"spool sweep, {swept.count} files deleted")
    if json:
        say_json({"swept": swept.count, "bytes": swept.bytes})
    else:
        say(f"{swept.count} files deleted, {_megabytes(swept.bytes)} MB")


def _question(going: Tally) -> str:
    return f"delete {going.count} files, {_megabytes(going.bytes)} MB?"


@spool.command()
def backup(
    to: Annotated[Path, typer.Argument(help="The folder of the backup, best on another machine's disk.")],
) -> None:
    """Copy ledger and spool, while the node runs, into a folder that can take the place of the state folder.

    What an earlier backup into the same folder copied is not copied again. No sweep runs meanwhile.
    """
    from cxrnode.archive.backup import copy_all, copy_beside, finish, part_of
    from cxrnode.node import LEDGER_FILE, spool_of

    kept = spool_of(settings())
    if to.resolve().is_relative_to(kept.root.parent.resolve()):
        raise NeedsOperator(_INSIDE, operation="back up", subject=str(to), hint="name a folder elsewhere")
    with opened_ledger() as ledger, kept.alone() as alone:
        if not alone:
            raise NeedsOperator(_BUSY, operation="back up", subject=str(to))
        # The ledger first: a file without a row is adopted, a row without a file is not. Its name comes last.
        part = part_of(to)
        ledger.inventory.backup(part)
        keys = chain(kept.finished(), kept.finished_evidence())
        copied = copy_all(keys, kept.root, to, ledger.inventory.size_at)
        copy_beside(_beside(kept.root.parent), kept.root.parent, to)
        finish(part, LEDGER_FILE)
    with audited() as trail:
        trail.commanded("spool backup")
    say(f"{copied.files} files copied, {_megabytes(copied.bytes)} MB; {copied.there} were there already")
    if copied.differ:
        happened = f"{copied.differ} files are damaged; their copies of an earlier backup were left as they are"
        raise NeedsOperator(happened, operation="back up", subject=str(to), hint=_DIFFER)


def _beside(state: Path) -> list[str]:
    """Give what a state folder holds beside ledger and spool: the audit trail, and the salt of the log's hashes.

    How far the trail was sent comes first: read after the trail it could be further than what is copied of that.
    """
    found = (*state.glob("log-salt"), *state.glob("audit/forwarded.json"), *sorted(state.glob("audit/audit-*.xml")))
    return [str(path.relative_to(state)) for path in found]
