"""The phantom: the same specification is the same object, and its truth is the truth."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid

from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.selection import NotSuitable, Suitable, select
from cxrnode.domain.study import Arrival, Description, Sender
from cxrnode.phantom import (
    Defect,
    Patient,
    Phantom,
    Radiograph,
    View,
    Voi,
    catalogue,
    render,
    study_of,
    write,
    write_catalogue,
)
from cxrnode.phantom.encode import ENCODINGS
from cxrnode.pixels.header import HeaderReader

SMALL = Radiograph(rows=288, cols=256)


def digest(file: bytes) -> str:
    return hashlib.sha256(file).hexdigest()


def described_at(path: Path) -> Description:
    sender = Sender(calling_ae=AETitle("MODALITY"), called_ae=AETitle("CXRNODE"), address="127.0.0.1", association="1")
    uid_of_command = InstanceUID("1.2.3")
    arrival = Arrival(
        path=path, sop_class_uid="", sop_instance_uid=uid_of_command, transfer_syntax_uid="", sender=sender
    )
    return HeaderReader().describe(arrival)


def verdict(phantom: Phantom, path: Path) -> str:
    """The code with which selection refuses the written phantom, "" where it takes it."""
    path.write_bytes(phantom.file)
    described = described_at(path)
    if described.unreadable:
        return described.unreadable
    decided = select(described.facts)
    return decided.code if isinstance(decided, NotSuitable) else ""


@pytest.mark.parametrize("syntax", ENCODINGS)
def test_same_specification_gives_the_same_bytes(syntax: str) -> None:
    """Benchmarks and evidence of equal digest need an input that never changes, whatever encoder wrote it."""
    spec = replace(SMALL, bits_stored=8, transfer_syntax=syntax)
    assert digest(render(spec).file) == digest(render(spec).file)


def test_another_seed_is_another_patient() -> None:
    """A seed draws another chest, not the same one with other noise."""
    one, two = (render(replace(SMALL, seed=seed)).truth for seed in (1, 2))
    assert (one.heart != two.heart).any()
    assert (one.right_lung != two.right_lung).any()


def test_uids_derive_from_the_specification() -> None:
    """Every UID is a valid 2.25 UID and differs between specifications, but for an identity given on purpose."""
    one, two = render(SMALL).dataset, render(replace(SMALL, bits_stored=14)).dataset
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert one[keyword].value.startswith("2.25.")
        assert one[keyword].value.is_valid
        assert one[keyword].value != two[keyword].value
    first, second = (
        render(replace(SMALL, identity="x", patient=Patient(name=name))).dataset for name in ("Old^Name", "New^Name")
    )
    assert first.SOPInstanceUID == second.SOPInstanceUID
    assert first.PatientName != second.PatientName


def test_pa_and_lateral_share_a_study_and_nothing_else() -> None:
    """The helper makes what a modality sends: one study, two series, two instances."""
    frontal, lateral = (render(spec).dataset for spec in study_of(4, rows=288, cols=256, modality="CR"))
    assert frontal.StudyInstanceUID == lateral.StudyInstanceUID
    assert frontal.SeriesInstanceUID != lateral.SeriesInstanceUID
    assert frontal.SOPInstanceUID != lateral.SOPInstanceUID
    assert (frontal.ViewPosition, lateral.ViewPosition) == ("PA", "LL")


def test_patient_and_accession_number_are_settable() -> None:
    """Sentinel tests plant their own names."""
    patient = Patient(name="Sentinel^Name", patient_id="SENTINEL-ID", birth_date="19010203")
    ds = render(replace(SMALL, patient=patient, accession_number="SENTINEL-ACC")).dataset
    stated = (str(ds.PatientName), ds.PatientID, ds.PatientBirthDate, ds.AccessionNumber)
    assert stated == ("Sentinel^Name", "SENTINEL-ID", "19010203", "SENTINEL-ACC")


def test_structures_do_not_overlap_and_lie_on_their_sides() -> None:
    """In L\\F the patient's right lung is on the picture's left, and what the heart covers is no lung."""
    truth = render(SMALL).truth
    right, left, heart = (np.nonzero(mask)[1].mean() for mask in (truth.right_lung, truth.left_lung, truth.heart))
    assert right < heart < left
    assert not (truth.right_lung & truth.left_lung).any()
    assert not ((truth.right_lung | truth.left_lung) & truth.heart).any()
    assert truth.heart.mean() > 0.04
    assert truth.right_lung.mean() > 0.08


def test_lungs_are_darker_than_heart_and_abdomen() -> None:
    """The picture shows air as air."""
    truth = render(SMALL).truth
    assert truth.display[truth.right_lung].mean() < truth.display[truth.heart].mean() - 0.2
    assert truth.display[truth.left_lung].mean() < truth.display[-20:, 100:160].mean() - 0.2


@pytest.mark.parametrize(
    ("stated", "back"),
    [
        ("R\\F", lambda a: a[:, ::-1]),
        ("L\\H", lambda a: a[::-1]),
        ("R\\H", lambda a: a[::-1, ::-1]),
        ("F\\L", lambda a: a.T),
        ("H\\R", lambda a: a[::-1, ::-1].T),
        ("F\\R", lambda a: a[::-1].T),
        ("H\\L", lambda a: a[:, ::-1].T),
        ("", lambda a: a),
        ("A\\F", lambda a: a),
        ("F\\H", lambda a: a),
    ],
)
def test_stored_pixels_lie_as_patient_orientation_says(stated: str, back: object) -> None:
    """Turned back by hand, every arrangement is the picture of L\\F, and the truth went with it."""
    upright = render(replace(SMALL, rows=256, cols=256))
    other = render(replace(SMALL, rows=256, cols=256, orientation=stated))
    for name in ("display", "right_lung", "left_lung", "heart"):
        assert np.array_equal(back(getattr(other.truth, name)), getattr(upright.truth, name))  # type: ignore[operator]
    assert np.array_equal(back(other.dataset.pixel_array), upright.dataset.pixel_array)  # type: ignore[operator]
    assert other.truth.cardiothoracic_ratio == upright.truth.cardiothoracic_ratio


def test_rows_and_columns_are_those_of_the_stored_picture() -> None:
    """A turned picture keeps the size that was asked for."""
    phantom = render(replace(SMALL, rows=256, cols=320, orientation="F\\L"))
    assert phantom.dataset.pixel_array.shape == phantom.truth.heart.shape == (256, 320)


def test_lateral_has_no_lungs_to_find_and_faces_as_it_says() -> None:
    """A lateral has no truth of sides; A\\F is P\\F mirrored."""
    usual = render(replace(SMALL, view=View.LATERAL))
    other = render(replace(SMALL, view=View.LATERAL, orientation="A\\F"))
    assert usual.truth.cardiothoracic_ratio is None
    assert not usual.truth.right_lung.any()
    assert np.array_equal(usual.truth.display, other.truth.display[:, ::-1])


def test_cardiothoracic_ratio_is_what_the_masks_say() -> None:
    """Heart's width over the thorax's, counted in pixels; a plausible one for every seed."""
    for seed in range(1, 9):
        truth = render(replace(SMALL, seed=seed)).truth
        heart = np.ptp(np.nonzero(truth.heart.any(axis=0))[0]) + 1
        thorax = max(np.ptp(np.nonzero(row)[0]) + 1 for row in truth.right_lung | truth.left_lung if row.any())
        assert truth.cardiothoracic_ratio == pytest.approx(heart / thorax)
        assert 0.35 < truth.cardiothoracic_ratio < 0.6


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_values_use_the_bits_they_state(bits: int, signed: bool) -> None:
    """The range of values is that of Bits Stored and Pixel Representation, and most of it is used."""
    ds = render(replace(SMALL, modality="CR", bits_stored=bits, signed=signed)).dataset
    values = ds.pixel_array.astype(int)
    low = -(2 ** (bits - 1)) if signed else 0
    assert low <= values.min()
    assert values.max() < low + 2**bits
    assert np.ptp(values) > 0.6 * 2**bits


@pytest.mark.parametrize(
    ("syntax", "changes"),
    [
        (uid.JPEGBaseline8Bit, {"bits_stored": 12}),
        (uid.JPEGExtended12Bit, {"bits_stored": 14}),
        (uid.JPEGLSNearLossless, {"signed": True}),
        (uid.MPEG2MPML, {}),
    ],
)
def test_what_a_transfer_syntax_cannot_carry_is_refused(syntax: str, changes: dict[str, object]) -> None:
    """A specification that cannot be written says so instead of writing another one."""
    with pytest.raises(ValueError, match=r"JPEG|MPEG"):
        render(replace(SMALL, transfer_syntax=syntax, **changes))


REFUSED = {
    Defect.TRUNCATED: "",
    Defect.NO_PIXELS: "no_pixels",
    Defect.WRONG_ROWS: "",
    Defect.LYING_BITS: "",
    Defect.NO_TRANSFER_SYNTAX: "",
    Defect.NO_META: "",
    Defect.NO_STUDY_UID: "no_study",
    Defect.MULTI_FRAME: "multi_frame",
    Defect.GARBAGE: "not_dicom",
    Defect.EMPTY: "not_dicom",
    Defect.NO_VIEW: "",
    Defect.WRONG_CHARACTER_SET: "",
    Defect.ZERO_SPACING: "",
    Defect.HAND: "not_chest",
    Defect.DERIVED: "secondary",
}
"""What selection, which reads headers only, says of each defect."""


@pytest.mark.parametrize("defect", Defect)
def test_each_defect_has_its_documented_effect_on_selection(defect: Defect, tmp_path: Path) -> None:
    """A defect is refused for its own reason, or passes to the decoder, as its description says."""
    spec = replace(SMALL, modality="CR", defect=defect)
    assert verdict(render(spec), tmp_path / "f.dcm") == REFUSED[defect]


def test_views_are_told_apart_by_selection(tmp_path: Path) -> None:
    """PA and AP are analysed, a lateral and raw data are not."""
    specs = {
        "": (SMALL, replace(SMALL, view=View.AP), replace(SMALL, modality="CR", photometric="MONOCHROME1")),
        "lateral": (replace(SMALL, view=View.LATERAL), replace(SMALL, view=View.LATERAL, modality="CR")),
        "for_processing": (replace(SMALL, for_processing=True),),
    }
    for code, wanted in specs.items():
        assert [verdict(render(spec), tmp_path / "f.dcm") for spec in wanted] == [code] * len(wanted)


def test_wrong_character_set_is_really_wrong(tmp_path: Path) -> None:
    """The name's bytes are no UTF-8, though the object says so."""
    file = render(replace(SMALL, defect=Defect.WRONG_CHARACTER_SET)).file
    assert b"ISO_IR 192" in file
    assert b"Ph\xe4ntom" in file


