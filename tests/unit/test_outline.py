"""What an evidence object states, read back from its file."""

from __future__ import annotations

from pathlib import Path

from cxrnode.domain.delivery import Geometry
from cxrnode.evidence.outline import outline
from tests.evidence_cases import case, composer, kept


def test_the_segments_of_a_seg_are_named_with_their_codes(tmp_path: Path) -> None:
    """One line each, with the side."""
    made = case(tmp_path)
    path = kept(tmp_path, composer().segmentation(made.source, made.path, made.result, Geometry.VIEWER))
    lines = outline(path)
    assert lines[0] == "segment 1: Right lung, Lung (39607008, SCT), Right (24028007, SCT)"
    assert len(lines) == 3


def test_the_statements_of_a_report_are_named_with_codes_numbers_and_units(tmp_path: Path) -> None:
    """What was found and measured, without the algorithm that every group repeats."""
    made = case(tmp_path)
    lines = outline(kept(tmp_path, composer().report(made.study(), made.paths(), {})))
    assert any("Area (42798000, SCT) = 12346 mm2" in line for line in lines)
    assert any("Opacity (112001, DCM)" in line and "Present (52101004, SCT)" in line for line in lines)
    assert not any("Algorithm" in line for line in lines)
