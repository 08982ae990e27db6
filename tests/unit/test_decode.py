"""Decoding: the values that were stored, or a reason; never a picture made up."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from cxrnode.errors import Unsuitable
from cxrnode.phantom import Defect, Patient, Radiograph, render, write
from cxrnode.phantom.encode import ENCODINGS, JLS_ERROR
from cxrnode.pixels.codecs import CODECS
from cxrnode.pixels.codestream import joined, stream_of
from cxrnode.pixels.decode import NATIVE, decode
from cxrnode.pixels.grayscale import display
from cxrnode.pixels.orientation import from_header

SMALL = Radiograph(rows=150, cols=131, modality="CR")

LOSSLESS = [syntax for syntax, encoding in ENCODINGS.items() if not encoding.method]
COMPRESSED = [syntax for syntax, encoding in ENCODINGS.items() if encoding.pack]
NAMES = {syntax: uid.UID(syntax).name.split(" (")[0] for syntax in ENCODINGS}


def wanted(spec: Radiograph) -> np.ndarray:
    """The stored values of a specification, as pydicom reads them uncompressed."""
    plain = replace(spec, transfer_syntax=uid.ExplicitVRLittleEndian)
    return np.asarray(render(plain).dataset.pixel_array)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=NAMES.get)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (10, False), (12, True), (16, False), (16, True)])
def test_lossless_syntaxes_give_the_stored_values(syntax: str, bits: int, signed: bool, tmp_path: Path) -> None:
    """Depth and sign survive every lossless syntax to the last bit."""
    spec = replace(SMALL, bits_stored=bits, signed=signed, transfer_syntax=syntax)
    write(spec, tmp_path / "f.dcm")
    values = decode(tmp_path / "f.dcm").values
    assert np.array_equal(values, wanted(spec))
    assert np.issubdtype(values.dtype, np.signedinteger) == signed


@pytest.mark.parametrize("syntax", [s for s in LOSSLESS if s not in (uid.JPEGLossless, uid.JPEGLosslessSV1)])
def test_odd_number_of_bytes_is_padded_and_still_read(syntax: str) -> None:
    """PS3.5 8.1.1: an eight bit picture of odd size is followed by a byte that is no pixel."""
    spec = replace(SMALL, rows=151, bits_stored=8, transfer_syntax=syntax)
    assert np.array_equal(decode(render(spec).dataset).values, wanted(spec))


@pytest.mark.parametrize(
    ("syntax", "bits", "tolerance"),
    [
        (uid.JPEGBaseline8Bit, 8, 20),
        (uid.JPEGExtended12Bit, 8, 20),
        (uid.JPEGExtended12Bit, 12, 60),
        (uid.JPEGLSNearLossless, 12, JLS_ERROR),
        (uid.JPEG2000, 12, 300),
    ],
)
def test_lossy_syntaxes_stay_near_the_stored_values(syntax: str, bits: int, tolerance: int) -> None:
    """Twelve bit JPEG Extended too, which pydicom's own plugins refuse."""
    spec = replace(SMALL, bits_stored=bits, transfer_syntax=syntax)
    difference = decode(render(spec).dataset).values.astype(int) - wanted(spec)
    assert np.abs(difference).max() <= tolerance
    assert np.abs(difference).mean() <= 0.01 * 2**bits


def test_every_syntax_of_the_phantom_is_in_the_table() -> None:
    """What we can make we can read, by one pinned decoder."""
    assert set(ENCODINGS) <= set(CODECS) | NATIVE


@pytest.mark.parametrize("syntax", ENCODINGS, ids=NAMES.get)
@pytest.mark.parametrize("missing", [10, 40, 4000])
def test_cut_off_file_is_an_error_in_every_syntax(syntax: str, missing: int, tmp_path: Path) -> None:
    """A decoder fills what is missing with gray or zeros; a radiograph half gray must not reach a model."""
    file = render(replace(SMALL, bits_stored=8, transfer_syntax=syntax)).file
    (tmp_path / "f.dcm").write_bytes(file[:-missing])
    with pytest.raises(Unsuitable) as refused:
        decode(tmp_path / "f.dcm")
    assert refused.value.code == "unreadable"