def test_catalogue_names_are_unique_and_written_as_files(tmp_path: Path) -> None:
    """Each name is a file; an unknown name writes nothing and says where the names are listed."""
    names = [entry.name for entry in catalogue()]
    assert len(set(names)) == len(names)
    paths = write_catalogue(tmp_path / "new", ["cr-mono1", "ts-rle", "defect-no-view"], seed=5)
    assert [path.name for path in paths] == ["cr-mono1.dcm", "ts-rle.dcm", "defect-no-view.dcm"]
    assert pydicom.dcmread(paths[1]).file_meta.TransferSyntaxUID == uid.RLELossless
    with pytest.raises(KeyError, match="--list"):
        write_catalogue(tmp_path / "none", ["cr-mono1", "nonsense"])
    assert not (tmp_path / "none").exists()


def test_catalogue_covers_every_transfer_syntax_voi_and_defect() -> None:
    """What the phantom can make has a name."""
    specs = [entry.spec for entry in catalogue()]
    assert {spec.transfer_syntax for spec in specs} == set(ENCODINGS)
    assert {spec.voi for spec in specs} == set(Voi)
    assert {spec.defect for spec in specs} - {None} == set(Defect)
    assert {spec.view for spec in specs} == set(View)


def test_written_file_is_the_rendered_one(tmp_path: Path) -> None:
    """`write` writes what `render` gives."""
    phantom = write(SMALL, tmp_path / "p.dcm")
    assert (tmp_path / "p.dcm").read_bytes() == phantom.file
    assert isinstance(select(described_at(tmp_path / "p.dcm").facts), Suitable)
