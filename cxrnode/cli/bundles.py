"""`cxrnode models` list, show, verify; and what the other commands on models take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrnode.cli.app import Json, app, say, say_json, say_table, settings
from cxrnode.errors import CxrnodeError, NeedsOperator

if TYPE_CHECKING:
    from cxrnode.inference.bundle import BundleCard

models = typer.Typer(help="See which models run, add one; train, calibrate and measure them.", no_args_is_help=True)
app.add_typer(models, name="models")


Name = Annotated[str, typer.Argument(help="The model's name.")]
Data = Annotated[Path, typer.Option("--data", envvar="CXRNODE_DATA", help="Folder of the data sets.")]


@models.command("list")
def list_models(json: Json = False) -> None:
    """List the bundles in models.folder: which run, and why the others do not."""
    from cxrnode.inference.shelf import bundles_in

    in_force = settings().models
    listed = [_listed(name, folder, in_force.enabled) for name, folder in bundles_in(in_force.folder).items()]
    if json:
        say_json(listed)
        return
    rows = [
        (one["name"], one["version"], one["kind"], "yes" if one["enabled"] else "no", one["digest"][:12], _finds(one))
        for one in listed
    ]
    say_table(f"Models in {in_force.folder}", ("name", "version", "kind", "enabled", "digest", "finds"), rows)
    for one in listed:
        for remark in _remarks(one):
            say(f"{one['name']} {remark}")


@models.command()
def show(name: Name, json: Json = False) -> None:
    """Show a model's card."""
    from cxrnode.inference.bundle import read_card

    folder = folder_of(name)
    card = read_card(folder)
    if json:
        say_json({**_brief(name, card, settings().models.enabled), "metrics": dict(card.metrics)})
        return
    text = folder / "docs" / "README.md"
    say(text.read_text(encoding="utf-8") if text.is_file() else card.intended_use)
    say(f"digest {card.digest}")


@models.command()
def verify(name: Annotated[str | None, typer.Argument(help="One model; else all enabled ones.")] = None) -> None:
    """Check that weights are the ones their card pins. Exit code 1 if not."""
    from cxrnode.inference.bundle import verify as verify_bundle
    from cxrnode.inference.shelf import enabled_by_default

    in_force = settings().models
    enabled = enabled_by_default(in_force.folder) if in_force.enabled == "default" else in_force.enabled
    for one in [name] if name else enabled:
        card = verify_bundle(folder_of(one))
        say(f"{card.name} {card.version}: weights are as pinned, digest {card.digest}")


def folder_of(name: str) -> Path:
    """Give a model's folder in models.folder. Raises NeedsOperator where there is none."""
    folder = settings().models.folder / name
    if not folder.is_dir():
        raise NeedsOperator("no such model", subject=name, hint="`cxrnode models list` names them")
    return folder


def _listed(name: str, folder: Path, enabled: str | Sequence[str]) -> dict[str, Any]:
    """Give what is listed of a bundle; one that cannot be read is listed with the reason, for the others' sake."""
    from cxrnode.inference.bundle import read_card

    try:
        return _brief(name, read_card(folder), enabled)
    except CxrnodeError as error:
        named = enabled != "default" and name in enabled
        return {"name": name, "version": "", "kind": "", "enabled": named, "digest": "", "unreadable": str(error)}


def _finds(listed: Mapping[str, Any]) -> str:
    return ", ".join(listed.get("findings") or listed.get("labels", ()))


def _remarks(listed: Mapping[str, Any]) -> Iterator[str]:
    """Say why a bundle cannot be read, why it is off, and why it withholds a finding."""
    if "unreadable" in listed:
        yield f"cannot be read: {listed['unreadable']}"
        return
    if not listed["enabled"]:
        yield f"is off: {listed['disabled_because'] or 'not in models.enabled'}"
    yield from (f"withholds {finding}: {why}" for finding, why in listed["findings"].items() if why)


def _brief(name: str, card: BundleCard, enabled: str | Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "version": card.version,
        "kind": card.kind,
        "enabled": card.enabled_by_default if enabled == "default" else name in enabled,
        "enabled_by_default": card.enabled_by_default,
        "disabled_because": card.disabled_because,
        "digest": card.digest,
        "weights_sha256": card.weights_sha256,
        "channels": list(card.channels),
        "labels": list(card.labels),
        "findings": {rule.name: rule.withheld for rule in card.findings},
        "operating_points": dict(card.operating_points),
        "licence": card.licence,
        "intended_use": card.intended_use,
    }
