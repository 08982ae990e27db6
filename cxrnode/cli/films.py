"""`cxrnode replay`, `cxrnode demo` and `cxrnode phantom`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrnode.cli.app import STOPPED, Json, app, say, say_aside, say_json, say_table, settings
from cxrnode.domain.reasons import REASONS
from cxrnode.errors import NeedsOperator

if TYPE_CHECKING:
    from cxrnode.domain.capability import Kind
    from cxrnode.replay import Summary
    from cxrnode.settings import Settings


@app.command()
def replay(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Folders, files, zip archives, DICOMDIR.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for evidence, overlays and findings.csv.")],
    to: Annotated[list[str] | None, typer.Option("--to", help="Send to this configured destination too.")] = None,
    objects: Annotated[
        str | None, typer.Option(help="Kinds with commas, of SEG, SR, GSPS, SC, PDF, PAGES, KOS; else SEG and SR.")
    ] = None,
    overlays: Annotated[bool, typer.Option(help="Draw a PNG of each analysed image.")] = True,
    models: Annotated[
        str | None, typer.Option(help="Names with commas, default, or all in models.folder; else models.enabled.")
    ] = None,
    withheld: Annotated[bool, typer.Option("--withheld", help="State findings that a card withholds, too.")] = False,
    json: Json = False,
) -> None:
    """Run the same line over files. A run that was stopped goes on where it was."""
    from cxrnode import discretion, telemetry
    from cxrnode.cli.bar import progress_bar
    from cxrnode.replay import WORK, Replay

    discretion.keep_to_itself()
    in_force = _with_models(settings(), models, withheld=withheld)
    telemetry.start_logging("WARNING" if in_force.log.level == "INFO" else in_force.log.level)
    telemetry.guard_tracebacks()
    if in_force.log.uids == "hashed":
        telemetry.hash_uids(discretion.salt_in(out / WORK))
    run = Replay(in_force, sources, out, destinations=to or (), objects=_kinds(objects), overlays=overlays)
    try:
        with progress_bar(silent=json) as report:
            summary = run.run(report)
    except KeyboardInterrupt as stopped:
        say_aside("stopped; give the same command again to go on from here")
        raise typer.Exit(STOPPED) from stopped
    if json:
        say_json(_as_json(summary))
    else:
        _say_summary(summary, out)
    if summary.parked or summary.unopened or summary.undelivered:
        raise typer.Exit(1)


def _kinds(names: str | None) -> tuple[Kind, ...]:
    """Give the kinds of objects of a command line. NeedsOperator for one that there is not."""
    from cxrnode.domain.capability import Kind

    known = {str(kind): kind for kind in Kind if kind is not Kind.REJECTION}
    named = [name.strip().upper() for name in (names or "").split(",") if name.strip()]
    for name in named:
        if name not in known:
            raise NeedsOperator("no such kind of object", operation="replay", subject=name, hint=", ".join(known))
    return tuple(known[name] for name in dict.fromkeys(named))


def _with_models(in_force: Settings, models: str | None, *, withheld: bool) -> Settings:
    """Give the settings with the models of a command line; the rules of the node do not hold for a replay."""
    from cxrnode.inference.shelf import bundles_in

    chosen: str | tuple[str, ...] = in_force.models.enabled
    if models == "all":
        chosen = tuple(bundles_in(in_force.models.folder))
    elif models:
        chosen = "default" if models == "default" else tuple(name.strip() for name in models.split(","))
    stated = in_force.models.model_copy(
        update={"enabled": chosen, "state_withheld": withheld or in_force.models.state_withheld}
    )
    return in_force.model_copy(update={"models": stated})


def _as_json(summary: Summary) -> dict[str, Any]:
    return {
        "outcomes": dict(summary.outcomes),
        "unopened": summary.unopened,
        "parked": summary.parked,
        "undelivered": summary.undelivered,
        "findings": str(summary.findings),
    }


def _say_summary(summary: Summary, out: Path) -> None:
    rows = [
        (count, f"not analysed: {REASONS[outcome].text}" if outcome in REASONS else outcome)
        for outcome, count in summary.outcomes.most_common()
    ]
    say_table("Outcomes", ("files", "outcome"), rows)
    for line in summary.unopened:
        say(f"could not be opened: {line}")
    for count, what in ((summary.parked, "jobs"), (summary.undelivered, "deliveries")):
        if count:
            say(f"{count} {what} are parked: CXRNODE_NODE__STATE_DIR={out / '.cxrnode'} cxrnode jobs list")
    say(f"table: {summary.findings}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="A folder of the demo's own, emptied first.")] = Path("demo-out"),
    film: Annotated[
        Path | None, typer.Option(help="A radiograph of your own: DICOM, or a JPEG or PNG, wrapped as one.")
    ] = None,
    json: Json = False,
) -> None:
    """Start a node and an embedded archive on loopback, push a radiograph, show what comes back from every model."""
    from cxrnode.demo import run_demo

    shown = run_demo(out, film=film, say=(lambda line: None) if json else say)
    if json:
        say_json(shown)


@app.command()
def phantom(
    names: Annotated[list[str] | None, typer.Argument(help="Names from --list; all where none is given.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("phantoms"),
    listed: Annotated[bool, typer.Option("--list", help="List the names and end.")] = False,
    seed: Annotated[int | None, typer.Option(help="Another seed draws another patient.")] = None,
    json: Json = False,
) -> None:
    """Write synthetic radiographs with known truth: every view, transfer syntax, orientation and defect."""
    from cxrnode.phantom import catalogue, write_catalogue

    if listed:
        entries = [(entry.name, entry.about) for entry in catalogue()]
        if json:
            say_json(dict(entries))
        else:
            say_table("Phantoms", ("name", "what it is"), entries)
        return
    try:
        paths = write_catalogue(out, names or None, seed=seed)
    except KeyError as error:
        raise NeedsOperator(str(error.args[0]), operation="phantom") from error
    if json:
        say_json([str(path) for path in paths])
    else:
        say(f"{len(paths)} files in {out}")
