"""What the inspection does not let pass: one damage for each rule, each with the reason that a person is told."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cxrnode.domain.capability import Kind
from tests.inspecting import Made, made

Change = Callable[[Dataset], object]


@dataclass(frozen=True)
class Damage:
    """What is done to an object of a kind, and words of the objection that must come."""

    kind: Kind
    change: Change
    said: str


def _items(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        yield child
        yield from _items(child)


def _named(dataset: Dataset, name: str, value_type: str = "") -> Dataset:
    found = (item for item in _items(dataset) if not value_type or item.ValueType == value_type)
    return next(i for i in found if "ConceptNameCodeSequence" in i and i.ConceptNameCodeSequence[0].CodeValue == name)


def _group(dataset: Dataset, title: str, *, with_frame: bool = False) -> Dataset:
    for group in _items(dataset):
        inside = group.get("ContentSequence", ())
        if not any(i.ValueType == "TEXT" and i.TextValue == title for i in inside):
            continue
        framed = any("ReferencedFrameNumber" in one for i in inside for one in i.get("ReferencedSOPSequence", ()))
        if with_frame == framed:
            return group
    raise LookupError(title)


def _drop(*path: str | int) -> Change:
    """Delete what the path leads to."""

    def change(dataset: Dataset) -> None:
        holder = _at(dataset, path[:-1])
        delattr(holder, str(path[-1]))

    return change


def _put(*path_and_value: object) -> Change:
    """Put a value, which comes last, where the path leads."""
    *path, value = path_and_value

    def change(dataset: Dataset) -> None:
        setattr(_at(dataset, path[:-1]), str(path[-1]), value)

    return change


def _at(dataset: Dataset, path: object) -> Dataset:
    for step in path:  # type: ignore[attr-defined]
        dataset = dataset[step] if isinstance(step, int) else getattr(dataset, step)
    return dataset


def _number(concept: str, value: str) -> Change:
    return lambda dataset: setattr(_named(dataset, concept, "NUM").MeasuredValueSequence[0], "NumericValue", value)


def _moved(title: str, by: float) -> Change:
    def change(dataset: Dataset) -> None:
        (outline,) = (i for i in _group(dataset, title).ContentSequence if i.ValueType == "SCOORD")
        outline.GraphicData = [value + by for value in outline.GraphicData]

    return change


def _flipped_pixels(dataset: Dataset) -> None:
    """The bits of each byte the other way round: as many, but elsewhere."""
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="big")
    dataset.PixelData = np.packbits(bits, bitorder="little").tobytes()


def _mirrored(dataset: Dataset) -> None:
    """Every frame seen in a mirror: the codes stay, the lungs change sides."""
    shape = (dataset.NumberOfFrames, dataset.Rows, dataset.Columns)
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little", count=int(np.prod(shape)))
    packed = np.packbits(bits.reshape(shape)[:, :, ::-1].ravel(), bitorder="little").tobytes()
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)


def _grown(dataset: Dataset) -> None:
    """One row more than there was, at the edge of the first frame."""
    pixels = bytearray(dataset.PixelData)
    pixels[:400] = b"\xff" * 400
    dataset.PixelData = bytes(pixels)


def _repeated(dataset: Dataset) -> None:
    """The second lung is drawn where the first is."""
    size = dataset.Rows * dataset.Columns
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    bits[size : 2 * size] = bits[:size]
    dataset.PixelData = np.packbits(bits, bitorder="little").tobytes()


def _emptied(dataset: Dataset) -> None:
    dataset.PixelData = b"\0" * len(dataset.PixelData)


def _other_side(dataset: Dataset) -> None:
    side = dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    side.CodeValue, side.CodeMeaning = "7771000", "Left"


def _other_laterality(dataset: Dataset) -> None:
    group = _group(dataset, "Right lung")
    side = _named(group, "272741003").ConceptCodeSequence[0]
    side.CodeValue, side.CodeMeaning = "7771000", "Left"


def _other_unit(dataset: Dataset) -> None:
    unit = _named(dataset, "42798000", "NUM").MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
    unit.CodeValue, unit.CodeMeaning = "mm", "millimeter"


def _other_verdict(dataset: Dataset) -> None:
    """Absent in place of present."""
    verdict = _named(dataset, "36118008", "CODE").ConceptCodeSequence[0]
    verdict.CodeValue, verdict.CodeMeaning = "272519000", "Absent"


def _left_out(dataset: Dataset) -> None:
    left_out = _group(dataset, "Abnormal chest: present")
    holders = [dataset, *_items(dataset)]
    holder = next(item for item in holders if any(left_out is child for child in item.get("ContentSequence", ())))
    holder.ContentSequence = Sequence([item for item in holder.ContentSequence if item is not left_out])


def _no_tracking_uid(dataset: Dataset) -> None:
    group = _group(dataset, "Heart")
    group.ContentSequence = Sequence([i for i in group.ContentSequence if i.ValueType != "UIDREF"])


def _other_tracking_uid(dataset: Dataset) -> None:
    _named(_group(dataset, "Heart", with_frame=True), "112040").UID = "2.25.1"


def _other_frame(dataset: Dataset) -> None:
    _reference(dataset).ReferencedFrameNumber = 9


def _frame_and_segment(dataset: Dataset) -> None:
    _reference(dataset).ReferencedSegmentNumber = 1


def _reference(dataset: Dataset) -> Dataset:
    return _named(dataset, "121214", "IMAGE").ReferencedSOPSequence[0]


def _unlisted(dataset: Dataset) -> None:
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    study.ReferencedSeriesSequence = Sequence([study.ReferencedSeriesSequence[0]])


def _other_series(dataset: Dataset) -> None:
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    study.ReferencedSeriesSequence[-1].SeriesInstanceUID = "2.25.1"


def _other_class(dataset: Dataset) -> None:
    _reference(dataset).ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"


def _nowhere(dataset: Dataset) -> None:
    _reference(dataset).ReferencedSOPInstanceUID = "2.25.1"


def _from_nothing(dataset: Dataset) -> None:
    """A predecessor that the study knows nothing of."""
    before = copy.deepcopy(dataset.CurrentRequestedProcedureEvidenceSequence)
    dataset.PredecessorDocumentsSequence = before


def _no_place(dataset: Dataset) -> None:
    _named(dataset, "112039").RelationshipType = "SELECTED FROM"


def _half_a_point(dataset: Dataset) -> None:
    (outline,) = (i for i in _group(dataset, "Heart").ContentSequence if i.ValueType == "SCOORD")
    outline.GraphicData = [1.0, 2.0, 3.0]


def _rejects_a_source(dataset: Dataset) -> None:
    """Puts the radiograph in the place of the first object that is rejected."""
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    first = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    _source = _SOURCE["uid"]
    for item in _items(dataset):
        for one in item.get("ReferencedSOPSequence", ()):
            if one.ReferencedSOPInstanceUID == first.ReferencedSOPInstanceUID:
                one.ReferencedSOPInstanceUID = _source
    first.ReferencedSOPInstanceUID = _source


_SOURCE: dict[str, str] = {}


def _beyond(dataset: Dataset) -> None:
    annotation = next(a for a in dataset.GraphicAnnotationSequence if "GraphicObjectSequence" in a)
    annotation.GraphicObjectSequence[0].GraphicData = [
        value + 1000 for value in annotation.GraphicObjectSequence[0].GraphicData
    ]


def _silent(dataset: Dataset) -> None:
    for element in dataset.iterall():
        if element.VR in ("LO", "ST", "UT", "LT") and "Research use" in str(element.value):
            element.value = "For diagnosis"


def _two_of_it(dataset: Dataset) -> None:
    kind = dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence
    kind.append(copy.deepcopy(kind[0]))


_PROBABILITY = "PROBPNEUMOTHORAX"

DAMAGES = {
    # Required attributes, by type, and values (rule 1).
    "type 1 missing": Damage(Kind.SEG, _drop("SegmentationType"), "SegmentationType: missing (type 1, PS3.3 C.8.20.2)"),
    "a model without its version": Damage(
        Kind.KOS,
        _drop("ContributingEquipmentSequence", 0, "SoftwareVersions"),
        "ContributingEquipmentSequence[1].SoftwareVersions: missing (type 1, PS3.3 C.12.1)",
    ),
    "type 1 empty": Damage(Kind.SR, _put("CompletionFlag", ""), "CompletionFlag: empty (type 1, PS3.3 C.17.2)"),
    "type 2 missing": Damage(Kind.PDF, _drop("AccessionNumber"), "AccessionNumber: missing (type 2, PS3.3 C.7.2.1)"),
    "type 1C missing": Damage(
        Kind.SEG, _drop("SegmentSequence", 0, "SegmentAlgorithmName"), "SegmentAlgorithmName: missing (type 1C"
    ),
    "type 2C missing": Damage(Kind.SC, _drop("PatientOrientation"), "PatientOrientation: missing (type 2C"),
    "type 1 in an item": Damage(
        Kind.SEG, _drop("SegmentSequence", 1, "SegmentLabel"), "SegmentSequence[2].SegmentLabel: missing"
    ),
    "a meaning without its code": Damage(
        Kind.SR, lambda d: delattr(_named(d, "121071").ConceptCodeSequence[0], "CodeValue"), "CodeValue: missing"
    ),
    "another value than the enumerated": Damage(
        Kind.SEG, _put("SegmentationType", "LABELMAP"), "SegmentationType: not BINARY"
    ),
    "another manufacturer": Damage(Kind.KOS, _put("Manufacturer", "ACME"), "Manufacturer: not cxrnode"),
    "two items instead of one": Damage(Kind.SEG, _two_of_it, "SegmentedPropertyTypeCodeSequence: 2 items"),
    "another modality": Damage(Kind.GSPS, _put("Modality", "OT"), "Modality: not PR"),
    "no outlines": Damage(Kind.GSPS, _drop("GraphicLayerSequence"), "GraphicLayerSequence: missing (type 1, PS3.3"),
    "a date that is none": Damage(Kind.SR, _put("ContentDate", "20261399"), "ContentDate: not a DA"),
    "a number that is none": Damage(Kind.SR, _number(_PROBABILITY, "1.00000000000000000000"), "NumericValue: not a DS"),
    "a code that is too long": Damage(Kind.SEG, _put("ContentLabel", "A" * 17), "ContentLabel: not a CS"),
    "a UID of letters": Damage(Kind.SEG, _put("SegmentSequence", 0, "TrackingUID", "1.2.x"), "TrackingUID: not a UI"),
    "a letter that is not ASCII": Damage(Kind.SEG, _put("SeriesDescription", "Lünge"), "SeriesDescription: not a LO"),
    "a private element": Damage(
        Kind.PDF, lambda d: d.add_new(0x00991001, "LO", "x"), "(0099,1001): not an element of the standard"
    ),
    "too many values": Damage(Kind.SR, _put("InstanceNumber", ["1", "2"]), "InstanceNumber: 2 values instead of 1"),
    # The grammar of documents (rule 1).
    "a relationship without a place": Damage(Kind.SR, _no_place, "SELECTED FROM TEXT has no place in this SOP class"),
    "half a point": Damage(Kind.SR, _half_a_point, "GraphicData: 3 numbers are no POLYLINE (PS3.3 C.18.6)"),
    "a frame and a segment": Damage(Kind.SR, _frame_and_segment, "beside a frame (PS3.3 C.18.4.1)"),
    "no unit": Damage(
        Kind.SR,
        lambda d: delattr(_named(d, _PROBABILITY, "NUM").MeasuredValueSequence[0], "MeasurementUnitsCodeSequence"),
        "MeasurementUnitsCodeSequence: missing",
    ),
    "an unknown value type": Damage(
        Kind.KOS, lambda d: setattr(d.ContentSequence[-1], "ValueType", "TABLE"), "ValueType: TABLE"
    ),
    # References (rule 2).
    "a reference to nothing": Damage(Kind.SR, _nowhere, "neither a source of the study nor one of our objects"),
    "a reference of another class": Damage(Kind.SR, _other_class, "ReferencedSOPClassUID: not the class"),
    "a reference that is not listed": Damage(Kind.SR, _unlisted, "not in CurrentRequestedProcedureEvidenceSequence"),
    "another series": Damage(Kind.SR, _other_series, "SeriesInstanceUID: not the series of what is listed in it"),
    "another study": Damage(
        Kind.KOS,
        _put("CurrentRequestedProcedureEvidenceSequence", 0, "StudyInstanceUID", "1.2.3"),
        "StudyInstanceUID: another study",
    ),
    "a predecessor from nowhere": Damage(Kind.SR, _from_nothing, "not the report that this one follows"),
    "a rejected radiograph": Damage(Kind.REJECTION, _rejects_a_source, "rejects an image that is not ours"),
    "a frame that is not there": Damage(
        Kind.SR, _other_frame, "frame 9 of the segmentation that it names is not there"
    ),
    "another tracking UID": Damage(
        Kind.SR, _other_tracking_uid, "its tracking UID is not that of the segment in frame"
    ),
    "no tracking UID": Damage(Kind.SR, _no_tracking_uid, "a group without tracking UID"),
    # Numbers and places (rule 3).
    "another area": Damage(Kind.SR, _number("42798000", "12345"), "12345 mm2, but the masks give"),
    "another share of the hemithorax": Damage(Kind.SR, _number("HEMITHORAXSHARE", "1.0"), "1.0 %, but the masks give"),
    "another asymmetry": Damage(Kind.SR, _number("LUNGASYM", "0.999"), "0.999 1, but the masks give"),
    "another ratio": Damage(Kind.SR, _number("CTR", "0.111"), "0.111 1, but the masks give"),
    "a diameter beside the heart": Damage(
        Kind.SR, _moved("Transverse cardiac diameter", 3), "nothing shows what this was measured on"
    ),
    "a box beside its mask": Damage(Kind.SR, _moved("Heart", 2), "not around the mask of the same tracking UID"),
    "a box outside of the image": Damage(Kind.SR, _moved("Lung opacity 1", 5000), "GraphicData: outside of the image"),
    "lines outside of the image": Damage(Kind.GSPS, _beyond, "GraphicData: outside of the image"),
    "a graphic on no layer": Damage(
        Kind.GSPS, _put("GraphicAnnotationSequence", 0, "GraphicLayer", "NONE"), "GraphicLayer: not in"
    ),
    "a part of the image": Damage(
        Kind.GSPS,
        _put("DisplayedAreaSelectionSequence", 0, "DisplayedAreaTopLeftHandCorner", [5, 5]),
        "DisplayedAreaSelectionSequence[1]: not the whole image",
    ),
    "other rows": Damage(Kind.SEG, _put("Rows", 299), "Rows, Columns: not those of the image"),
    "too few pixels": Damage(Kind.SC, _put("PixelData", b"\0\0"), "PixelData: 2 bytes, not"),
    "too many frames": Damage(Kind.SEG, _put("NumberOfFrames", 4), "NumberOfFrames: 4, but 3 items"),
    "an empty mask": Damage(Kind.SEG, _emptied, "PixelData: frame 1 is empty"),
    "segments that overlap": Damage(Kind.SEG, _repeated, "SegmentsOverlap: NO, but segments share pixels"),
    "a segment that is not there": Damage(
        Kind.SEG,
        _put(
            "PerFrameFunctionalGroupsSequence",
            0,
            "SegmentIdentificationSequence",
            0,
            "ReferencedSegmentNumber",
            7,
        ),
        "its segment 7 is not in SegmentSequence",
    ),
    "a gap in the segments": Damage(
        Kind.SEG, _put("SegmentSequence", 2, "SegmentNumber", 5), "SegmentNumber does not count from 1"
    ),
    "another spacing": Damage(
        Kind.SEG,
        _put("SharedFunctionalGroupsSequence", 0, "PixelMeasuresSequence", 0, "PixelSpacing", [1, 2]),
        "PixelSpacing: not that of the image",
    ),
    "half of the plane groups": Damage(
        Kind.SEG, _drop("SharedFunctionalGroupsSequence", 0, "PlaneOrientationSequence"), "without the other plane"
    ),
    "a frame without its position": Damage(
        Kind.SEG, _drop("PerFrameFunctionalGroupsSequence", 1, "PlanePositionSequence"), "without the other plane"
    ),
    "another unit": Damage(Kind.SR, _other_unit, "not in a unit of this concept"),
    # What the models said, and the words for it.
    "another verdict": Damage(Kind.SR, _other_verdict, "not the verdict of the result on pneumothorax"),
    "another probability": Damage(
        Kind.SR, _number(_PROBABILITY, "33.3"), "not the probability of the result on pneumo"
    ),
    "a finding left out": Damage(Kind.SR, _left_out, "says nothing of abnormal_chest by classifier"),
    "a box moved within the image": Damage(Kind.SR, _moved("Lung opacity 1", 1), "box 1 of lung_opacity by opacity"),
    "another structure": Damage(
        Kind.SEG,
        _put("SegmentSequence", 0, "SegmentedPropertyTypeCodeSequence", 0, "CodeValue", "80891009"),
        "not what its tracking UID stands for",
    ),
    "a segment of nothing": Damage(Kind.SEG, _put("SegmentSequence", 0, "TrackingUID", "2.25.1"), "no region of the"),
    "another mask": Damage(Kind.SEG, _grown, "SegmentSequence[1]: its mask is not that of the result"),
    "a code that is none": Damage(
        Kind.SEG,
        _put("SegmentSequence", 0, "SegmentedPropertyCategoryCodeSequence", 0, "CodeValue", "1234567"),
        "CodeValue: 1234567 is no known code of SCT",
    ),
    "another meaning of a code": Damage(
        Kind.SR, lambda d: setattr(d.ConceptNameCodeSequence[0], "CodeMeaning", "Report"), "CodeMeaning: not that of"
    ),
    "a selection that rejects": Damage(
        Kind.KOS,
        lambda d: setattr(d.ConceptNameCodeSequence[0], "CodeValue", "113001"),
        "ConceptNameCodeSequence: not a title of such a document",
    ),
    "another template": Damage(
        Kind.SR, _put("ContentTemplateSequence", 0, "TemplateIdentifier", "2000"), "TemplateIdentifier: not 1500"
    ),
    "a reference to all frames": Damage(
        Kind.SR, lambda d: delattr(_reference(d), "ReferencedFrameNumber"), "frame 0 of the segmentation"
    ),
    # Sides (rule 4).
    "a segment of the other side": Damage(Kind.SEG, _other_side, "SegmentLabel: another side than its code"),
    "a mirrored mask": Damage(Kind.SEG, _mirrored, "the right lung lies to the patient's left of the left lung"),
    "a statement of the other side": Damage(Kind.SR, _other_laterality, "another laterality than the segment"),
    # Whose object it is, and what it is (rule 5).
    "another patient": Damage(Kind.SR, _put("PatientID", "OTHER"), "PatientID: not what the source states"),
    "another name": Damage(Kind.SC, _put("PatientName", "OTHER^NAME"), "PatientName: not what the source states"),
    "another birth date": Damage(Kind.SEG, _put("PatientBirthDate", "19010101"), "PatientBirthDate: not what"),
    "another accession": Damage(Kind.GSPS, _put("AccessionNumber", "OTHER"), "AccessionNumber: not what the source"),
    "another study of the patient": Damage(Kind.PDF, _put("StudyInstanceUID", "1.2.3"), "StudyInstanceUID: not what"),
    "another character set": Damage(Kind.SR, _put("SpecificCharacterSet", "ISO_IR 100"), "SpecificCharacterSet: not"),
    "another object": Damage(Kind.KOS, _put("SOPInstanceUID", "2.25.1"), "SOPInstanceUID: not the one that it is kept"),
    "another class": Damage(
        Kind.PDF, _put("SOPClassUID", "1.2.840.10008.5.1.4.1.1.104.2"), "SOPClassUID: not that of its kind"
    ),
    "no intended use": Damage(Kind.SEG, _silent, "the intended use is not stated"),
    "the series of another object": Damage(
        Kind.GSPS, _put("SeriesInstanceUID", "2.25.1"), "SeriesInstanceUID: not the series of this object"
    ),
    "pages in a series of their own": Damage(
        Kind.PAGES, _put("SeriesInstanceUID", "2.25.1"), "SeriesInstanceUID: not the series of this object"
    ),
    "another revision": Damage(Kind.SR, _put("InstanceNumber", "4"), "InstanceNumber: not the revision 1"),
    "a capture of nothing": Damage(Kind.SC, _drop("SourceImageSequence"), "SourceImageSequence: missing"),
    "a capture like a radiograph": Damage(Kind.SC, _put("ImageType", ["ORIGINAL", "PRIMARY"]), "ImageType: not"),
    "a document without a title": Damage(
        Kind.PDF, _drop("ConceptNameCodeSequence", 0, "CodeValue"), "ConceptNameCodeSequence[1].CodeValue: missing"
    ),
    "no PDF": Damage(Kind.PDF, _put("EncapsulatedDocument", b"<html>"), "EncapsulatedDocument: no PDF"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One sound study, which every test damages a copy of; its masks are packed, eight pixels a byte."""
    return made(tmp_path_factory.mktemp("sound"), cols=264)


