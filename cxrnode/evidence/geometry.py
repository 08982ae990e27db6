"""Where a mask of a radiograph lies, as viewers and independent readers want to be told.

Hides the functional groups that a projection image has no true values for. Promises that in the `viewer` mode what
OHIF and dcmqi need is there, and in the `strict` mode that no position is stated which nobody measured.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from cxrnode.domain.delivery import Geometry
from cxrnode.evidence.items import data_set

IMAGE_ORIENTATION = [1, 0, 0, 0, 1, 0]
"""What viewers assume for an image that states none; the anatomically right 1\\0\\0\\0\\0\\-1 is refused by OHIF."""


def add_geometry(segmentation: Dataset, header: Dataset, geometry: Geometry) -> None:
    """Write the plane groups (PS3.3 C.7.6.16.2.1, .3, .4) for `viewer`; nothing for `strict`."""
    if geometry is Geometry.STRICT:
        return
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    orientation = data_set(ImageOrientationPatient=IMAGE_ORIENTATION)
    shared.update(data_set(PixelMeasuresSequence=[_pixel_measures(header)], PlaneOrientationSequence=[orientation]))
    position = data_set(PlanePositionSequence=[data_set(ImagePositionPatient=[0, 0, 0])])
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        frame.update(position)


def pixel_spacing(header: Dataset) -> tuple[str, str] | None:
    """Give (between rows, between columns) in mm as DS text, or None where the source states none above zero.

    PixelSpacing, else ImagerPixelSpacing divided by the magnification where that is known (PS3.3 10.7.1.3). As the
    source writes it where that is a DS at all: some write more digits than its 16 characters.
    """
    stated = _two(header, "PixelSpacing")
    if stated:
        return stated
    at_detector = _two(header, "ImagerPixelSpacing")
    magnification = _number(header.get("EstimatedRadiographicMagnificationFactor"))
    if at_detector and magnification:
        rows, columns = (format_number_as_ds(float(value) / magnification) for value in at_detector)
        return rows, columns
    return at_detector


def _pixel_measures(header: Dataset) -> Dataset:
    # Uncalibrated: 1 mm a pixel is what viewers take anyway; without Pixel Measures OHIF shows a black page.
    return data_set(PixelSpacing=list(pixel_spacing(header) or ("1", "1")), SliceThickness=1)


def _two(header: Dataset, keyword: str) -> tuple[str, str] | None:
    values = header.get(keyword)
    if values is None or isinstance(values, (str, float)) or len(values) != 2:
        return None
    if not all(_number(value) for value in values):
        return None
    rows, columns = (_text(value) for value in values)
    return rows, columns


def _text(value: object) -> str:
    text = str(value).strip()
    return text if len(text) <= 16 else format_number_as_ds(float(text))


def _number(value: object) -> float:
    """Give a number above zero and below what the line takes for a length in mm, or 0."""
    try:
        number = float(str(value))
    except ValueError:
        return 0.0
    return number if 0.0 < number < 1e4 else 0.0
