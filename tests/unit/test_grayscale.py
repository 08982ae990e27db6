"""The grayscale chain: what the sender meant to be seen, black as 0."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from cxrnode.phantom import Phantom, Radiograph, Voi, catalogue, render
from cxrnode.pixels.decode import StoredPixels, decode
from cxrnode.pixels.grayscale import Display, display

SMALL = Radiograph(rows=128, cols=120, modality="CR")
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def shown(phantom: Phantom) -> Display:
    return display(decode(phantom.dataset))


def ramp(values: np.ndarray = RAMP, **attributes: object) -> Display:
    """Display a ramp of values under a header of these attributes."""
    header = Dataset()
    header.set_original_encoding(False, True, "iso8859")
    header.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return display(StoredPixels(values=values, header=header))


def lut(descriptor: list[int], entries: np.ndarray, *, vr: str = "OW") -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if descriptor[1] < 0 else "US", descriptor)
    item.add_new("LUTData", vr, entries.astype("<u2").tobytes() if vr == "OW" else entries.tolist())
    return Sequence([item])


@pytest.mark.parametrize(
    "name",
    [e.name for e in catalogue() if e.spec.defect is None and e.spec.voi is not Voi.NONE and not e.spec.for_processing],
)
def test_every_encoding_of_a_picture_shows_that_picture(name: str) -> None:
    """Photometric interpretation, rescale, LUTs, windows, depth, padding, codec: the same picture each time."""
    spec = next(entry.spec for entry in catalogue() if entry.name == name)
    phantom = render(replace(spec, rows=128, cols=120))
    seen = shown(phantom)
    lossy = phantom.dataset.get("LossyImageCompression") == "01"
    step = 1.2 / (2**spec.bits_stored * 0.9)
    tolerance = 0.2 if lossy else step + (0.009 if spec.voi is Voi.SIGMOID else 0.001)
    assert seen.values.dtype == np.float32
    assert np.abs(seen.values - phantom.truth.display).max() < tolerance
    assert np.abs(seen.values - phantom.truth.display).mean() < max(0.015 if lossy else 0, step)
    assert np.array_equal(seen.valid, ~phantom.truth.padding)


def test_monochrome1_with_inverse_shape_is_one_inversion() -> None:
    """DX demands both attributes beside each other; two inversions would be none."""
    for shape in ("INVERSE", "IDENTITY", None):
        changes = {"PresentationLUTShape": shape} if shape else {}
        one = ramp(PhotometricInterpretation="MONOCHROME1", WindowCenter=2048, WindowWidth=4096, **changes)
        two = ramp(WindowCenter=2048, WindowWidth=4096)
        assert np.allclose(one.values, 1 - two.values)


def test_inverse_shape_alone_does_not_invert() -> None:
    """Where the two attributes disagree, the photometric interpretation is believed."""
    assert np.array_equal(
        ramp(PresentationLUTShape="INVERSE", WindowCenter=2048, WindowWidth=4096).values,
        ramp(WindowCenter=2048, WindowWidth=4096).values,
    )


def test_linear_window_is_the_formula_of_the_standard() -> None:
    """PS3.3 C.11.2.1.2.1, its worked example: centre 2048, width 4096 maps 0 to 0 and 4095 to 1."""
    seen = ramp(WindowCenter=2048, WindowWidth=4096).values.ravel()
    assert seen[0] == 0
    assert seen[4095] == 1
    assert np.allclose(seen, RAMP.ravel() / 4095, atol=1e-6)
    narrow = ramp(WindowCenter=2000, WindowWidth=1000).values.ravel()
    assert narrow[1499] == 0
    assert narrow[2500] == 1
    assert narrow[2000] == pytest.approx(0.5 + 0.5 / 999, abs=1e-6)


def test_linear_exact_and_sigmoid_are_the_formulas_of_the_standard() -> None:
    """PS3.3 C.11.2.1.3.2 and C.11.2.1.3.1."""
    exact = ramp(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT").values.ravel()
    assert exact[1500] == 0
    assert exact[2000] == pytest.approx(0.5)
    assert exact[2250] == pytest.approx(0.75)
    sigmoid = ramp(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID").values.ravel()
    assert sigmoid[2000] == pytest.approx(0.5)
    assert sigmoid[2250] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("voi", [Voi.WINDOW, Voi.WINDOWS, Voi.LINEAR_EXACT, Voi.SIGMOID])
@pytest.mark.parametrize("rescale", [None, (-2.0, 500.0), (0.25, -300.0)])
def test_chain_agrees_with_pydicom(voi: Voi, rescale: tuple[float, float] | None) -> None:
    """An independent implementation of the modality and VOI steps gives the same picture."""
    ds = render(replace(SMALL, voi=voi, rescale=rescale)).dataset
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds).astype(np.float64)
    slope, intercept = rescale or (1.0, 0.0)
    # pydicom maps to the range from the lowest to the highest stored value's modality value, whichever is greater.
    low, high = intercept, 4095 * slope + intercept
    ours = display(decode(ds)).values
    assert np.abs(ours - (theirs - low) / (high - low)).max() < 0.002


def test_first_of_several_windows_is_taken() -> None:
    """The first is the sender's usual one."""
    both = ramp(WindowCenter=[2048, 100], WindowWidth=[4096, 50])
    assert np.array_equal(both.values, ramp(WindowCenter=2048, WindowWidth=4096).values)


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": 2048, "WindowWidth": 1},
        {"WindowCenter": 2048, "WindowWidth": -5},
        {"WindowCenter": 100000, "WindowWidth": 100},
        {"WindowCenter": 2048},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {},
    ],
)
def test_picture_is_shown_where_the_window_would_hide_it(attributes: dict[str, float]) -> None:
    """Without a usable window the range between robust percentiles is shown, whatever the values are."""
    seen = ramp(**attributes).values.ravel()
    assert seen[0] == 0
    assert seen[-1] == 1
    assert seen[2048] == pytest.approx(0.5, abs=0.01)