@pytest.fixture
def fresh(sound: Made, tmp_path: Path) -> Made:
    """A copy of it."""
    objects = tuple(replace(one, path=Path(shutil.copy(one.path, tmp_path))) for one in sound.objects)
    _SOURCE["uid"] = sound.study.images[0].source.uid
    return replace(sound, objects=objects)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_object_is_objected_to_with_the_right_reason(fresh, damage):
    """Among the first lines that a person reads."""
    assert damage.said in fresh.objection(damage.kind, damage.change)


def test_bits_the_other_way_round_are_noticed_by_the_report(fresh):
    """As many pixels, elsewhere: the boxes are not around them any more."""
    fresh.objection(Kind.SEG, _flipped_pixels)
    said = fresh.objections()[fresh.of(Kind.SR).sop_instance_uid]
    assert "not around the mask of the same tracking UID" in said


def test_a_mask_that_grew_is_noticed_by_the_report(fresh):
    """The area that is stated is not that of the mask any more."""
    fresh.objection(Kind.SEG, _grown)
    assert "mm2, but the masks give" in fresh.objections()[fresh.of(Kind.SR).sop_instance_uid]


def test_what_refers_to_a_faulty_object_is_faulty(fresh):
    """The report names the segmentation; the key objects name images alone, and pass."""
    fresh.objection(Kind.SEG, _drop("SeriesNumber"))
    objections = fresh.objections()
    segmentation, report = fresh.of(Kind.SEG), fresh.of(Kind.SR)
    assert objections.keys() == {segmentation.sop_instance_uid, report.sop_instance_uid}
    assert objections[report.sop_instance_uid] == f"refers to {segmentation.sop_instance_uid}, which has an objection"


def test_a_file_of_another_transfer_syntax_is_objected_to(fresh):
    """A destination is told what it gets."""

    def change(dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian

    assert "TransferSyntaxUID: not explicit VR little endian" in fresh.objection(Kind.KOS, change)
