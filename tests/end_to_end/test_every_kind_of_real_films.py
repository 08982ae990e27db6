"""Every kind of object of real films, by every model: the node's own inspection keeps none of them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrnode.domain.capability import Kind
from cxrnode.inference.shelf import bundles_in
from cxrnode.ledger import SqliteLedger
from cxrnode.replay import WORK, Replay
from cxrnode.settings import load
from tests.films import films

EVERYTHING = tuple(kind for kind in Kind if kind is not Kind.REJECTION)


@pytest.mark.data
def test_nothing_of_real_films_is_objected_to(data: Path, tmp_path: Path) -> None:
    """Headers of many makers, films with pneumothorax, opacities and none; each analysed one gives every kind."""
    wrapped = tmp_path / "films"
    films(data, "pneumothorax", wrapped, most=3, positive="1")
    films(data, "opacity", wrapped, most=2)
    settings = load()
    models = {"enabled": tuple(bundles_in(settings.models.folder)), "state_withheld": True}
    in_force = load(models=models, listener={"free_space_floor_mb": 0})
    out = tmp_path / "out"
    Replay(in_force, [data / "dicom", wrapped], out, objects=EVERYTHING, overlays=False).run(lambda stand: None)
    with SqliteLedger.open(out / WORK / "ledger.sqlite", incarnation="look", exclusive=False) as ledger:
        analysed = {one.study_uid for one in ledger.outcomes() if one.code == ""}
        evidence = [one for study in analysed for one in ledger.evidence_of(study)]
    assert {one.sop_instance_uid: one.objection for one in evidence if one.objection} == {}
    assert {one.kind.split()[0] for one in evidence} == set(EVERYTHING)
    assert len(analysed) >= 7