def test_robust_range_ignores_a_few_extreme_values() -> None:
    """A lead marker or a dead pixel does not darken the picture."""
    values = RAMP.copy()
    values[0, :4] = 60000
    assert ramp(values).values[32, 0] == pytest.approx(0.5, abs=0.02)


def test_flat_picture_is_no_error() -> None:
    """A picture of one value is shown as one value."""
    seen = ramp(np.full((8, 8), 7, dtype=np.uint16))
    assert np.ptp(seen.values) == 0


def test_window_is_in_units_of_the_modality_step() -> None:
    """A window after a negative slope: the values are turned round before it."""
    seen = ramp(RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096).values.ravel()
    assert seen[0] == 1
    assert seen[4095] == 0


def test_table_of_65536_entries_is_written_as_zero() -> None:
    """PS3.3 C.11.2.1.1: the number of entries has sixteen bits."""
    entries = np.arange(65536)[::-1]
    values = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(64, 64)
    seen = ramp(values, VOILUTSequence=lut([0, 0, 16], entries)).values
    assert np.allclose(seen, 1 - values / 65535, atol=1e-4)


def test_first_entry_of_a_table_may_be_negative_in_either_vr() -> None:
    """Signed inputs: -100 may be written as SS -100 or as US 65436."""
    values = np.arange(-100, 156, dtype=np.int16).reshape(16, 16)
    entries = np.linspace(0, 65535, 256)
    signed = ramp(values, VOILUTSequence=lut([256, -100, 16], entries)).values
    unsigned = ramp(values, VOILUTSequence=lut([256, 65436, 16], entries)).values
    assert np.array_equal(signed, unsigned)
    assert np.allclose(signed.ravel(), np.linspace(0, 1, 256), atol=1e-4)


def test_inputs_outside_a_table_take_its_ends() -> None:
    """Below the first entry the first, past the last the last."""
    seen = ramp(VOILUTSequence=lut([1000, 1000, 16], np.linspace(6000, 60000, 1000))).values.ravel()
    assert seen[0] == seen[1000] == pytest.approx(6000 / 65535, abs=1e-4)
    assert seen[4095] == seen[1999] == pytest.approx(60000 / 65535, abs=1e-4)


