"""Who is who: UIDs, AE titles, and identity as a function.

Hides how a derived UID is made. Promises that the same parts give the same UID on every machine and in
every run, so that a crash, a retry, a replay or a second node writes the same object again (law 4).
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from typing import NewType

StudyUID = NewType("StudyUID", str)
SeriesUID = NewType("SeriesUID", str)
InstanceUID = NewType("InstanceUID", str)
AETitle = NewType("AETitle", str)

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


def is_uid(text: str) -> bool:
    """Tell whether `text` is a valid UID (PS3.5 9.1): digits and dots, 64 characters at most."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def ae_title(text: str) -> AETitle:
    """Give `text` as an AE title without its insignificant spaces (PS3.5 6.2); ValueError if it is none."""
    stripped = text.strip(" ")
    if not stripped or not _AE_TITLE.fullmatch(stripped):
        raise ValueError(f"{text!r} is no AE title: 1 to 16 printable ASCII characters without backslash")
    return AETitle(stripped)


def digest(*parts: object) -> str:
    """SHA-256, in hex, of the parts as canonical JSON: order matters, spacing and hash seeds do not."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def file_stem(uid: str) -> str:
    """Give how a file of this instance is called, without its ending: its UID, where that is one, else its digest."""
    return uid if is_uid(uid) else f"no-uid-{digest(uid)[:32]}"


def derived_uid(*parts: object) -> str:
    """Give the UID that these parts always have: `2.25.` and a UUID made of their digest (PS3.5 B.2)."""
    number = uuid.UUID(bytes=bytes.fromhex(digest("cxrnode", *parts))[:16], version=5)
    return f"2.25.{number.int}"
