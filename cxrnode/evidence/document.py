"""The report as a document that every viewer opens: Encapsulated PDF (PS3.3 A.45.1, C.24).

Hides reportlab. Promises the same bytes for the same study on every machine: nothing is compressed, no font is
embedded, and the date that the PDF states is the moment of the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO

import reportlab
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from reportlab import rl_config
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from cxrnode.domain.capability import ENCAPSULATED_PDF
from cxrnode.domain.finding import StudyResult
from cxrnode.domain.identity import derived_uid
from cxrnode.evidence import blank, headers
from cxrnode.evidence.identity import FORMAT, Author, content_of, models_in, series_uid
from cxrnode.evidence.items import code_item, data_set, reference
from cxrnode.evidence.layout import Sheet, Style, laid_out
from cxrnode.evidence.page import Page, page_of

rl_config.invariant = 1  # else the environment (RL_pdfComments) could write into the file

SERIES_NUMBER = 7004
SERIES_DESCRIPTION = "cxrnode report as PDF"

REPORT_TITLE = Code("126000", "DCM", "Imaging Measurement Report")
"""Of CID 7021, and the title of the SR that says the same; a document of CID 7020 would be diagnostic."""

_FONTS = {Style.TITLE: "Helvetica-Bold", Style.HEADING: "Helvetica-Bold", Style.NOTICE: "Helvetica-Oblique"}
_FONT = "Helvetica"
_SHEET = Sheet(width=A4[0], height=A4[1], margin=56.0, text=10.0)


def document_uid(author: Author, study: StudyResult) -> str:
    """Give the SOP Instance UID of the document: of the words on it, their images, and what draws them."""
    sources = [content_of(source) for source in study.sources]
    stated = [asdict(page_of(study)), models_in(study)]
    return derived_uid("PDF", FORMAT, asdict(author), study.study_uid, sources, stated, reportlab.__version__)


def compose_document(author: Author, study: StudyResult, all_headers: Mapping[int, Dataset]) -> Dataset:
    """Compose the Encapsulated PDF, settled and complete. `all_headers` by row."""
    uid, page = document_uid(author, study), page_of(study)
    moment = max(headers.moment_of(all_headers[source.row]) for source in study.sources)
    series = blank.Series(uid=series_uid(uid), number=SERIES_NUMBER, description=SERIES_DESCRIPTION, modality="DOC")
    built = blank.blank(author, ENCAPSULATED_PDF, uid, study.study_uid, series)
    built.update(_document(page, study, pdf(page, blank.written_by(author), moment)))
    given = {source.uid for source in study.sources}
    return blank.finish(built, author, all_headers[study.sources[0].row], moment, given, study.models)


def _document(page: Page, study: StudyResult, content: bytes) -> Dataset:
    """Give the modules SC Equipment and Encapsulated Document (PS3.3 C.8.6.1, C.24.2)."""
    return data_set(
        ConversionType="SYN",
        AcquisitionDateTime=None,
        BurnedInAnnotation="NO",
        SourceInstanceSequence=[reference(s.description.sop_class_uid, s.uid) for s in study.sources],
        DocumentTitle=f"{page.title}. {page.notice}",
        ConceptNameCodeSequence=[code_item(REPORT_TITLE)],
        VerificationFlag="UNVERIFIED",
        MIMETypeOfEncapsulatedDocument="application/pdf",
        EncapsulatedDocumentLength=len(content),
        EncapsulatedDocument=content + b"\0" * (len(content) % 2),
    )


def pdf(page: Page, written_by: str, moment: tuple[str, str]) -> bytes:
    """Draw the report as PDF 1.4, on A4."""
    file = BytesIO()
    canvas = Canvas(
        file,
        pagesize=A4,
        pageCompression=0,
        invariant=1,
        pdfVersion=(1, 4),
        initialFontName=_FONT,
        initialFontSize=_SHEET.text,
        initialLeading=_SHEET.text,
        enforceColorSpace="rgb",
        lang="en",
    )
    canvas.setTitle(page.title)
    canvas.setSubject(page.notice)
    canvas.setAuthor(written_by)
    canvas.setCreator("cxrnode")
    canvas.setDateFormatter(lambda *_: f"D:{''.join(moment)}")
    for sheet in laid_out(page, written_by, _SHEET, _width):
        for line in sheet:
            canvas.setFont(_FONTS.get(line.style, _FONT), line.size)
            canvas.drawString(line.x, _SHEET.height - line.y, line.text)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def _width(text: str, style: Style, size: float) -> float:
    width: float = stringWidth(text, _FONTS.get(style, _FONT), size)
    return width
