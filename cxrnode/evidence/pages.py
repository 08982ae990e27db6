"""The report as pictures of its pages, for archives that take nothing but images: Secondary Capture (PS3.3 A.8.1).

Hides Pillow. Promises black letters on white, 8 bits, one instance a page, all pages of a report in one series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from cxrnode.domain.capability import SECONDARY_CAPTURE
from cxrnode.domain.finding import StudyResult
from cxrnode.domain.identity import derived_uid
from cxrnode.evidence import blank, headers
from cxrnode.evidence.identity import FORMAT, Author, content_of, models_in, series_uid
from cxrnode.evidence.items import code_item, data_set, reference
from cxrnode.evidence.layout import Placed, Sheet, Style, laid_out
from cxrnode.evidence.page import page_of

SERIES_NUMBER = 7005
SERIES_DESCRIPTION = "cxrnode report as images"

_SHEET = Sheet(width=850, height=1202, margin=64, text=16)
"""A4 at 103 dots an inch: a page is 1 MB, and its letters are read on a screen that shows it whole."""
_BOLD = frozenset({Style.TITLE, Style.HEADING})
_PROCESSED = Code("121322", "DCM", "Source image for image processing operation")


def page_uids(author: Author, study: StudyResult) -> tuple[str, ...]:
    """Give the SOP Instance UIDs of the pages: of the words on them, their images, and what draws them."""
    sources = [content_of(source) for source in study.sources]
    stated = (
        "PAGES",
        FORMAT,
        asdict(author),
        study.study_uid,
        sources,
        asdict(page_of(study)),
        models_in(study),
        PIL.__version__,
    )
    return tuple(derived_uid(*stated, number) for number, _ in enumerate(_sheets(author, study), 1))


def pages_series_uid(uids: tuple[str, ...]) -> str:
    """Give the series of the pages of one report: the one that its first page would have alone."""
    return series_uid(uids[0])


def compose_page(author: Author, study: StudyResult, all_headers: Mapping[int, Dataset], number: int) -> Dataset:
    """Compose the Secondary Capture of one page, counted from 1, settled and complete. `all_headers` by row."""
    uids = page_uids(author, study)
    series = blank.Series(
        uid=pages_series_uid(uids), number=SERIES_NUMBER, description=SERIES_DESCRIPTION, modality="OT"
    )
    moment = max(headers.moment_of(all_headers[source.row]) for source in study.sources)
    built = blank.blank(author, SECONDARY_CAPTURE, uids[number - 1], study.study_uid, series)
    built.InstanceNumber = number
    built.update(_described(study))
    built.update(_pixels(drawn(_sheets(author, study)[number - 1])))
    given = {source.uid for source in study.sources}
    return blank.finish(built, author, all_headers[study.sources[0].row], moment, given, study.models)


def drawn(sheet: list[Placed]) -> NDArray[np.uint8]:
    """Draw a sheet: its pixels, rows by columns."""
    picture = Image.new("L", (int(_SHEET.width), int(_SHEET.height)), 255)
    pen = ImageDraw.Draw(picture)
    for line in sheet:
        stroke = 0.3 if line.style in _BOLD else 0
        pen.text((line.x, line.y), line.text, fill=0, font=_font(line.size), anchor="ls", stroke_width=stroke)
    return np.asarray(picture)


def _sheets(author: Author, study: StudyResult) -> list[list[Placed]]:
    return laid_out(page_of(study), blank.written_by(author), _SHEET, _width)


@lru_cache(maxsize=4096)
def _width(text: str, style: Style, size: float) -> float:
    return _font(size).getlength(text)


@lru_cache(maxsize=8)
def _font(size: float) -> ImageFont.FreeTypeFont:
    """The font that Pillow brings: the same letters on every machine."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels bring FreeType
    return font


def _described(study: StudyResult) -> Dataset:
    """Give the modules SC Equipment and General Image (PS3.3 C.8.6.1, C.7.6.1); paper has no side."""
    sources = [reference(source.description.sop_class_uid, source.uid) for source in study.sources]
    for source in sources:
        source.PurposeOfReferenceCodeSequence = [code_item(_PROCESSED)]
    return data_set(
        ConversionType="SYN",
        ImageType=["DERIVED", "SECONDARY"],
        ImageLaterality="U",
        PatientOrientation=None,
        BurnedInAnnotation="NO",
        DerivationDescription=f"Report on other images. {page_of(study).notice}",
        SourceImageSequence=sources,
    )


def _pixels(picture: NDArray[np.uint8]) -> Dataset:
    """Give the modules Image Pixel and VOI LUT (PS3.3 C.7.6.3, C.11.2): white is shown white."""
    module = data_set(
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        Rows=picture.shape[0],
        Columns=picture.shape[1],
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        WindowCenter="128",
        WindowWidth="256",
    )
    module.add_new("PixelData", "OB", picture.tobytes())
    return module
