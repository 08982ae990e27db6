"""findings.csv: what the models judged, for a table program."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxrnode.domain.identity import InstanceUID, StudyUID
from cxrnode.domain.study import Patient
from cxrnode.ledger.views import InstanceView
from cxrnode.replay.findings import write_findings


def _judged(presence: str, probability: float) -> dict[str, Any]:
    return {"presence": presence, "probability": probability, "sides": [], "boxes": 0, "caveats": []}


def _result(model: str, measurements: dict[str, Any] | None = None, **findings: dict[str, Any]) -> dict[str, Any]:
    return {"model": model, "measurements": measurements or {}, "findings": findings, "absent": []}


def _row(folder: Path, results: list[dict[str, Any]]) -> dict[str, str]:
    view = InstanceView(
        row=1,
        key="film.dcm",
        study_uid=StudyUID("1.2"),
        series_uid="1.3",
        sop_instance_uid=InstanceUID("1.4"),
        sop_class_uid="1.5",
        modality="DX",
        patient=Patient(),
        received_at=datetime(2026, 1, 2, tzinfo=UTC),
        code="",
        summary={"view": "PA", "results": results, "missing": [], "caveats": []},
        segmentations=(),
        report="",
    )
    table = folder / "findings.csv"
    write_findings([view], [], folder, table)
    with table.open(encoding="utf-8", newline="") as opened:
        (row,) = csv.DictReader(opened)
    return row


def test_two_models_that_judge_one_finding_keep_their_own_words(tmp_path: Path) -> None:
    """Detector and classifier both speak of opacity: neither overwrites the other."""
    results = [
        _result("classifier", lung_opacity=_judged("indeterminate", 0.4), abnormal_chest=_judged("present", 0.9)),
        _result("opacity", lung_opacity=_judged("present", 0.8)),
    ]
    row = _row(tmp_path, results)
    said = json.loads(row["findings"])
    assert said["classifier"]["lung_opacity"]["probability"] == 0.4
    assert said["opacity"]["lung_opacity"]["probability"] == 0.8
    assert (row["present"], row["indeterminate"]) == ("abnormal_chest lung_opacity", "lung_opacity")


def test_the_size_of_a_pneumothorax_has_a_column_for_each_side(tmp_path: Path) -> None:
    """As a share of the hemithorax; empty where none was found."""
    share = {"right_pneumothorax.hemithorax_share": {"value": 12.5, "unit": "%"}}
    row = _row(tmp_path, [_result("pneumothorax", share, pneumothorax=_judged("present", 0.9))])
    assert row["right_pneumothorax.hemithorax_share"] == "12.5"
    assert row["left_pneumothorax.hemithorax_share"] == ""


def test_a_film_without_judged_findings_has_empty_columns(tmp_path: Path) -> None:
    """A lung model alone judges nothing."""
    row = _row(tmp_path, [_result("lungs")])
    assert (row["present"], row["indeterminate"], row["findings"]) == ("", "", "{}")
