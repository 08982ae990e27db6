"""findings.csv: one row a file, for a researcher's table program or script.

Hides the ledger's rows. Promises a row for every file that was found, with its outcome or its own reason, and no
patient data beyond the DICOM UIDs and the file's own name.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxrnode.domain.identity import file_stem
from cxrnode.domain.reasons import REASONS
from cxrnode.ledger.views import InstanceView

_MEASURED = (
    "cardiothoracic_ratio", "right_lung.area", "left_lung.area", "lung_asymmetry",
    "right_pneumothorax.hemithorax_share", "left_pneumothorax.hemithorax_share",
)  # fmt: skip
COLUMNS = (
    "file", "outcome", "reason", "study_uid", "series_uid", "sop_instance_uid", "modality", "view", "models",
    *_MEASURED, "area_unit", "absent", "present", "indeterminate", "findings", "missing", "caveats", "segmentations",
    "report", "overlay",
)  # fmt: skip

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a table program takes for a formula."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A file that brought no instance of its own: what kept it from that, and the instance that it repeats."""

    file: Path
    outcome: str
    """`duplicate` or `not opened`."""
    reason: str
    sop_instance_uid: str = ""


def write_findings(outcomes: Iterable[InstanceView], asides: Iterable[Aside], out: Path, file: Path) -> Counter[str]:
    """Write the table to `file`; give its rows counted by outcome. Paths of evidence and overlays are below `out`."""
    counted: Counter[str] = Counter()
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.DictWriter(opened, COLUMNS)
        table.writeheader()
        for outcome in outcomes:
            counted[outcome.code or _outcome(outcome)["outcome"]] += 1
            table.writerow(_row(outcome, out))
        for aside in asides:
            counted[aside.outcome] += 1
            table.writerow({name: _plain(str(value)) for name, value in asdict(aside).items()})
    return counted


def _row(view: InstanceView, out: Path) -> dict[str, Any]:
    summary = view.summary or {}
    results: Sequence[Mapping[str, Any]] = summary.get("results", ())
    picture = Path("overlays") / f"{file_stem(view.sop_instance_uid)}.png"
    return {
        "file": _plain(view.key),
        **_outcome(view),
        "study_uid": _plain(view.study_uid),
        "series_uid": _plain(view.series_uid),
        "sop_instance_uid": _plain(view.sop_instance_uid),
        "modality": _plain(view.modality),
        "view": summary.get("view", ""),
        "models": " ".join(result["model"] for result in results),
        **_numbers(results),
        "absent": " ".join(label for result in results for label in result["absent"]),
        "present": _judged(results, "present"),
        "indeterminate": _judged(results, "indeterminate"),
        "findings": json.dumps({r["model"]: r["findings"] for r in results if r["findings"]}) if results else "",
        "missing": " ".join(f"{name}:{why}" for name, why in summary.get("missing", ())),
        "caveats": "; ".join(summary.get("caveats", ())),
        "segmentations": " ".join(view.segmentations),
        "report": view.report,
        "overlay": picture if (out / picture).is_file() else "",
    }


def _plain(text: str | None) -> str:
    """Give what a header or a file system states so that no table program calculates it, and any encoding takes it."""
    stated = (text or "").encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{stated}" if stated.startswith(_FORMULA) else stated


def _outcome(view: InstanceView) -> dict[str, str]:
    if view.code:
        return {"outcome": "not analysed", "reason": f"{view.code}: {REASONS[view.code].text}"}
    if view.summary is None:
        return {"outcome": "undecided", "reason": "its job has not ended: it is parked, or the run was stopped"}
    return {"outcome": "analysed"}


def _judged(results: Sequence[Mapping[str, Any]], presence: str) -> str:
    """Give the findings that a model judged so, by name; which model it was stands in `findings`."""
    named = {
        name for result in results for name, judged in result["findings"].items() if judged["presence"] == presence
    }
    return " ".join(sorted(named))


def _numbers(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    measured = {name: number for result in results for name, number in result["measurements"].items()}
    units = sorted({number["unit"] for name, number in measured.items() if name.endswith(".area")})
    numbers = {name: measured[name]["value"] for name in _MEASURED if name in measured}
    return {**numbers, "area_unit": " ".join(units)}
