"""The same picture gives the same display image, however its object is encoded."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid

from cxrnode.phantom import Radiograph, Voi, render
from cxrnode.pixels.decode import decode
from cxrnode.pixels.grayscale import display
from cxrnode.pixels.orientation import from_header

LOSSLESS = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
)

specifications = st.builds(
    Radiograph,
    seed=st.integers(1, 3),
    rows=st.just(96),
    cols=st.just(96),
    modality=st.sampled_from(["DX", "CR"]),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    bits_stored=st.integers(8, 16),
    signed=st.booleans(),
    orientation=st.sampled_from(["L\\F", "R\\F", "L\\H", "F\\L", "H\\R", ""]),
    rescale=st.none() | st.tuples(st.sampled_from([-3.0, -0.5, 0.1, 1.0, 7.5]), st.integers(-2000, 2000).map(float)),
    voi=st.sampled_from([v for v in Voi if v is not Voi.NONE]),
    presentation_lut_shape=st.booleans(),
    transfer_syntax=st.sampled_from(LOSSLESS),
)


def describable(spec: Radiograph) -> bool:
    """Whether the specification can be written: a VOI LUT counts its modality values in sixteen bits."""
    slope, intercept = spec.rescale or (1.0, 0.0)
    low = -(2 ** (spec.bits_stored - 1)) if spec.signed else 0
    ends = sorted(value * slope + intercept for value in (low, low + 2**spec.bits_stored - 1))
    return spec.voi is not Voi.LUT or (ends[0] > -32768 and ends[1] < 32767)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(spec=specifications.filter(describable))
def test_same_picture_gives_the_same_display_image(spec: Radiograph) -> None:
    """Within one step of the stored values, after orientation, every encoding shows what was drawn."""
    ds = render(spec).dataset
    seen = from_header(ds).apply(display(decode(ds)).values)
    drawn = render(Radiograph(seed=spec.seed, rows=96, cols=96)).truth.display
    # One step of stored values; a VOI LUT adds one step of the modality values it is indexed by.
    slope = abs(spec.rescale[0]) if spec.rescale else 1.0
    step = 1 / (0.9 * 2**spec.bits_stored) + (1 / (slope * 2**spec.bits_stored) if spec.voi is Voi.LUT else 0)
    slack = 0.009 if spec.voi is Voi.SIGMOID else 0.001
    assert np.abs(seen - drawn).max() < 1.7 * step + slack


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(1, 3), bits=st.integers(8, 16), photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    rescale=st.none() | st.tuples(st.sampled_from([-3.0, 0.1, 1.0]), st.integers(-2000, 2000).map(float)),
)  # fmt: skip
def test_robust_range_does_not_depend_on_depth_or_slope(
    seed: int, bits: int, photometric: str, rescale: tuple[float, float] | None
) -> None:
    """Without any VOI the display follows the picture alone, not the numbers it is stored in."""
    size = {"rows": 96, "cols": 96, "modality": "CR", "voi": Voi.NONE}
    one = render(Radiograph(seed=seed, bits_stored=bits, photometric=photometric, rescale=rescale, **size))
    two = render(Radiograph(seed=seed, bits_stored=16, **size))
    difference = display(decode(one.dataset)).values - display(decode(two.dataset)).values
    assert np.abs(difference).max() < 4 / 2**bits + 0.003
