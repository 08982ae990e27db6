"""What a received file's header says, read up to the pixels and no further.

Hides pydicom, odd encodings and broken headers. Promises never to raise for bad content (pydicom's warnings quote
values: telemetry cuts them), memory and time that do not depend on what a header claims, and digests that tell a
corrected header from other pixels whatever the transfer syntax of the header.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag

from cxrnode.domain.identity import AETitle, InstanceUID, SeriesUID, StudyUID, ae_title
from cxrnode.domain.selection import ImageFacts
from cxrnode.domain.study import Arrival, Description, Patient, Sender
from cxrnode.pixels.age import age_years
from cxrnode.pixels.frugal import Frugal, Inflating

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
_PIXEL_DATA = (0x7FE0, 0x0010)
_CHUNK = 1 << 20
_UNDEFINED = 0xFFFFFFFF
_DELIMITER = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
"""Sequence Delimitation Item: how encapsulated pixels end; only small elements may follow."""
_TAIL = 1 << 16
_WIDTHS = {
    **dict.fromkeys(("US", "SS", "OW", "AT", "US or SS", "US or OW", "US or SS or OW"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OL", "OF"), 4),
    **dict.fromkeys(("FD", "OD", "UV", "SV", "OV"), 8),
}
"""Bytes of one number by value representation; text has none."""
_MOST_TEXT = 1 << 14
"""Bytes of a value that is read as text: what is longer was never typed, and becomes an object for every backslash."""
_MOST_NESTED = 1 << 17
"""Bytes of a header's sequences whose items are told apart; pydicom makes a hundred times as many of them, in time that
the listener's other threads lack."""
_MOST_DIGITS = 9
_ADOPTED = AETitle("ADOPTED")
"""Both AE titles of a file that does not say how it came."""
_AGE = ("PatientAge", "PatientBirthDate", "StudyDate", "AcquisitionDate", "ContentDate")
_SERIES_WORDS = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")
_WORDS = (
    "StudyDescription",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
    *_SERIES_WORDS,
)


class HeaderReader:
    """Implements ports.Reader on pydicom."""

    def describe(self, arrival: Arrival) -> Description:
        """Read the header up to the pixels and digest the bytes. Never raises for bad content: see `unreadable`."""
        try:
            return _described(arrival, *_open(arrival.path))
        except (InvalidDicomError, _NotDicom):
            return _unreadable(arrival, "not_dicom")
        except Exception:  # noqa: BLE001 - pydicom raises whatever a broken header makes it stumble on
            return _unreadable(arrival, "unreadable_header")

    def whose(self, file: BinaryIO) -> tuple[StudyUID, Patient]:
        """Give whose study an open file is of; nothing where that cannot be read. Never raises for bad content."""
        try:
            header = _header(file)
            return StudyUID(_text(header, "StudyInstanceUID")), _patient(header)
        except Exception:  # noqa: BLE001 - see `describe`
            return StudyUID(""), Patient()

    def sender_of(self, path: Path) -> Sender:
        """Give who sent a kept file: Sending and Receiving Application Entity Title (PS3.10 Table 7.1-1)."""
        try:
            meta = pydicom.filereader.read_file_meta_info(path)
            titles = [ae_title(_text(meta, f"{role}ApplicationEntityTitle")) for role in ("Sending", "Receiving")]
        except Exception:  # noqa: BLE001 - a file without meta, or with titles that are none
            titles = [_ADOPTED, _ADOPTED]
        return Sender(calling_ae=titles[0], called_ae=titles[1], address="", association="")


