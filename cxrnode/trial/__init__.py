"""`cxrnode models add`: a bundle of somebody else's is tried before it lies among the others.

Hides what is tried, and in which order. Promises that nothing of the bundle runs before its configuration was read and
its network is an allowed one, that what is shown was written by the same line that a node runs, and that the bundle is
put into the folder of models only when all of it went well, and stays off there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from cxrnode.errors import NeedsOperator
from cxrnode.evidence.outline import outline
from cxrnode.inference.bundle import BundleCard, Network, check_size, verify
from cxrnode.inference.card import Kind
from cxrnode.inference.configuration import reason
from cxrnode.inference.reading import answers
from cxrnode.inference.shelf import check_room, put
from cxrnode.phantom import Opacity, Pneumothorax, Radiograph, Side, write
from cxrnode.pixels.normalise import prepare
from cxrnode.replay import Replay
from cxrnode.settings import Settings
from cxrnode.trial.proposal import check_concepts
from cxrnode.trial.staging import Staged, staged

__all__ = ["Candidate", "Kind", "Staged", "Trial", "Written", "candidate"]

_HINT = "docs/operations.md, Bringing a model"
LESIONS = (Pneumothorax(side=Side.RIGHT, share=0.3), Opacity(side=Side.LEFT))
"""What the phantom of the trial has, so that a model has something to find."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One evidence object of the trial: SEG or SR, its file, and what it states, a line each."""

    kind: str
    path: Path
    size: int
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a bundle came to on the phantom. `refused`: why the line analysed nothing, empty where it did."""

    card: BundleCard
    evidence: tuple[Written, ...]
    overlay: Path | None
    refused: str


class Candidate:
    """A bundle on trial. `put` lays it among the others, once `run` went well."""

    def __init__(self, settings: Settings, bundle: Staged) -> None:
        """Take a staged copy; use `candidate`."""
        self.bundle = bundle
        self._settings = settings
        self._passed = False

    def run(self, out: Path) -> Trial:
        """Check weights, labels, network and form, then run the line on the phantom; files go below `out`.

        Raises ModelAltered for weights that are not the pinned ones, UnknownConcept for a label that no code says, and
        NeedsOperator, with file and line where it is about the configuration, for anything else.
        """
        card = verify(self.bundle.path)
        check_concepts(card)
        _check_form(card, self.bundle.path)
        row = _replayed(self._settings, self.bundle, out)
        self._passed = True
        return Trial(
            card=card,
            evidence=tuple(_written(path) for path in sorted((out / "evidence").rglob("*.dcm"))),
            overlay=out / row["overlay"] if row.get("overlay") else None,
            refused="" if row["outcome"] == "analysed" else row["reason"],
        )

    def check_room(self, *, replace: bool) -> None:
        """Raise NeedsOperator where the name is taken and `replace` is false: before a minute goes into the trial."""
        check_room(self._settings.models.folder / self.bundle.name, replace=replace)

    def put(self, *, replace: bool = False) -> Path:
        """Lay the bundle among the others; give where. NeedsOperator where its name is taken, or it was not tried."""
        if not self._passed:
            raise NeedsOperator("the bundle was not tried", operation="models add", subject=self.bundle.name)
        target = self._settings.models.folder / self.bundle.name
        put(self.bundle.path, target, replace=replace)
        return target


@contextmanager
def candidate(settings: Settings, source: Path, *, name: str, kind: Kind | None = None) -> Iterator[Candidate]:
    """Give the bundle at `source` as a candidate; its copy is gone afterwards unless it was put among the others."""
    with staged(source, settings.models.folder, name=name, kind=kind) as bundle:
        yield Candidate(settings, bundle)


def _check_form(card: BundleCard, path: Path) -> None:
    """Run the network once on chance and read what it gives as the node would: the form has to be the card's."""
    chance = np.random.default_rng(1).random((card.input_size, card.input_size), dtype=np.float32)
    picture, letterbox = prepare(chance, card.input_size, 1.0)
    check_size(path)
    network = Network.load(path)
    try:
        said = network.predict(picture[None, None])[0]
        answers(card, said, letterbox)
    except Exception as cause:
        happened = f"the network does not give what metadata.json says ({reason(cause)})"
        raise NeedsOperator(happened, operation="models add", subject=card.name, hint=_HINT) from cause
    if not np.isfinite(said).all():
        raise NeedsOperator("the network gives what is no number", operation="models add", subject=card.name)


def _replayed(settings: Settings, bundle: Staged, out: Path) -> dict[str, str]:
    """Run the line with this one bundle over the phantom; give the phantom's row of findings.csv."""
    alone = settings.models.model_copy(
        update={"folder": bundle.path.parent, "enabled": (bundle.name,), "state_withheld": True}
    )
    film = _empty(out) / "phantom.dcm"
    write(Radiograph(lesions=LESIONS), film)
    Replay(settings.model_copy(update={"models": alone}), [film], out).run(lambda stand: None)
    with (out / "findings.csv").open(encoding="utf-8", newline="") as table:
        (row,) = csv.DictReader(table)
    _check_answer(row, bundle.name)
    return row


def _empty(out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise NeedsOperator("the folder is not empty", operation="models add", subject=str(out), hint="another --out")
    return out


def _check_answer(row: dict[str, str], name: str) -> None:
    failed = row["reason"].startswith("model_failed") or f"{name}:model_failed" in row["missing"]
    if failed or row["outcome"] == "undecided":
        happened = row["reason"] or row["missing"] or "no answer"
        raise NeedsOperator(f"the model failed on the phantom ({happened})", operation="models add", subject=name)


def _written(path: Path) -> Written:
    kind = str(pydicom.dcmread(path, specific_tags=["Modality"]).Modality)
    return Written(kind=kind, path=path, size=path.stat().st_size, states=outline(path))