def test_entries_may_be_bytes() -> None:
    """Eight bit tables are packed two to a word, or written as words."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 8])
    item.add_new("LUTData", "OW", (np.arange(4096) // 16).astype(np.uint8).tobytes())
    seen = ramp(VOILUTSequence=Sequence([item])).values.ravel()
    assert np.allclose(seen, (np.arange(4096) // 16) / 255, atol=1e-6)
    words = ramp(VOILUTSequence=lut([4096, 0, 8], np.arange(4096) // 16, vr="US")).values.ravel()
    assert np.array_equal(words, seen)


def test_table_that_uses_fewer_bits_than_it_says_is_still_bright() -> None:
    """A descriptor of sixteen bits over ten bit data is common; the picture must not be near black."""
    seen = ramp(VOILUTSequence=lut([4096, 0, 16], np.arange(4096) // 4)).values
    assert seen.max() == pytest.approx(1.0)


def test_modality_table_comes_before_the_window() -> None:
    """The window is in the table's output units."""
    table = lut([4096, 0, 16], np.arange(4096) * 2)
    seen = ramp(ModalityLUTSequence=table, WindowCenter=4096, WindowWidth=8192).values.ravel()
    assert np.allclose(seen, np.arange(4096) * 2 / 8191, atol=1e-3)


def test_broken_table_is_passed_over() -> None:
    """A table without data, or with too little, leaves the window."""
    short = lut([4096, 0, 16], np.arange(10))
    empty = Sequence([Dataset()])
    window = ramp(WindowCenter=2048, WindowWidth=4096).values
    for table in (short, empty):
        assert np.array_equal(ramp(VOILUTSequence=table, WindowCenter=2048, WindowWidth=4096).values, window)


def padded(value: int, dtype: type = np.uint16) -> np.ndarray:
    values = np.full((40, 40), 1000, dtype=dtype)
    values[:4] = value
    values[20:24, 20:24] = value
    values[10:30, 5:15] = 1500
    return values


def test_padding_is_black_and_not_valid() -> None:
    """Padding reaches in from the edge; the same value amid the picture is tissue."""
    seen = ramp(padded(0), PixelPaddingValue=0, WindowCenter=1000, WindowWidth=2000)
    assert not seen.valid[:4].any()
    assert seen.valid[4:].all()


def test_padding_of_a_monochrome1_film_is_black() -> None:
    """There value 0 would be white: around the film it must not be, within the film it must."""
    seen = ramp(
        padded(0), PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0, WindowCenter=1000, WindowWidth=2000
    )
    assert (seen.values[:4] == 0).all()
    assert (seen.values[20:24, 20:24] == 1).all()


@pytest.mark.parametrize(("first", "limit"), [(10, 20), (20, 10)])
def test_padding_range_works_in_either_order(first: int, limit: int) -> None:
    """The limit may lie on either side of the value (PS3.3 C.7.5.1.1.2)."""
    values = padded(15)
    values[0, ::2] = 10
    values[1, ::2] = 20
    assert not ramp(values, PixelPaddingValue=first, PixelPaddingRangeLimit=limit).valid[:4].any()


def test_signed_padding_is_found_in_either_vr() -> None:
    """-2000 may be written as US 63536."""
    values = padded(-2000, np.int16)
    for stated in (-2000, 63536):
        header_value = stated
        item = Dataset()
        item.set_original_encoding(False, True, "iso8859")
        item.PhotometricInterpretation = "MONOCHROME2"
        item.add_new("PixelPaddingValue", "SS" if stated < 0 else "US", header_value)
        assert not display(StoredPixels(values=values, header=item)).valid[:4].any()


def test_padding_that_covers_the_whole_picture_is_not_believed() -> None:
    """A range that swallows the film is a mistake; the film is shown."""
    seen = ramp(PixelPaddingValue=0, PixelPaddingRangeLimit=65535)
    assert seen.valid.all()
    assert np.ptp(seen.values) == 1


def test_padding_does_not_count_for_the_robust_range() -> None:
    """A black border of a padded film does not lift the film's own black."""
    values = RAMP + 1000
    values[:20] = 0
    seen = ramp(values.astype(np.uint16), PixelPaddingValue=0)
    assert seen.values[20, 0] == pytest.approx(0, abs=0.01)


def test_stored_values_are_not_changed() -> None:
    """The chain reads; the caller's values stay."""
    before = RAMP.copy()
    ramp(PixelPaddingValue=0, WindowCenter=2048, WindowWidth=4096)
    assert np.array_equal(before, RAMP)


def test_garbage_in_display_attributes_is_passed_over() -> None:
    """A window that is text is no window."""
    header = Dataset()
    header.set_original_encoding(False, True, "iso8859")
    header.PhotometricInterpretation = "MONOCHROME2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header.add_new("WindowCenter", "LO", "bright")
        header.add_new("WindowWidth", "LO", "wide")
        header.add_new("VOILUTSequence", "LO", "none")
    assert np.ptp(display(StoredPixels(values=RAMP, header=header)).values) == 1
