"""What stands in a SEG: the planes as they were given, and what viewers and readers need around them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import Presence, Region
from cxrnode.errors import NeedsOperator
from cxrnode.evidence.codes import UnknownConcept
from cxrnode.evidence.geometry import pixel_spacing
from cxrnode.evidence.headers import read_header
from cxrnode.evidence.segmentation import segmented
from tests.evidence_cases import LUNGS, Case, case, composer, four_kinds, result_of


@pytest.fixture
def made(tmp_path: Path) -> Case:
    """One case of odd size: a plane's pixels do not fill whole bytes."""
    return case(tmp_path, rows=301, cols=263)


def _read(made: Case, geometry: Geometry = Geometry.VIEWER, **changes: object) -> pydicom.Dataset:
    evidence = composer().segmentation(made.source, made.path, replace(made.result, **changes), geometry)
    assert evidence is not None
    return pydicom.dcmread(io.BytesIO(evidence.encoded))


def _changed(made: Case, **values: object) -> Case:
    """The same case with other values in the source's header; None removes an element."""
    header = pydicom.dcmread(made.path)
    for keyword, value in values.items():
        if value is None:
            header.pop(keyword, None)
        else:
            setattr(header, keyword, value)
    header.save_as(made.path)
    return made


def test_planes_come_back_as_they_were_given(made):
    """On the source's own rows and columns, one frame a segment, in the order of the regions."""
    read = _read(made)
    planes = read.pixel_array
    assert planes.shape == (3, 301, 263)
    for plane, region in zip(planes, made.result.regions, strict=True):
        assert np.array_equal(plane.astype(bool), region.mask)


def test_frames_that_would_share_a_byte_have_an_object_each(made):
    """Alone each begins with a byte: OHIF cannot unpack others, and Slicer and Weasis take a byte a pixel otherwise."""
    parts = segmented(made.result, Geometry.VIEWER)
    read = [_read(made, regions=part.regions) for part in parts]
    assert [[one.SegmentLabel for one in each.SegmentSequence] for each in read] == [
        ["Right lung"],
        ["Left lung"],
        ["Heart"],
    ]
    assert {each.SegmentationType for each in read} == {"BINARY"}
    assert len({each.SOPInstanceUID for each in read}) == 3
    assert read[0].SeriesDescription == "cxrnode R lung, lungs segmentation"
    for each, region in zip(read, made.result.regions, strict=True):
        assert np.array_equal(each.pixel_array.astype(bool), region.mask)


@pytest.mark.parametrize(
    ("spec", "geometry", "regions"),
    [({"cols": 264}, Geometry.VIEWER, 3), ({}, Geometry.STRICT, 3), ({}, Geometry.VIEWER, 1)],
    ids=["whole bytes", "strict", "one frame"],
)
def test_all_other_frames_are_in_one_object(spec, geometry, regions, tmp_path):
    """Where frames begin with a byte anyway, where there is only one, and where strict comes before viewable."""
    made = case(tmp_path, **{"rows": 301, "cols": 263, **spec})
    (part,) = segmented(replace(made.result, regions=made.result.regions[:regions]), geometry)
    assert len(part.regions) == regions


def test_one_region_is_one_frame_that_names_its_segment(made):
    """highdicom would share the segment's number; viewers look for it in the frame."""
    read = _read(made, regions=made.result.regions[:1])
    assert read.NumberOfFrames == 1
    assert read.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1
    assert "SegmentIdentificationSequence" not in read.SharedFunctionalGroupsSequence[0]


def test_empty_masks_make_no_object(made):
    """Viewers misbehave on empty frames: the report says that nothing was found."""
    empty = tuple(replace(region, mask=np.zeros_like(region.mask)) for region in made.result.regions)
    result = replace(made.result, regions=empty)
    assert composer().segmentation(made.source, made.path, result, Geometry.VIEWER) is None


def test_an_empty_mask_among_others_takes_no_segment(made):
    """Segments are numbered from one without gaps."""
    first, second, third = made.result.regions
    read = _read(made, regions=(first, replace(second, mask=np.zeros_like(second.mask)), third))
    assert [(segment.SegmentNumber, segment.SegmentLabel) for segment in read.SegmentSequence] == [
        (1, "Right lung"),
        (2, "Heart"),
    ]


