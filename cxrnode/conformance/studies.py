"""Results of studies made up: one in which everything is said that can be, one that says little, one taken back.

Hides which statement leads to which attribute. Promises every kind of statement that a report can hold, with numbers
that nobody measured.
"""

from __future__ import annotations

import numpy as np

from cxrnode.domain.capability import REPORT_CLASSES, ReportClass
from cxrnode.domain.finding import (
    Box,
    Finding,
    ImageResult,
    Measurement,
    ModelIdentity,
    ModelResult,
    Presence,
    RefusedImage,
    Region,
    StudyResult,
)
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.selection import View
from cxrnode.domain.study import Instance

_LINES = (((4.0, 30.0), (40.0, 30.0)), ((2.0, 34.0), (60.0, 34.0)))


def _region(label: str, source: Instance, model: ModelIdentity, *, top: int, left: int) -> Region:
    plane = np.zeros((source.facts.rows, source.facts.columns), dtype=np.bool_)
    plane[top : top + 20, left : left + 20] = True
    return Region(label=label, mask=plane, model=model)


def _model(name: str, version: str) -> ModelIdentity:
    return ModelIdentity(name=name, version=version, digest=derived_uid(name, version), backend="cpu")


def full_study(analysed: Instance, refused: Instance) -> StudyResult:
    """State everything: regions, lines, boxes, a band, what is absent, missing, not analysed; after another report."""
    lungs = _model("lungs", "1")
    image = ImageResult(
        source=analysed,
        view=View.AP,
        results=(_outlined(analysed, lungs), _pneumothorax(analysed, lungs), _opacity(), _classified()),
        missing=(("gate", "model_failed"),),
        caveats=("ap_view",),
    )
    return StudyResult(
        study_uid=analysed.study_uid,
        images=(image,),
        refused=(RefusedImage(source=refused, code="lateral"),),
        predecessor=derived_uid("conformance", "predecessor"),
        predecessor_class=REPORT_CLASSES[ReportClass.COMPREHENSIVE],
        revision=2,
    )


def plain_study(analysed: Instance) -> StudyResult:
    """State one finding with its outline, and another as a doubtful box."""
    model = _model("other", "2")
    found = Finding(name="pneumothorax", presence=Presence.PRESENT, probability=0.7, operating_point=0.5)
    region = _region("left_pneumothorax", analysed, model, top=2, left=2)
    box = Box(label="viral_pneumonia", probability=0.3, left=30, top=30, right=50, bottom=50)
    doubtful = Finding(name="viral_pneumonia", presence=Presence.INDETERMINATE, probability=0.3, boxes=(box,))
    result = ModelResult(model=model, regions=(region,), findings=(found, doubtful))
    image = ImageResult(source=analysed, view=View.PA, results=(result,))
    return StudyResult(study_uid=analysed.study_uid, images=(image,))


def retracted_study(analysed: Instance) -> StudyResult:
    """Take back what was stated."""
    return StudyResult(
        study_uid=analysed.study_uid,
        images=(),
        predecessor=derived_uid("conformance", "predecessor"),
        revision=2,
        retraction="wrong_result",
        retracted=(analysed,),
    )


def _outlined(source: Instance, model: ModelIdentity) -> ModelResult:
    places = (("right_lung", 5), ("heart", 20))
    return ModelResult(
        model=model,
        regions=tuple(_region(label, source, model, top=5, left=at) for label, at in places),
        absent=("left_lung",),
        measurements=(
            Measurement(name="cardiothoracic_ratio", value=0.5, unit="1", lines=_LINES, caveats=("ap_view",)),
            Measurement(name="area", value=400, unit="mm2", region="right_lung", caveats=("detector_plane",)),
            Measurement(name="lung_asymmetry", value=0.1, unit="1"),
        ),
    )


def _pneumothorax(source: Instance, lungs: ModelIdentity) -> ModelResult:
    model = _model("pneumothorax", "1")
    share = Measurement(name="hemithorax_share", value=20, unit="%", region="right_pneumothorax")
    found = Finding(
        name="pneumothorax", presence=Presence.PRESENT, probability=0.9, operating_point=0.5, sides=("right",)
    )
    return ModelResult(
        model=model,
        regions=(_region("right_pneumothorax", source, model, top=6, left=6),),
        measurements=(share,),
        findings=(found,),
        leaning_on=(lungs,),
    )


def _opacity() -> ModelResult:
    box = Box(label="lung_opacity", probability=0.6, left=10, top=10, right=20, bottom=20)
    doubtful = Finding(
        name="lung_opacity",
        presence=Presence.INDETERMINATE,
        probability=0.6,
        operating_point=0.5,
        band=(0.4, 0.8),
        boxes=(box,),
        caveats=("outside_lungs",),
    )
    return ModelResult(model=_model("opacity", "1"), findings=(doubtful,))


def _classified() -> ModelResult:
    said = Finding(name="abnormal_chest", presence=Presence.ABSENT, probability=0.1, operating_point=0.5)
    return ModelResult(model=_model("classifier", "1"), findings=(said,))
