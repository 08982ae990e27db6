"""Writes a finished object as a DICOM file, the same bytes for the same object.

Hides the file meta information (PS3.10 7.1). Promises explicit VR little endian and our own implementation identity.
"""

from __future__ import annotations

from io import BytesIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from cxrnode.domain.identity import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("implementation")


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
    plain.update({element: built.get_item(element) for element in built.keys()})  # noqa: SIM118 - values stay raw
    plain.file_meta, plain.preamble = meta, b"\x00" * 128
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, plain, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return buffer.getvalue()
