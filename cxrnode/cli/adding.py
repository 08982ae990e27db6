"""`cxrnode models add`."""

from __future__ import annotations

import json as jsonlib
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrnode.cli.app import Json, say, say_json, settings
from cxrnode.cli.bundles import models

if TYPE_CHECKING:
    from cxrnode.settings import Settings
    from cxrnode.trial import Candidate, Trial


class OutputKind(StrEnum):
    """What a network's output is."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    DETECTION = "detection"


@models.command()
def add(
    path: Annotated[Path, typer.Argument(help="Folder of a MONAI bundle, as in the Model Zoo.")],
    name: Annotated[str | None, typer.Option(help="What to call it here; else the folder's name.")] = None,
    kind: Annotated[
        OutputKind | None, typer.Option(help="What its output is, where its metadata does not tell.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Empty folder for what it writes of the phantom; else a new one.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of the bundle of that name.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Try a bundle on the phantom, show what evidence it would write, and put it among the models, switched off."""
    from cxrnode import telemetry
    from cxrnode.trial import candidate

    telemetry.start_logging("ERROR")
    in_force = settings()
    called = name or path.resolve().name
    shown = out or Path(tempfile.mkdtemp(prefix="cxrnode-trial-"))
    ask = not (yes or json)
    with candidate(in_force, path, name=called, kind=kind.value if kind else None) as tried:
        tried.check_room(replace=replace)
        if tried.bundle.made and not json:
            _say_block(tried.bundle.block)
        trial = tried.run(shown)
        if not json:
            _say_trial(trial)
        if ask:
            typer.confirm(f"Put it into {in_force.models.folder} as {called}, switched off?", abort=True)
        target = tried.put(replace=replace)
    if json:
        say_json(_as_json(tried, trial, target))
    else:
        say(f"It lies in {target} and is switched off. This in the settings, and a restart, switch it on:")
        say(f"  [models]\n  enabled = {jsonlib.dumps([*_enabled(in_force, called), called])}")


def _say_block(block: dict[str, Any]) -> None:
    say("The bundle says nothing of how its output is to be read. Proposed for its metadata.json, not measured:")
    for line in jsonlib.dumps({"cxrnode": block}, indent=2).splitlines():
        say(f"  {line}")


def _say_trial(trial: Trial) -> None:
    card = trial.card
    say(f"{card.name} {card.version}, {card.kind} of {', '.join(card.labels)}; licence: {card.licence}")
    say(f"digest {card.digest}, weights {card.weights_sha256}")
    say("On the phantom, a chest with a pneumothorax on the right and an opacity in the left lung, it would write:")
    if trial.refused:
        say(f"  nothing was analysed, because {trial.refused}")
    for one in trial.evidence:
        say(f"  {one.kind}, {one.size} bytes: {one.path}")
        for line in one.states:
            say(f"    {line}")
    if trial.overlay:
        say(f"  overlay: {trial.overlay}")


def _enabled(in_force: Settings, added: str) -> list[str]:
    """Give the names of what runs now, but for the one that was added; none where there is nothing else."""
    from cxrnode.inference.bundle import read_card
    from cxrnode.inference.shelf import bundles_in

    if in_force.models.enabled != "default":
        return [name for name in in_force.models.enabled if name != added]
    found = bundles_in(in_force.models.folder)
    return [name for name, path in found.items() if name != added and read_card(path).enabled_by_default]


def _as_json(tried: Candidate, trial: Trial, target: Path) -> dict[str, Any]:
    return {
        "name": tried.bundle.name,
        "folder": target,
        "digest": trial.card.digest,
        "kind": trial.card.kind,
        "proposed": tried.bundle.made,
        "block": tried.bundle.block,
        "refused": trial.refused,
        "evidence": [
            {"kind": one.kind, "path": one.path, "bytes": one.size, "states": one.states} for one in trial.evidence
        ],
        "overlay": trial.overlay,
        "enabled": False,
    }