class _NotDicom(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pixels:
    """The value of Pixel Data as it lies in the file: `digest` is empty where there is none."""

    digest: str = ""
    whole: bool = False


class _Readable(Protocol):
    def read(self, count: int, /) -> bytes: ...


def _open(path: Path) -> tuple[Dataset, str, _Pixels]:
    """Give the header, its transfer syntax, and what is to be known of the pixels without decoding them."""
    with path.open("rb") as file:
        header = _header(file)
        syntax = str(header.file_meta.get("TransferSyntaxUID", "")) or IMPLICIT_LITTLE
        if len(header) == 0 or not {0x0008, 0x0020} & {tag.group for tag in header.keys()}:  # noqa: SIM118 - a Dataset iterates elements
            raise _NotDicom
        rest: _Readable = header.rest if isinstance(header, _Inflated) else file
        return header, syntax, _pixels(rest, big_endian=syntax == BIG_ENDIAN, implicit=syntax == IMPLICIT_LITTLE)


def _header(file: BinaryIO) -> Dataset:
    frugal = cast(BinaryIO, Frugal(file))
    return _inflated_header(frugal, file) or pydicom.dcmread(frugal, stop_before_pixels=True, force=True)


class _Inflated(Dataset):
    """The header of a deflated data set, and where its pixels are read from."""

    rest: Inflating


def _inflated_header(frugal: BinaryIO, file: BinaryIO) -> _Inflated | None:
    """Read the header of a deflated data set (PS3.5 A.5), None for another, rewound: pydicom would inflate it all."""
    pydicom.filereader.read_preamble(frugal, force=True)
    meta = pydicom.filereader._read_file_meta_info(frugal)
    if meta.get("TransferSyntaxUID") != DEFLATED:
        file.seek(0)
        return None
    rest = Inflating(file)
    read = pydicom.filereader.read_dataset(
        cast(BinaryIO, rest.head),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >= 0x7FE00008,
    )
    header = _Inflated(read)
    header.file_meta, header.rest = meta, rest
    return header


def _pixels(file: _Readable, *, big_endian: bool, implicit: bool) -> _Pixels:
    """Digest the value of Pixel Data from where `file` stands, and see whether it is all there (PS3.5 7.1, A.4)."""
    head = file.read(8 if implicit else 12)
    order = ">" if big_endian else "<"
    if len(head) < (8 if implicit else 12) or struct.unpack(f"{order}HH", head[:4]) != _PIXEL_DATA:
        return _Pixels()
    stated = struct.unpack(f"{order}L", head[-4:])[0]
    digest, size, tail = hashlib.sha256(), 0, b""
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size, tail = size + len(chunk), (tail + chunk)[-_TAIL:]
    whole = _DELIMITER in tail if stated == _UNDEFINED else size >= stated
    return _Pixels(digest=digest.hexdigest() if size else "", whole=whole)


def _digest_of(file: BinaryIO) -> str:
    digest, empty = hashlib.sha256(), True
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        empty = False
    return "" if empty else digest.hexdigest()


def _described(arrival: Arrival, header: Dataset, syntax: str, pixels: _Pixels) -> Description:
    study = _text(header, "StudyInstanceUID")
    sop = _text(header, "SOPInstanceUID") or arrival.sop_instance_uid
    unreadable = "" if study and sop else "no_study"
    return Description(
        sop_class_uid=_text(header, "SOPClassUID") or arrival.sop_class_uid,
        sop_instance_uid=InstanceUID(sop or _invented(arrival.path)),
        study_uid=StudyUID("" if unreadable else study),
        series_uid=SeriesUID(_text(header, "SeriesInstanceUID")),
        transfer_syntax_uid=arrival.transfer_syntax_uid or syntax,
        patient=_patient(header),
        facts=facts_of(header, has_pixels=bool(pixels.digest), whole=pixels.whole),
        header_digest=header_digest(header),
        pixel_digest=pixels.digest,
        bytes_digest=_bytes_digest(arrival.path),
        size=arrival.path.stat().st_size,
        unreadable=unreadable,
    )


def _unreadable(arrival: Arrival, code: str) -> Description:
    return Description(
        sop_class_uid=arrival.sop_class_uid,
        sop_instance_uid=InstanceUID(arrival.sop_instance_uid or _invented(arrival.path)),
        study_uid=StudyUID(""),
        series_uid=SeriesUID(""),
        transfer_syntax_uid=arrival.transfer_syntax_uid,
        patient=Patient(),
        facts=ImageFacts(sop_class_uid=arrival.sop_class_uid),
        header_digest="",
        pixel_digest="",
        bytes_digest=_bytes_digest(arrival.path),
        size=arrival.path.stat().st_size,
        unreadable=code,
    )


def _invented(path: Path) -> str:
    """Name a file that names no instance by its content."""
    return f"none.{_bytes_digest(path)[:32]}"


def _bytes_digest(path: Path) -> str:
    """Digest the data set: file meta information is the keeper's, not the sender's."""
    with path.open("rb") as file:
        file.seek(_data_set_offset(file))
        return _digest_of(file) or hashlib.sha256().hexdigest()


def _data_set_offset(file: BinaryIO) -> int:
    """Give where the data set begins (PS3.10 7.1): after the preamble and as much as the group length says."""
    head = file.read(144)
    if len(head) < 144 or head[128:132] != b"DICM" or head[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        return 0
    return 144 + int(struct.unpack("<L", head[140:144])[0])


def _is_text(header: Dataset, keyword: str) -> bool:
    """Whether a value is short enough to be what its attribute stands for."""
    found = header.get_item(keyword)
    return not isinstance(found, RawDataElement) or len(found.value or b"") <= _MOST_TEXT


def _text(header: Dataset, keyword: str) -> str:
    try:
        value = header.get(keyword, "") if _is_text(header, keyword) else ""
    except Exception:  # noqa: BLE001 - a value that cannot be converted is a value that is not stated
        return ""
    return "" if value is None else str(value).strip(" \0")


def _texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    try:
        value = header.get(keyword, None) if _is_text(header, keyword) else None
    except Exception:  # noqa: BLE001 - see _text
        return ()
    if value is None or value == "":
        return ()
    values = [value] if isinstance(value, (str, int, float)) else list(value)
    return tuple(str(item).strip().upper() for item in values)


def _number(header: Dataset, keyword: str) -> int:
    text = _text(header, keyword)
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else 0


def _codes(header: Dataset, keyword: str) -> tuple[str, ...]:
    try:
        items = header.get(keyword, None) if _is_text(header, keyword) else None
        return tuple(_text(item, "CodeValue") for item in items or ())
    except Exception:  # noqa: BLE001 - see _text
        return ()


def _patient(header: Dataset) -> Patient:
    return Patient(
        patient_id=_text(header, "PatientID"),
        name=_text(header, "PatientName"),
        accession_number=_text(header, "AccessionNumber"),
        study_date=_text(header, "StudyDate"),
    )


def facts_of(header: Dataset, *, has_pixels: bool, whole: bool = True) -> ImageFacts:
    """Give what selection needs to know, text in upper case, nothing where the header says nothing."""
    return ImageFacts(
        sop_class_uid=_text(header, "SOPClassUID"),
        modality=_text(header, "Modality").upper(),
        presentation_intent=_text(header, "PresentationIntentType").upper(),
        body_part=_text(header, "BodyPartExamined").upper(),
        region_codes=_codes(header, "AnatomicRegionSequence"),
        view_position=_text(header, "ViewPosition").upper(),
        view_codes=_codes(header, "ViewCodeSequence"),
        image_type=_texts(header, "ImageType"),
        photometric=_text(header, "PhotometricInterpretation").upper(),
        rows=_number(header, "Rows"),
        columns=_number(header, "Columns"),
        frames=_number(header, "NumberOfFrames") or 1,
        patient_orientation=_texts(header, "PatientOrientation"),
        has_pixels=has_pixels,
        whole=whole,
        spacing=_spacing(header),
        species=_text(header, "PatientSpeciesDescription").upper(),
        manufacturer=_text(header, "Manufacturer"),
        words=_words(header, _WORDS),
        series_words=_words(header, _SERIES_WORDS),
        age_years=_age(header),
        laterality=(_text(header, "ImageLaterality") or _text(header, "Laterality")).upper(),
    )


def _age(header: Dataset) -> float | None:
    stated, born, *seen = (_text(header, keyword) for keyword in _AGE)
    return age_years(stated, born=born, seen=seen)


def _words(header: Dataset, keywords: tuple[str, ...]) -> str:
    return " ".join(text for keyword in keywords if (text := " ".join(_texts(header, keyword))))


def _spacing(header: Dataset) -> tuple[float, ...]:
    """Pixel Spacing, else Imager Pixel Spacing over the magnification factor (PS3.3 C.8.11.2, 10.7.1.3)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = _positive_pair(_texts(header, keyword))
        if spacing and keyword == "ImagerPixelSpacing":
            magnification = _positive(_text(header, "EstimatedRadiographicMagnificationFactor")) or 1.0
            return tuple(value / magnification for value in spacing)
        if spacing:
            return spacing
    return ()


def _positive_pair(texts: tuple[str, ...]) -> tuple[float, ...]:
    values = tuple(_positive(text) for text in texts)
    return values if len(values) == 2 and all(values) else ()


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0.0 < value < 1e4 else 0.0


def header_digest(header: Dataset) -> str:
    """Digest the public elements before the pixels, independent of how the transfer syntax encodes them."""
    digest, allowance = hashlib.sha256(), _Allowance()
    for part in _canonical(header, allowance):
        digest.update(part)
    return digest.hexdigest()


@dataclass(slots=True)
class _Allowance:
    """How many bytes of sequences may still be taken apart; those beyond are digested as they lie there."""

    left: int = _MOST_NESTED

    def covers(self, raw: RawDataElement) -> bool:
        self.left -= len(raw.value or b"")
        return self.left >= 0


def _canonical(dataset: Dataset, allowance: _Allowance) -> Iterator[bytes]:
    for tag in sorted(dataset.keys()):
        if tag.is_private or tag.element == 0 or tag.group >= 0x7FE0 or tag.group == 0x0002:
            continue
        yield b"%08x" % tag
        yield from _canonical_value(dataset, tag, allowance)


def _canonical_value(dataset: Dataset, tag: BaseTag, allowance: _Allowance) -> Iterator[bytes]:
    element = _element(dataset, tag, allowance)
    if isinstance(element, RawDataElement):
        yield _little_endian(element).rstrip(b" \0")
    elif element is not None and element.VR == "SQ":
        for item in element.value:
            yield b"["
            yield from _canonical(item, allowance)
            yield b"]"
    elif element is not None:
        yield str(element.value).encode("utf-8", "backslashreplace")


def _element(dataset: Dataset, tag: BaseTag, allowance: _Allowance) -> DataElement | RawDataElement | None:
    """Give an element, raw unless it is a sequence that can be read; None for one that pydicom cannot take at all."""
    found: DataElement | RawDataElement | None = None
    try:
        found = dataset.get_item(tag)
        nested = isinstance(found, RawDataElement) and _vr(found) == "SQ" and allowance.covers(found)
        return dataset[tag] if nested else found
    except Exception:  # noqa: BLE001 - one broken element must not hide the rest
        return found


def _little_endian(raw: RawDataElement) -> bytes:
    """Give a raw value as little endian encodes it (PS3.5 7.3)."""
    value, width = raw.value or b"", _WIDTHS.get(_vr(raw), 1)
    if raw.is_little_endian or width == 1:
        return value
    whole = len(value) - len(value) % width
    return np.frombuffer(value[:whole], dtype=f">u{width}").astype(f"<u{width}").tobytes() + value[whole:][::-1]


def _vr(raw: RawDataElement) -> str:
    if raw.VR and raw.VR != "UN":
        return str(raw.VR)
    try:
        return dictionary_VR(raw.tag)
    except KeyError:
        return "UN"
