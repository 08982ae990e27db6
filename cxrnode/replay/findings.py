"""findings.csv: one row an instance, for a researcher's table program or script.

Hides the ledger's rows. Promises a row for every instance that was read, with its outcome or its own reason, and no
patient data beyond the DICOM UIDs and the file's own name.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cxrnode.domain.selection import REASONS
from cxrnode.ledger import InstanceView

_MEASURED = (
    "cardiothoracic_ratio",
    "right_lung.area",
    "left_lung.area",
    "lung_asymmetry",
)
COLUMNS = (
    "file", "outcome", "reason", "study_uid", "series_uid", "sop_instance_uid", "modality", "view", "models",
    *_MEASURED, "area_unit", "absent", "findings", "missing", "caveats", "segmentations", "report", "overlay",
)  # fmt: skip


def write_findings(outcomes: Iterable[InstanceView], out: Path, file: Path) -> Counter[str]:
    """Write the table to `file`; give the rows counted by outcome. Paths in it are relative to `out`."""
    counted: Counter[str] = Counter()
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.DictWriter(opened, COLUMNS)
        table.writeheader()
        for outcome in outcomes:
            row = _row(outcome, out)
            counted[row["outcome"]] += 1
            table.writerow(row)
    return counted
