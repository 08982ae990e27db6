"""`cxrnode demo`: the main job, once, on embedded defaults.

Hides the set-up: a node and an archive in one process on loopback, a phantom, a folder of its own. Promises that what
it prints came back from the archive, that every bundle of the folder runs (those that a node leaves off are named, with
the reason), and equal SHA-256 of the evidence from every run on one machine.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cxrnode import telemetry
from cxrnode.domain.finding import ImagePrediction, ImageResult
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.selection import NotSuitable, select
from cxrnode.domain.study import Arrival, Description, Instance, Sender
from cxrnode.domain.wording import sentences
from cxrnode.errors import NeedsOperator
from cxrnode.evidence.overlay import overlay
from cxrnode.inference.bundle import read_card
from cxrnode.inference.shelf import bundles_in
from cxrnode.ledger.views import JobDetails
from cxrnode.node import Node
from cxrnode.phantom import Radiograph, write
from cxrnode.phantom.wrap import wrap_file
from cxrnode.pixels.header import HeaderReader
from cxrnode.settings import Settings, load
from cxrnode.testing import Pacs, send, start_pacs

MARK = "this-folder-is-the-demo's"
_DEADLINE_SECONDS = 300.0
_PLAIN = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
"""Suffixes of pictures that are wrapped; anything else is taken for DICOM."""

Say = Callable[[str], None]


def run_demo(out: Path, *, say: Say, film: Path | None = None) -> dict[str, Any]:
    """Push a radiograph to a node and wait until its evidence is committed; say it, and give it as values for a script.

    `film`: a DICOM radiograph, or a JPEG or PNG to be wrapped as one; a phantom where none is given. Raises
    NeedsOperator where `out` holds something else, the film is none for a model, or the evidence does not come.
    """
    out = _emptied(out.absolute())
    telemetry.start_logging("ERROR")
    film = _film(film, out / "radiograph.dcm")
    pictures: dict[str, bytes] = {}
    with start_pacs(folder=out / "archive") as pacs:
        node = Node(_settings(out, pacs), preview=True, seen=_drawing(pictures))
        node.start()
        try:
            pacs.knows(node.listener.port, node.settings.node.ae_title)
            say(f"node {node.settings.node.ae_title} listens on port {node.listener.port}")
            say(f"archive {pacs.ae_title} listens on port {pacs.port}")
            _warm_up(node)
            started = _push(film, node, say)
            details = _committed(node, pacs)
            seconds = time.monotonic() - started
        finally:
            node.stop()
    shown = _shown(details, pacs, pictures, out, seconds) | {"models": _models(node.settings)}
    _say(shown, say)
    return shown


def _emptied(out: Path) -> Path:
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise NeedsOperator(
            "the folder holds something that is not the demo's", subject=str(out), hint="give another --out"
        )
    shutil.rmtree(out, ignore_errors=True)
    (out / "archive").mkdir(parents=True)
    (out / MARK).touch()
    return out


def _film(given: Path | None, path: Path) -> Path:
    """Put the radiograph at `path`: the phantom, a copy of the given file, or the given picture wrapped."""
    if given is None:
        write(Radiograph(), path)
        return path
    if not given.is_file():
        raise NeedsOperator("no such file", operation="demo", subject=str(given), hint="check --film")
    if given.suffix.lower() in _PLAIN:
        return wrap_file(given, path)
    shutil.copyfile(given, path)
    chosen = select(_described(path).facts, children=True)
    if isinstance(chosen, NotSuitable) and not chosen.reason.candidate:
        raise NeedsOperator(f"no model looks at it: {chosen.reason.text}", operation="demo", subject=str(given))
    return path


def _described(path: Path) -> Description:
    sender = Sender(calling_ae=AETitle("DEMO"), called_ae=AETitle("DEMO"), address="", association="demo")
    arrival = Arrival(
        path=path, sop_class_uid="", sop_instance_uid=InstanceUID(""), transfer_syntax_uid="", sender=sender
    )
    return HeaderReader().describe(arrival)


def _settings(out: Path, pacs: Pacs) -> Settings:
    """Give a node with every bundle of the folder, whatever a node would leave off or withhold by default."""
    folder = load().models.folder
    return load(
        models={"folder": folder, "enabled": tuple(bundles_in(folder)), "state_withheld": True},
        node={"port": 0, "state_dir": out / "state"},
        studies={"quiet_seconds": 0.5},
        web={"enabled": False},
        listener={"free_space_floor_mb": 0},
        destinations=[
            {
                "name": "archive",
                "ae_title": pacs.ae_title,
                "port": pacs.port,
                "commitment": "required",
                "not_analysed": True,
            },
        ],
        rules=[],
    )


def _drawing(pictures: dict[str, bytes]) -> Callable[[Instance, ImagePrediction, ImageResult | None], None]:
    def draw(source: Instance, answer: ImagePrediction, result: ImageResult | None) -> None:
        if result is not None and answer.preview is not None:
            pictures[source.uid] = overlay(
                np.asarray(answer.preview), result, (source.facts.rows, source.facts.columns)
            )

    return draw


def _warm_up(node: Node) -> None:
    """Wait for the models, so that the time shown is the line's and not the loading's. Raises what keeps them."""
    node.engine.predictor.identities(_DEADLINE_SECONDS)


def _push(film: Path, node: Node, say: Say) -> float:
    (status,) = send([film], (node.settings.node.host, node.listener.port, node.settings.node.ae_title))
    if status != 0:
        raise NeedsOperator(f"the node answered C-STORE with 0x{status & 0xFFFF:04X}", operation="demo")
    say(f"pushed {film} by C-STORE: 0x0000, Success")
    return time.monotonic()


def _committed(node: Node, pacs: Pacs) -> JobDetails:
    """Wait until the ledger says that the archive committed to all evidence of the job."""
    ledger = node.engine.ledger

    def done() -> bool:
        found = ledger.find_jobs()
        evidence = ledger.job_details(found[0].job).evidence if found else ()
        deliveries = [delivery for one in evidence for delivery in one.deliveries]
        return bool(deliveries) and all(delivery.committed_at for delivery in deliveries)

    try:
        pacs.wait_for(done, _DEADLINE_SECONDS)
    except TimeoutError as error:
        hint = f"CXRNODE_NODE__STATE_DIR={node.settings.node.state_dir} cxrnode jobs list"
        raise NeedsOperator("the evidence did not come", operation="demo", hint=hint) from error
    return ledger.job_details(ledger.find_jobs()[0].job)


def _shown(details: JobDetails, pacs: Pacs, pictures: Mapping[str, bytes], out: Path, seconds: float) -> dict[str, Any]:
    (member,) = details.members
    picture = out / "overlay.png"
    if member.sop_instance_uid in pictures:
        picture.write_bytes(pictures[member.sop_instance_uid])
    objects = [
        {
            "kind": one.kind.split()[0],
            "model": one.model,
            "path": str(pacs.kept[one.sop_instance_uid]),
            "sha256": _sha256(pacs.kept[one.sop_instance_uid]),
        }
        for one in details.evidence
    ]
    return {
        "evidence": objects,
        "findings": sentences(member.outcome or "", member.summary or {}),
        "summary": dict(member.summary or {}),
        "overlay": str(picture) if picture.is_file() else "",
        "seconds_from_response_to_committed": round(seconds, 2),
    }


def _models(settings: Settings) -> list[dict[str, Any]]:
    """Give what ran, and what of it a node leaves off or withholds by default."""
    cards = {name: read_card(path) for name, path in bundles_in(settings.models.folder).items()}
    return [
        {
            "name": name,
            "version": card.version,
            "kind": card.kind,
            "enabled_by_default": card.enabled_by_default,
            "disabled_because": card.disabled_because,
            "withheld": {rule.name: rule.withheld for rule in card.findings if rule.withheld},
        }
        for name, card in cards.items()
    ]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _say(shown: Mapping[str, Any], say: Say) -> None:
    say("\ncame back to the archive, and committed:")
    for one in shown["evidence"]:
        of = f" of {one['model']}" if one["model"] else ""
        say(f"  {one['kind']}  {one['path']}{of}\n       sha256 {one['sha256']}")
    say("\nwhat was found:")
    for sentence in shown["findings"]:
        say(f"  {sentence}")
    say("\nthe models:")
    for model in shown["models"]:
        for line in _about(model):
            say(f"  {line}")
    say(f"\noverlay: {shown['overlay'] or 'none'}")
    say(f"from the C-STORE response to committed evidence: {shown['seconds_from_response_to_committed']} s")
    say("Research use, not a medical device.")


def _about(model: Mapping[str, Any]) -> Iterator[str]:
    off = "" if model["enabled_by_default"] else f"; off by default: {model['disabled_because']}"
    yield f"{model['name']} {model['version']}, {model['kind']}{off}"
    for finding, why in model["withheld"].items():
        yield f"  {finding.replace('_', ' ')} is not stated by default: {why}"