def test_segments_say_their_side(made):
    """Laterality modifies the type; the label says it too."""
    sides = {
        segment.SegmentLabel: [
            modifier.CodeMeaning
            for modifier in segment.SegmentedPropertyTypeCodeSequence[0].get(
                "SegmentedPropertyTypeModifierCodeSequence", []
            )
        ]
        for segment in _read(made).SegmentSequence
    }
    assert sides == {"Right lung": ["Right"], "Left lung": ["Left"], "Heart": []}


def test_a_segment_of_what_is_not_certain_says_so(made):
    """Viewers list segments by their label; said to be present later it is another object, tracked as the same."""
    _, pneumothorax, *_ = four_kinds(made.masks())
    doubted = tuple(replace(finding, presence=Presence.INDETERMINATE) for finding in pneumothorax.findings)
    certain, open_ = (
        pydicom.dcmread(io.BytesIO(one.encoded))
        for result in (pneumothorax, replace(pneumothorax, findings=doubted))
        if (one := composer().segmentation(made.source, made.path, result, Geometry.VIEWER))
    )
    assert [one.SegmentLabel for one in certain.SegmentSequence] == ["Pneumothorax, right", "Pneumothorax, left"]
    assert {one.SegmentLabel for one in open_.SegmentSequence} == {
        "Pneumothorax, right: indeterminate",
        "Pneumothorax, left: indeterminate",
    }
    assert certain.SOPInstanceUID != open_.SOPInstanceUID
    assert [one.TrackingUID for one in certain.SegmentSequence] == [one.TrackingUID for one in open_.SegmentSequence]


def test_overlap_is_stated(made):
    """Segments Overlap tells a reader whether one label a pixel is enough."""
    assert _read(made, regions=made.result.regions[:1]).SegmentsOverlap == "NO"
    twice = (made.result.regions[0], Region(label="heart", mask=made.result.regions[0].mask, model=LUNGS))
    for geometry in Geometry:
        assert _read(made, geometry, regions=twice).SegmentsOverlap == "YES"


def test_viewer_geometry_states_planes_and_strict_states_none(made):
    """OHIF and dcmqi need plane groups that a radiograph has no true values for."""
    _changed(made, PixelSpacing=["0.175", "0.18"])
    viewer, strict = _read(made), _read(made, Geometry.STRICT)
    shared = viewer.SharedFunctionalGroupsSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.175, 0.18]
    assert viewer.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0].ImagePositionPatient == [0, 0, 0]
    assert "PlaneOrientationSequence" not in strict.SharedFunctionalGroupsSequence[0]
    assert "PixelMeasuresSequence" not in strict.SharedFunctionalGroupsSequence[0]
    assert "PlanePositionSequence" not in strict.PerFrameFunctionalGroupsSequence[0]


@pytest.mark.parametrize(
    ("stated", "wanted"),
    [
        ({"PixelSpacing": ["0.2", "0.3"]}, [0.2, 0.3]),
        ({"PixelSpacing": ["0", "0"], "ImagerPixelSpacing": None}, [1, 1]),
        ({"PixelSpacing": None, "ImagerPixelSpacing": ["0.22", "0.22"]}, [0.22, 0.22]),
        (
            {
                "PixelSpacing": None,
                "ImagerPixelSpacing": ["0.22", "0.22"],
                "EstimatedRadiographicMagnificationFactor": "1.1",
            },
            [0.2, 0.2],
        ),
        ({"PixelSpacing": None, "ImagerPixelSpacing": None}, [1, 1]),
    ],
)
def test_pixel_measures_follow_the_source(made, stated, wanted):
    """Calibrated, else at the detector and corrected where the magnification is known, else 1 mm a pixel."""
    read = _read(_changed(made, **stated))
    assert read.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == pytest.approx(wanted)


