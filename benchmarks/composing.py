"""What composing the SEG and the SR of a radiograph costs, beside the same objects made with highdicom's constructors.

Hides the chest: a synthetic DX radiograph with three segments and six findings, as four models would state them.
Promises ratios of things done in turn in one run (timing.py). Ours is timed as the line does it: from the results to
the bytes of the file, the source's header read from disk and the proof of what is settled with it.

    python -m benchmarks.composing --out DIR
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import toolkit
from benchmarks.timing import Ratio, Way, race, ratio, surroundings
from cxrnode.domain.capability import ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import (
    Box,
    Finding,
    ImageResult,
    Measurement,
    ModelIdentity,
    ModelResult,
    Presence,
    Region,
    StudyResult,
)
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.selection import View
from cxrnode.domain.study import Arrival, Instance, Sender
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.headers import read_header
from cxrnode.evidence.identity import Author, segmentation_uid
from cxrnode.evidence.report import compose_report
from cxrnode.evidence.segmentation import compose_segmentation
from cxrnode.evidence.stating import groups_of
from cxrnode.phantom import Radiograph, write
from cxrnode.pixels.header import HeaderReader
from cxrnode.training.evaluation.report import markdown as table

ROUNDS = 15
AUTHOR = Author(device_name="BENCH", software_version="1.0", timezone_offset="")
SEG, SR, BOTH = "SEG", "SR", "both"
STACKED = "SEG, planes stacked last"
"""The toolkit fed as its examples do: np.stack(planes, axis=-1), so that no plane is contiguous."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chest:
    """A radiograph on disk and what the models said of it."""

    path: Path
    source: Instance
    study: StudyResult

    @property
    def lungs(self) -> ModelResult:
        """The result that has segments."""
        return self.study.images[0].results[0]

    @property
    def planes(self) -> NDArray[np.bool_]:
        """The masks as one array, each contiguous."""
        return np.stack([region.mask for region in self.lungs.regions])


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One kind of object: milliseconds of the toolkit's way and of ours, and how many times as fast ours is."""

    what: str
    toolkit_ms: float
    ours_ms: float
    ratio: Ratio


def make_chest(folder: Path, rows: int, columns: int) -> Chest:
    """Write the phantom and make up the results: the numbers mean nothing."""
    path = folder / "film.dcm"
    truth = write(Radiograph(rows=rows, cols=columns, seed=1), path).truth
    masks = {label: getattr(truth, label) for label in ("right_lung", "left_lung", "heart")}
    source = _instance(path)
    image = ImageResult(source=source, view=View.PA, results=tuple(_results(masks)))
    return Chest(path=path, source=source, study=StudyResult(study_uid=source.study_uid, images=(image,)))


def _instance(path: Path) -> Instance:
    header = toolkit.read_source(path)
    sender = Sender(calling_ae=AETitle("BENCH"), called_ae=AETitle("BENCH"), address="", association="1")
    arrival = Arrival(
        path=path,
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=InstanceUID(str(header.SOPInstanceUID)),
        transfer_syntax_uid=str(header.file_meta.TransferSyntaxUID),
        sender=sender,
    )
    described = HeaderReader().describe(arrival)
    received = datetime(2026, 1, 2, tzinfo=UTC)
    return Instance(row=1, description=described, sender=sender, key="film", received_at=received)


def _results(masks: Mapping[str, NDArray[np.bool_]]) -> Iterator[ModelResult]:
    """Three segments with their areas; six findings, one of them with two boxes."""
    lungs, pneumothorax, opacity, classifier = (
        ModelIdentity(name=name, version="1.0.0", digest="ab" * 32, backend="cpu torch fp32")
        for name in ("lungs", "pneumothorax", "opacity", "classifier")
    )
    ratio = Measurement(name="cardiothoracic_ratio", value=0.48765, unit="1", lines=_diameters())
    areas = (Measurement(name="area", value=float(mask.sum()), unit="mm2", region=one) for one, mask in masks.items())
    regions = tuple(Region(label=one, mask=np.ascontiguousarray(mask), model=lungs) for one, mask in masks.items())
    yield ModelResult(model=lungs, regions=regions, measurements=(ratio, *areas))
    yield ModelResult(model=pneumothorax, findings=(_finding("pneumothorax", 0.02),))
    yield ModelResult(model=opacity, findings=(_finding("lung_opacity", 0.9, boxes=2),))
    named = {"covid19_pneumonia": 0.2, "viral_pneumonia": 0.1, "lung_opacity": 0.8, "abnormal_chest": 0.9}
    yield ModelResult(model=classifier, findings=tuple(_finding(name, value) for name, value in named.items()))


def _diameters() -> tuple[tuple[tuple[float, float], ...], ...]:
    return ((100.0, 200.0), (300.0, 200.0)), ((50.0, 250.0), (450.0, 250.0))