@pytest.mark.parametrize("syntax", COMPRESSED, ids=NAMES.get)
def test_cut_off_code_stream_is_an_error(syntax: str) -> None:
    """The stream may be cut although its fragment is whole: an archive kept half a picture."""
    ds = render(replace(SMALL, bits_stored=8, transfer_syntax=syntax)).dataset
    frame = joined(ds.PixelData)
    ds.PixelData = encapsulate([frame[: len(frame) // 2]])
    with pytest.raises(Unsuitable) as refused:
        decode(ds)
    assert refused.value.code == "unreadable"


@pytest.mark.parametrize("syntax", ENCODINGS, ids=NAMES.get)
@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_rows_that_do_not_match_the_pixels_are_an_error(syntax: str, factor: float) -> None:
    """A header that says other rows than the pixels hold is not believed in either direction."""
    ds = render(replace(SMALL, bits_stored=8, transfer_syntax=syntax)).dataset
    ds.Rows = int(ds.Rows * factor)
    with pytest.raises(Unsuitable) as refused:
        decode(ds)
    assert refused.value.code == "unreadable"


CODES = {
    Defect.TRUNCATED: "unreadable",
    Defect.NO_PIXELS: "no_pixels",
    Defect.WRONG_ROWS: "unreadable",
    Defect.LYING_BITS: "",
    Defect.NO_TRANSFER_SYNTAX: "",
    Defect.NO_META: "",
    Defect.NO_STUDY_UID: "",
    Defect.MULTI_FRAME: "multi_frame",
    Defect.GARBAGE: "unreadable",
    Defect.EMPTY: "unreadable",
    Defect.NO_VIEW: "",
    Defect.WRONG_CHARACTER_SET: "",
    Defect.ZERO_SPACING: "",
    Defect.HAND: "",
    Defect.DERIVED: "",
}


@pytest.mark.parametrize("defect", Defect)
def test_each_defect_is_refused_for_its_own_reason_or_decoded(defect: Defect, tmp_path: Path) -> None:
    """What is wrong with the pixels is an error with a code; what is wrong elsewhere does not matter here."""
    spec = replace(SMALL, defect=defect)
    write(spec, tmp_path / "f.dcm")
    if CODES[defect]:
        with pytest.raises(Unsuitable) as refused:
            decode(tmp_path / "f.dcm")
        assert refused.value.code == CODES[defect]
    else:
        plain = spec if defect is Defect.HAND else replace(spec, defect=None)
        assert np.array_equal(decode(tmp_path / "f.dcm").values, wanted(plain))


def test_colour_is_refused() -> None:
    """Three samples a pixel are no radiograph."""
    ds = render(SMALL).dataset
    ds.SamplesPerPixel = 3
    with pytest.raises(Unsuitable) as refused:
        decode(ds)
    assert refused.value.code == "colour"


def test_colour_inside_the_stream_is_refused() -> None:
    """A header may say one sample where the JPEG has three."""
    from io import BytesIO

    from PIL import Image

    ds = render(replace(SMALL, bits_stored=8, transfer_syntax=uid.JPEGBaseline8Bit)).dataset
    stream = BytesIO()
    Image.new("RGB", (SMALL.cols, SMALL.rows)).save(stream, "JPEG")
    ds.PixelData = encapsulate([stream.getvalue()])
    with pytest.raises(Unsuitable) as refused:
        decode(ds)
    assert refused.value.code == "colour"


def test_unknown_transfer_syntax_is_refused() -> None:
    """A video or a private syntax is named as what it is: not supported."""
    ds = render(SMALL).dataset
    ds.file_meta.TransferSyntaxUID = uid.UID("1.2.840.10008.1.2.4.100")
    with pytest.raises(Unsuitable, match="transfer syntax is not supported"):
        decode(ds)


def test_stream_that_is_not_what_its_syntax_says_is_refused() -> None:
    """JPEG 2000 announced, text delivered."""
    ds = render(replace(SMALL, transfer_syntax=uid.JPEG2000Lossless)).dataset
    ds.PixelData = encapsulate([b"no picture at all" * 40])
    with pytest.raises(Unsuitable) as refused:
        decode(ds)
    assert refused.value.code == "unreadable"


def test_overlay_in_the_high_bits_is_taken_off() -> None:
    """Old films keep an overlay in bits that are not stored values."""
    ds = render(SMALL).dataset
    values = np.frombuffer(ds.PixelData, dtype="<u2").copy()
    ds.PixelData = (values | 0x8000).tobytes()
    ds.add_new(0x60000100, "US", 16)
    ds.add_new(0x60000102, "US", 15)
    assert np.array_equal(decode(ds).values.ravel(), values)


def test_values_at_the_high_end_of_their_words_are_moved_down() -> None:
    """High Bit 15 with 12 bits stored."""
    ds = render(SMALL).dataset
    values = np.frombuffer(ds.PixelData, dtype="<u2").copy()
    ds.PixelData, ds.HighBit = (values << 4).tobytes(), 15
    assert np.array_equal(decode(ds).values.ravel(), values)


def test_frame_in_several_fragments_is_joined() -> None:
    """PS3.5 A.4 allows a frame to be split."""
    ds = render(replace(SMALL, transfer_syntax=uid.JPEGLSLossless)).dataset
    frame = joined(ds.PixelData)
    ds.PixelData = encapsulate([frame], fragments_per_frame=3)
    assert np.array_equal(decode(ds).values, wanted(SMALL))


def test_decoding_a_data_set_leaves_it_as_it_was() -> None:
    """The caller's data set keeps its pixels."""
    ds = render(SMALL).dataset
    before = ds.PixelData
    decode(ds)
    assert ds.PixelData == before


def test_header_of_a_decoded_file_carries_no_pixels(tmp_path: Path) -> None:
    """Ten megabytes are not kept twice."""
    write(SMALL, tmp_path / "f.dcm")
    assert "PixelData" not in decode(tmp_path / "f.dcm").header


def test_missing_file_is_not_called_an_unreadable_image(tmp_path: Path) -> None:
    """A file that vanished is a fault of the node, not of the image."""
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "gone.dcm")


@pytest.mark.parametrize("defect", [None, *Defect])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.RLELossless])
def test_nothing_of_the_patient_leaks_while_decoding(
    syntax: str, defect: Defect | None, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    """pydicom's warnings and log lines quote file names and values; none comes out, in the error neither."""
    patient = Patient(name="Sentinel^Person", patient_id="SENTINEL-ID", birth_date="19010203")
    path = tmp_path / "Sentinel^Person.dcm"
    write(replace(SMALL, patient=patient, transfer_syntax=syntax, defect=defect), path)
    said = ""
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            pixels = decode(path)
            display(pixels)
            from_header(pixels.header)
        except Unsuitable as error:
            said = f"{error} {error.subject} {error.hint}"
    out = capfd.readouterr()
    everything = f"{said} {caplog.text} {out.out} {out.err} {[str(w.message) for w in warned]}"
    assert not any(word in everything for word in ("Sentinel", "SENTINEL", "19010203"))


def test_error_names_the_instance_and_nothing_else() -> None:
    """A header with text in place of a UID gives no subject at all."""
    ds = render(replace(SMALL, defect=Defect.WRONG_ROWS)).dataset
    with pytest.raises(Unsuitable) as refused:
        decode(ds)
    assert refused.value.subject == ds.SOPInstanceUID
    ds["SOPInstanceUID"]._value = "Sentinel^Person"
    with pytest.raises(Unsuitable) as refused:
        decode(ds)
    assert refused.value.subject == ""


def test_empty_data_set_has_no_pixels() -> None:
    """An object without an image is refused as such."""
    with pytest.raises(Unsuitable) as refused:
        decode(Dataset())
    assert refused.value.code == "no_pixels"


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated"])
def test_header_without_its_dimensions_is_unreadable(keyword: str) -> None:
    """Values that describe the pixels are not guessed."""
    ds = render(SMALL).dataset
    del ds[keyword]
    with pytest.raises(Unsuitable) as refused:
        decode(ds)
    assert refused.value.code == "unreadable"


@pytest.mark.parametrize("syntax", [s for s in COMPRESSED if s != uid.RLELossless], ids=NAMES.get)
def test_code_stream_states_its_size_and_depth(syntax: str) -> None:
    """The markers are read rightly in each family."""
    ds = render(replace(SMALL, bits_stored=8, transfer_syntax=syntax)).dataset
    stream = stream_of(joined(ds.PixelData))
    assert (stream.rows, stream.cols, stream.components, stream.ended) == (SMALL.rows, SMALL.cols, 1, True)
    assert stream.precision == 8


def test_decoded_values_are_the_same_for_file_and_data_set(tmp_path: Path) -> None:
    """Both ways in give one answer."""
    write(SMALL, tmp_path / "f.dcm")
    from_file = decode(tmp_path / "f.dcm").values
    assert np.array_equal(from_file, decode(pydicom.dcmread(tmp_path / "f.dcm")).values)
