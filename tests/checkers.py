"""Independent readers of what we write: dciodvfy, PixelMed's SR validator, dcmqi, DCMTK, dcmjs.

Each gives what it found, not whether it was content: exit statuses of these tools lie. A tool that is not installed
raises ToolMissing, which a test turns into a skip (or a failure where peers are required).
"""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests import npm
from tests.peers import Missing

_DCMJS_READER = Path(__file__).parent / "dcmjs" / "read.cjs"
PIXELMED = Path("/usr/share/java/pixelmed.jar")


class ToolMissing(Exception):
    """A checker is not installed on this machine."""


class CheckerFailed(Exception):
    """A checker ended without a verdict."""


def dciodvfy_errors(path: Path) -> list[str]:
    """Give the lines that begin with Error."""
    output = _run(_tool("dciodvfy"), str(path))
    return [line for line in output.splitlines() if line.startswith("Error")]


def pixelmed_errors(path: Path) -> list[str]:
    """Give the errors of PixelMed's validator; CheckerFailed unless it says that it came to its end."""
    if not PIXELMED.exists():
        raise ToolMissing("libpixelmed-java")
    limits = [f"-Djdk.xml.{name}=0" for name in ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")]
    validator = ("-cp", str(PIXELMED), "com.pixelmed.validate.DicomSRValidator")
    output = _run(_tool("java"), *limits, *validator, str(path))
    if "IOD validation complete" not in output:
        raise CheckerFailed(output[-500:])
    return [line for line in output.splitlines() if line.startswith("Error")]


def dcmqi_areas(path: Path) -> dict[str, int]:
    """Give the number of pixels of each segment, by its label, as dcmqi reads them; CheckerFailed if it refuses."""
    return {label: int(np.count_nonzero(plane)) for label, plane in dcmqi_planes(path).items()}


def dcmqi_planes(path: Path) -> dict[str, np.ndarray]:
    """Give the plane (rows, columns) of each segment, by its label, as dcmqi reads it; CheckerFailed if it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("--inputDICOM", str(path), "--outputDirectory", folder, "-t", "nii")
        output = _run(_dcmqi("segimage2itkimage"), *arguments)
        meta = Path(folder) / "meta.json"
        if not meta.exists():
            raise CheckerFailed(output[-500:])
        segments = [segment for group in json.loads(meta.read_text())["segmentAttributes"] for segment in group]
        files = sorted(Path(folder).glob("*.nii.gz"), key=lambda file: int(file.name.split(".")[0]))
        planes = [_plane(file) for file in files]
    return {segment["SegmentLabel"]: planes[int(segment["labelID"]) - 1] for segment in segments}


def tid1500_measurements(path: Path) -> list[dict[str, Any]]:
    """Give the measurement groups as dcmqi's tid1500reader reads them."""
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder) / "report.json"
        output = _run(_dcmqi("tid1500reader"), "--inputDICOM", str(path), "--outputMetadata", str(metadata))
        if not metadata.exists():
            raise CheckerFailed(output[-500:])
        measurements: list[dict[str, Any]] = json.loads(metadata.read_text()).get("Measurements", [])
    return measurements


def dcmjs_readings(*paths: Path) -> list[dict[str, Any]]:
    """Give what dcmjs reads in each file: the segments and frames of a SEG, the measurement groups of an SR."""
    try:
        build = npm.DCMJS.folder() / "dcmjs.js"
    except Missing as missing:
        raise ToolMissing(str(missing)) from missing
    arguments = [_tool("node"), str(_DCMJS_READER), str(build), *(str(path) for path in paths)]
    done = subprocess.run(arguments, capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise CheckerFailed(done.stderr.decode("utf-8", "replace")[-500:])
    readings: list[dict[str, Any]] = json.loads(done.stdout)
    return readings


def dsrdump(path: Path) -> str:
    """Give the report as DCMTK prints it."""
    return _run(_tool("dsrdump"), "+Pl", str(path))


def dsr2html(path: Path) -> str:
    """Give the report as the page that DCMTK makes of it."""
    return _run(_tool("dsr2html"), str(path))


def _plane(file: Path) -> np.ndarray:
    """Read a NIfTI-1 file of one slice: its header says how large it is, where the values begin and of what kind.

    Its axes are x, then y, and point to the right and to the front, where DICOM's point to the left and to the back:
    columns and rows in their order are an x and a y that decrease.
    """
    content = gzip.decompress(file.read_bytes())
    x_axis, y_axis = struct.unpack_from("<3f", content, 280), struct.unpack_from("<3f", content, 296)
    if not (x_axis[0] < 0 and y_axis[1] < 0 and not any((*x_axis[1:], y_axis[0], y_axis[2]))):
        raise CheckerFailed(f"the axes are turned: {x_axis}, {y_axis}")
    columns, rows, slices = struct.unpack_from("<3h", content, 42)
    if slices != 1:
        raise CheckerFailed(f"{slices} slices in one plane")
    kind = {2: np.uint8, 4: np.int16, 8: np.int32, 512: np.uint16}[struct.unpack_from("<h", content, 70)[0]]
    start = int(struct.unpack_from("<f", content, 108)[0])
    return np.frombuffer(content, dtype=kind, offset=start).reshape(rows, columns)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(name)
    return found


def _dcmqi(name: str) -> str:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else _tool(name)


def _run(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, timeout=120, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")
