"""Other people's programs read the phantom: dciodvfy finds no error, DCMTK decodes the same values."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid

from cxrnode.phantom import Radiograph, catalogue, render
from cxrnode.pixels.decode import decode
from tests import peers

pytestmark = pytest.mark.peers

SOUND = [entry.name for entry in catalogue() if entry.spec.conformant]


@pytest.mark.parametrize("name", SOUND)
def test_sound_phantoms_have_no_error_in_dciodvfy(name: str, tmp_path: Path, needs: Callable[..., None]) -> None:
    """Every sound radiograph of the catalogue obeys its IOD; dciodvfy's exit status lies, so its words are read."""
    needs("dciodvfy")
    spec = next(entry.spec for entry in catalogue() if entry.name == name)
    if spec.transfer_syntax == uid.DeflatedExplicitVRLittleEndian:
        # dciodvfy cannot inflate (DCMTK's own deflated files neither): the same data set is checked undeflated.
        spec = replace(spec, transfer_syntax=uid.ExplicitVRLittleEndian)
    (tmp_path / "f.dcm").write_bytes(render(replace(spec, rows=280, cols=256)).file)
    checked = subprocess.run(
        [peers.program("dciodvfy"), str(tmp_path / "f.dcm")], capture_output=True, text=True, check=False
    )
    said = (checked.stdout + checked.stderr).splitlines()
    assert any("DXImageForPresentation" in line or "CRImage" in line or "DXImage" in line for line in said)
    assert [line for line in said if line.startswith("Error")] == []


@pytest.mark.parametrize(
    ("syntax", "program", "bits"),
    [
        (uid.JPEGBaseline8Bit, "dcmdjpeg", 8),
        (uid.JPEGExtended12Bit, "dcmdjpeg", 12),
        (uid.JPEGLossless, "dcmdjpeg", 12),
        (uid.JPEGLosslessSV1, "dcmdjpeg", 16),
        (uid.JPEGLSLossless, "dcmdjpls", 12),
        (uid.JPEGLSNearLossless, "dcmdjpls", 12),
        (uid.RLELossless, "dcmdrle", 12),
        (uid.DeflatedExplicitVRLittleEndian, "dcmconv", 12),
        (uid.ExplicitVRBigEndian, "dcmconv", 12),
    ],
)
def test_dcmtk_decodes_the_same_values(
    syntax: str, program: str, bits: int, tmp_path: Path, needs: Callable[..., None]
) -> None:
    """An independent decoder of each syntax that DCMTK knows agrees with ours."""
    needs(program)
    spec = Radiograph(rows=151, cols=134, bits_stored=bits, transfer_syntax=syntax)
    source, plain = tmp_path / "f.dcm", tmp_path / "plain.dcm"
    source.write_bytes(render(spec).file)
    options = ["+te"] if program == "dcmconv" else []
    subprocess.run([peers.program(program), *options, str(source), str(plain)], check=True, capture_output=True)
    theirs = pydicom.dcmread(plain).pixel_array.astype(int)
    # Two correct inverse cosine transforms may round differently by one.
    slack = 1 if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit) else 0
    assert np.abs(decode(source).values - theirs).max() <= slack


@pytest.mark.parametrize(("option", "bits"), [("+e1", 8), ("+e1", 16), ("+el", 12), ("+eb", 8), ("+ee", 12)])
def test_what_dcmtk_encodes_is_decoded(option: str, bits: int, tmp_path: Path, needs: Callable[..., None]) -> None:
    """JPEG by another encoder, with an odd number of pixels, which our own cannot write."""
    needs("dcmcjpeg")
    phantom = render(Radiograph(rows=151, cols=133, bits_stored=bits))
    plain, packed = tmp_path / "plain.dcm", tmp_path / "packed.dcm"
    plain.write_bytes(phantom.file)
    subprocess.run([peers.program("dcmcjpeg"), option, str(plain), str(packed)], check=True, capture_output=True)
    allowed = 0 if option in ("+e1", "+el") else 0.08 * 2**bits
    assert np.abs(decode(packed).values.astype(int) - phantom.dataset.pixel_array).max() <= allowed