def _finding(name: str, probability: float, boxes: int = 0) -> Finding:
    drawn = (
        Box(label=name, probability=probability, left=10.5 + 60 * n, top=20, right=60 + 60 * n, bottom=80)
        for n in range(boxes)
    )
    return Finding(
        name=name,
        presence=Presence.PRESENT if probability >= 0.5 else Presence.ABSENT,
        probability=probability,
        operating_point=0.5,
        boxes=tuple(drawn),
    )


def our_segmentation(chest: Chest) -> bytes:
    """Give the file of the SEG, as the line has it composed."""
    header = read_header(chest.source, chest.path)
    built = compose_segmentation(AUTHOR, chest.source, header, chest.lungs, Geometry.VIEWER)
    assert built is not None
    return encoded(built, AUTHOR.software_version)


def our_report(chest: Chest) -> bytes:
    """Give the file of the SR, as the line has it composed."""
    headers = {chest.source.row: read_header(chest.source, chest.path)}
    shown = {chest.source.uid: [segmentation_uid(AUTHOR, chest.source, chest.lungs, Geometry.VIEWER)]}
    built = compose_report(AUTHOR, chest.study, headers, shown, ReportClass.COMPREHENSIVE_3D)
    return encoded(built, AUTHOR.software_version)


def toolkit_segmentation(chest: Chest, pixels: NDArray[np.bool_]) -> bytes:
    """Give the file of the SEG, made with the toolkit's constructor."""
    return toolkit.written(toolkit.segmentation(chest.path, chest.source, chest.lungs, pixels))


def ways_of(chest: Chest) -> tuple[dict[str, Way], dict[str, Way]]:
    """Give the toolkit's ways and ours, by what they make."""
    pixels, stacked = toolkit.segments_last(chest.planes), np.stack(list(chest.planes), axis=-1)[None]
    groups = groups_of(chest.study)
    seg = toolkit.segmentation(chest.path, chest.source, chest.lungs, pixels)
    numbers = {region.label: number for number, region in enumerate(chest.lungs.regions, 1)}

    def report() -> bytes:
        return toolkit.written(toolkit.report(chest.path, groups, seg, numbers))

    def ours() -> bytes:
        return our_segmentation(chest)

    theirs = {
        SEG: lambda: toolkit_segmentation(chest, pixels),
        STACKED: lambda: toolkit_segmentation(chest, stacked),
        SR: report,
        BOTH: lambda: (toolkit_segmentation(chest, pixels), report()),
    }
    return theirs, {SEG: ours, SR: lambda: our_report(chest), BOTH: lambda: (ours(), our_report(chest))}


def measure(chest: Chest, rounds: int) -> tuple[Line, ...]:
    """Race the ways in turn, on one thread."""
    theirs, ours = ways_of(chest)
    ways = {f"toolkit {what}": way for what, way in theirs.items()} | {f"our {what}": way for what, way in ours.items()}
    seconds = race(ways, 1, rounds)
    return tuple(
        _line(what, seconds[f"toolkit {what}"], seconds[f"our {SEG if what == STACKED else what}"]) for what in theirs
    )


def _line(what: str, theirs: Sequence[float], ours: Sequence[float]) -> Line:
    return Line(
        what=what,
        toolkit_ms=1e3 * float(np.median(theirs)),
        ours_ms=1e3 * float(np.median(ours)),
        ratio=ratio(theirs, ours),
    )


def markdown(lines: Sequence[Line], on: Mapping[str, Any]) -> str:
    """Give the table, and what it was measured on."""
    cells = [(line.what, f"{line.toolkit_ms:.1f}", f"{line.ours_ms:.1f}", line.ratio) for line in lines]
    told = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in on.items())
    return "\n\n".join((table(("made", "toolkit, ms", "ours, ms", "ours : toolkit"), cells), f"{told}."))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line: the table on standard output; with --out, composing.md and composing.json as well."""
    parser = argparse.ArgumentParser(description="Measure what composing costs beside the toolkit's constructors.")
    parser.add_argument("--out", type=Path, help="write composing.md and composing.json here")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each way is timed in turn")
    parser.add_argument("--rows", type=int, default=2500, help="rows of the phantom")
    parser.add_argument("--columns", type=int, default=2048, help="columns of the phantom")
    said = parser.parse_args(arguments)
    film = f"DX phantom, {said.rows} x {said.columns} pixels, three segments, six findings"
    on = {**surroundings(), "highdicom": version("highdicom"), "film": film, "rounds": said.rounds}
    with tempfile.TemporaryDirectory() as made:
        lines = measure(make_chest(Path(made), said.rows, said.columns), said.rounds)
    sys.stdout.write(f"{markdown(lines, on)}\n")
    if said.out:
        said.out.mkdir(parents=True, exist_ok=True)
        (said.out / "composing.md").write_text(markdown(lines, on) + "\n", encoding="utf-8")
        document = {"on": on, "lines": [asdict(line) for line in lines]}
        (said.out / "composing.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
