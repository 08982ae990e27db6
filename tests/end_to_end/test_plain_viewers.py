"""Secondary Capture and presentation state before independent readers: dciodvfy and DCMTK."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from cxrnode.phantom import Voi
from cxrnode.pixels.decode import decode
from cxrnode.pixels.grayscale import display
from tests import checkers, peers
from tests.evidence_cases import case
from tests.plain_viewers import Plain, composed, plain

pytestmark = pytest.mark.peers

KINDS = {
    "dx": {},
    "dx_monochrome1": {"photometric": "MONOCHROME1"},
    "cr_monochrome1": {"modality": "CR", "photometric": "MONOCHROME1", "rows": 301, "cols": 263},
    "turned": {"orientation": "F\\R"},
    "no_window": {"voi": Voi.NONE},
    "windows": {"voi": Voi.WINDOWS},
    "exact": {"voi": Voi.LINEAR_EXACT},
    "sigmoid": {"voi": Voi.SIGMOID},
    "voi_table": {"voi": Voi.LUT},
    "voi_table_implicit": {"voi": Voi.LUT, "transfer_syntax": "1.2.840.10008.1.2"},
    "voi_table_signed": {"voi": Voi.LUT, "modality": "CR", "signed": True},
    "modality_table": {"modality": "CR", "modality_lut": True},
    "rescale": {"modality": "CR", "rescale": (2.0, -100.0)},
}
WITHOUT_A_WINDOW_OF_THEIR_OWN = {"no_window", "sigmoid"}
"""What DCMTK shows otherwise: it takes the whole range where no window is stated, and knows no sigmoid."""


@pytest.fixture
def checked(lacking: Callable[[str], None]) -> Callable[..., object]:
    """Call a checker; a missing tool skips the test, or fails it where peers are required."""

    def call(checker: Callable[..., object], *arguments: object) -> object:
        try:
            return checker(*arguments)
        except (checkers.ToolMissing, peers.Missing) as missing:
            return lacking(f"{missing} is not installed")

    return call


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Plain:
    """Both objects of a radiograph of each kind."""
    return plain(tmp_path, **KINDS[request.param])


def _written(folder: Path, name: str, file: bytes) -> Path:
    path = folder / f"{name}.dcm"
    path.write_bytes(file)
    return path


def test_dciodvfy_finds_no_error_in_either(made: Plain, tmp_path: Path, checked: Callable[..., object]) -> None:
    """Whatever the source says about its grayscale."""
    for name, file in (("capture", made.capture_file), ("presentation", made.presentation_file)):
        assert checked(checkers.dciodvfy_errors, _written(tmp_path, name, file)) == []


def test_dcmtk_finds_the_presentation_state_sound(made: Plain, tmp_path: Path, checked: Callable[..., object]) -> None:
    """dcmpschk looks at every value's length and multiplicity, and at what the IOD asks for."""
    assert "Test passed" in str(checked(_dcmpschk, _written(tmp_path, "presentation", made.presentation_file)))


def test_dcmtk_shows_the_image_as_the_node_saw_it(
    made: Plain, tmp_path: Path, checked: Callable[..., object], request: pytest.FixtureRequest
) -> None:
    """Through the presentation state's own grayscale chain, gray value by gray value."""
    picture = checked(_shown_by_dcmtk, _written(tmp_path, "presentation", made.presentation_file), made.made.path)
    difference = np.abs(np.asarray(picture) - 255 * display(decode(made.made.path)).values)
    if request.node.callspec.params["made"] in WITHOUT_A_WINDOW_OF_THEIR_OWN:
        assert difference.mean() < 15
    else:
        assert difference.max() <= 1.1


def test_a_presentation_state_of_the_wrong_polarity_is_seen(tmp_path: Path, checked: Callable[..., object]) -> None:
    """Negative control: the comparison of gray values can fail."""
    made = plain(tmp_path, photometric="MONOCHROME1")
    state = made.presentation
    state.PresentationLUTShape = "IDENTITY"
    path = tmp_path / "wrong.dcm"
    state.save_as(path)
    picture = checked(_shown_by_dcmtk, path, made.made.path)
    assert np.abs(np.asarray(picture) - 255 * display(decode(made.made.path)).values).mean() > 50


def test_dciodvfy_refuses_a_graphic_without_units(tmp_path: Path, checked: Callable[..., object]) -> None:
    """Negative control: it does look into the graphics."""
    state = plain(tmp_path).presentation
    del state.GraphicAnnotationSequence[0].GraphicObjectSequence[0].GraphicAnnotationUnits
    path = tmp_path / "wrong.dcm"
    state.save_as(path)
    assert checked(checkers.dciodvfy_errors, path)


def test_a_shutter_is_valid_in_a_presentation_state(tmp_path: Path, checked: Callable[..., object]) -> None:
    """Rectangular, as collimated films state it."""
    made = case(tmp_path)
    ds = pydicom.dcmread(made.path)
    ds.ShutterShape = "RECTANGULAR"
    ds.ShutterLeftVerticalEdge, ds.ShutterRightVerticalEdge = 10, 250
    ds.ShutterUpperHorizontalEdge, ds.ShutterLowerHorizontalEdge = 12, 290
    ds.save_as(made.path)
    path = _written(tmp_path, "presentation", composed(made).presentation_file)
    assert pydicom.dcmread(path).ShutterRightVerticalEdge == 250
    assert checked(checkers.dciodvfy_errors, path) == []
    assert "Test passed" in str(checked(_dcmpschk, path))


def _dcmpschk(path: Path) -> str:
    done = subprocess.run([peers.program("dcmpschk"), str(path)], capture_output=True, timeout=60, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _shown_by_dcmtk(state: Path, image: Path) -> np.ndarray:
    picture = state.with_suffix(".pgm")
    command = [peers.program("dcmp2pgm"), "-p", str(state), str(image), str(picture)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    return np.asarray(Image.open(picture)).astype(float)
