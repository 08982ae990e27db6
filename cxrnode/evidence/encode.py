"""Writes a finished object as a DICOM file, the same bytes for the same object.

Hides the file meta information (PS3.10 7.1). Promises explicit VR little endian and our own implementation identity.
"""

from __future__ import annotations

import struct
from io import BytesIO

import pydicom
from pydicom.charset import default_encoding
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from cxrnode.domain.identity import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("implementation")
_CHARACTER_SET = (0x0008, 0x0005)


def encoded(built: Dataset, software_version: str) -> bytes:
    """Give the whole file: preamble, file meta and data set."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = built.SOPClassUID
    meta.MediaStorageSOPInstanceUID = built.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"CXRNODE_{software_version}"[:16]
    # A plain data set: highdicom's classes refuse some of what was put into theirs afterwards.
    plain = Dataset()
    plain.update({tag: built.get_item(tag) for tag in built.keys() if tag != _CHARACTER_SET})  # noqa: SIM118 - raw values
    # Without this pydicom would decode what is raw and encode it again, not always to the same bytes.
    plain.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=default_encoding)
    plain.file_meta, plain.preamble = meta, b"\x00" * 128
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, plain, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return _with_character_set(buffer.getvalue(), _stated_character_set(built))


def _stated_character_set(built: Dataset) -> bytes | None:
    """Give Specific Character Set as it is written (PS3.3 C.12.1.1.2): a CS of even length, None where it is not."""
    if _CHARACTER_SET not in built:
        return None
    stated = built[_CHARACTER_SET].value
    terms = [stated] if isinstance(stated, str) else [str(term) for term in stated or ()]
    text = "\\".join(terms).encode("ascii", "replace")
    return text + b" " * (len(text) % 2)


def _with_character_set(file: bytes, stated: bytes | None) -> bytes:
    """Put Specific Character Set at the head of the data set, where its tag belongs.

    No text of the object waits to be encoded: ours is ASCII, the source's is bytes. pydicom, given the character set,
    would warn of a misspelt one once for every item of every sequence.
    """
    if stated is None:
        return file
    start = 144 + int.from_bytes(file[140:144], "little")  # preamble, prefix, group length (PS3.10 7.1)
    element = struct.pack("<HH2sH", *_CHARACTER_SET, b"CS", len(stated)) + stated
    return file[:start] + element + file[start:]
