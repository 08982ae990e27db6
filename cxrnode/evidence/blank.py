"""What every object of ours says about itself and its series, whatever it goes on to say, and how it is finished.

Hides the modules that all of them share: SOP Common, General Series, General Equipment (PS3.3 C.12.1, C.7.3.1,
C.7.5.1). Promises that what is finished holds nothing of the clock or of chance (law 4), and the patient and study of
its source.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pydicom.dataset import Dataset

from cxrnode.domain.finding import ModelIdentity
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.evidence import headers, settle
from cxrnode.evidence.algorithms import add_algorithms, model_uid
from cxrnode.evidence.identity import Author


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The series of an object of ours."""

    uid: str
    number: int
    description: str
    modality: str


def blank(author: Author, sop_class_uid: str, uid: str, study_uid: str, series: Series) -> Dataset:
    """Give an object that states no more than what it is and who made it."""
    built = Dataset()
    built.SOPClassUID, built.SOPInstanceUID = sop_class_uid, uid
    built.StudyInstanceUID, built.SeriesInstanceUID = study_uid, series.uid
    built.Modality = series.modality
    built.SeriesNumber, built.SeriesDescription = series.number, series.description
    built.InstanceNumber = 1
    built.Manufacturer, built.ManufacturerModelName = OWN_MANUFACTURER, "cxrnode"
    built.DeviceSerialNumber, built.SoftwareVersions = author.device_name, author.software_version
    return built


def finish(
    built: Dataset,
    author: Author,
    header: Dataset,
    moment: tuple[str, str],
    given_uids: Collection[str],
    models: Collection[ModelIdentity] = (),
) -> Dataset:
    """Settle an object, prove it, and put the patient and study of `header` in; `given_uids` are all it refers to.

    `models`: what its statements are made with.
    """
    settle.settle(built, moment)
    add_algorithms(built, models)
    own = {str(built.SOPInstanceUID), str(built.SeriesInstanceUID), str(built.StudyInstanceUID)}
    settle.prove_settled(built, moment, {*own, *given_uids, *(model_uid(model) for model in models)})
    headers.copy_patient_and_study(header, built, author.timezone_offset)
    return built


def written_by(author: Author) -> str:
    """Say on a sheet of paper who wrote it."""
    return f"Written by cxrnode {author.software_version} on {author.device_name}"