def test_a_spacing_of_too_many_digits_is_written_with_as_many_as_a_decimal_string_holds(made):
    """A DS has 16 characters (PS3.5 6.2); a source that writes more is not to make our object invalid."""
    stated = ("0.1388888888888888888", "0.14")
    header = read_header(made.source, made.path)
    tag = Tag(tag_for_keyword("PixelSpacing"))
    raw = "\\".join(stated).encode()
    header[tag] = RawDataElement(tag, "DS", len(raw), raw, 0, False, True)
    assert pixel_spacing(header) == ("0.13888888888889", "0.14")


def test_no_frame_of_reference_is_invented(made):
    """A radiograph has none; the SEG takes over what the source states."""
    assert "FrameOfReferenceUID" not in _read(_changed(made, FrameOfReferenceUID=None))
    assert _read(_changed(made, FrameOfReferenceUID="2.25.4711")).FrameOfReferenceUID == "2.25.4711"


def test_patient_orientation_is_the_sources_and_empty_where_it_has_none(made):
    """Type 2C: dciodvfy wants it, highdicom does not write it."""
    assert _read(made).PatientOrientation == ["L", "F"]
    bare = _read(_changed(made, PatientOrientation=None))
    assert "PatientOrientation" in bare
    assert not bare.PatientOrientation


@pytest.mark.parametrize("stated", [["l", "f"], ["L"], ["L", "L"], ["0.1", "0.1"], ["L", "F", "R"], ["X", "F"]])
def test_a_patient_orientation_that_is_none_is_not_taken_over(stated, made):
    """A fault of the source does not become ours."""
    assert not _read(_changed(made, PatientOrientation=stated)).PatientOrientation


def test_only_the_source_is_referred_to(made):
    """One series with exactly the image that was used, and each frame derived from it."""
    read = _read(made)
    (series,) = read.ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == [made.source.uid]
    for frame in read.PerFrameFunctionalGroupsSequence:
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedSOPInstanceUID == made.source.uid
        assert image.SpatialLocationsPreserved == "YES"
        assert image.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"


def test_it_says_that_it_is_for_research(made):
    """Where a SEG has room for it."""
    assert _read(made).ContentDescription == "Research use only, not a medical device"


def test_a_mask_of_another_size_is_refused(made):
    """Better no object than one that lies beside its image."""
    small = Region(label="heart", mask=np.ones((10, 10), dtype=bool), model=LUNGS)
    with pytest.raises(NeedsOperator, match="rows and columns"):
        _read(made, regions=(small,))


def test_an_unknown_label_is_refused(made):
    """A model's label without a code is an operator's matter."""
    mask = np.ascontiguousarray(made.result.regions[0].mask)
    with pytest.raises(UnknownConcept):
        _read(made, regions=(Region(label="spleen", mask=mask, model=LUNGS),))


def test_a_damaged_source_needs_an_operator(made, tmp_path):
    """The kept file cannot be read: the job parks, and the error names the instance only."""
    gone = tmp_path / "gone.dcm"
    with pytest.raises(NeedsOperator, match=made.source.uid):
        composer().segmentation(made.source, gone, result_of(made.masks()), Geometry.VIEWER)


def test_a_pneumothorax_is_an_object_of_its_own_with_a_segment_for_each_side(made):
    """Pneumothorax of the lung, right and left, by the model that found it; the lungs are another object."""
    lungs, pneumothorax, *_ = four_kinds(made.masks())
    composed = [composer().segmentation(made.source, made.path, one, Geometry.VIEWER) for one in (lungs, pneumothorax)]
    read = pydicom.dcmread(io.BytesIO(composed[1].encoded))
    assert composed[0].sop_instance_uid != read.SOPInstanceUID
    said = [
        (
            segment.SegmentLabel,
            segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning,
            segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning,
            segment.AnatomicRegionSequence[0].CodeMeaning,
            segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName,
        )
        for segment in read.SegmentSequence
    ]
    assert said == [
        ("Pneumothorax, right", "Pneumothorax", "Right", "Lung", "pneumothorax"),
        ("Pneumothorax, left", "Pneumothorax", "Left", "Lung", "pneumothorax"),
    ]
