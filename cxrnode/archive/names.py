"""Which name kept bytes get.

Hides the sharding. Promises that no text from outside becomes a path unchecked: what is no valid UID (PS3.5 9.1) is
named by its digest.
"""

from __future__ import annotations

import re
from pathlib import Path

from cxrnode.domain.identity import digest, file_stem

SOURCES, EVIDENCE = "sources", "evidence"
SUFFIX = ".dcm"

_HEX = re.compile(r"[0-9a-f]{32,}")
_DIGITS = 32
"""128 bits of the digest: no sender can make two contents that meet under one name."""


def source_key(uid: str, bytes_digest: str) -> str:
    """Give the key of a source: `sources/ab/cd/<SOP Instance UID>.<digest>.dcm`."""
    content = bytes_digest if _HEX.fullmatch(bytes_digest) else digest(bytes_digest)
    return f"{SOURCES}/{_shard(content)}/{file_stem(uid)}.{content[:_DIGITS]}{SUFFIX}"


def evidence_key(uid: str) -> str:
    """Give the key of an evidence object: `evidence/ab/cd/<SOP Instance UID>.dcm`."""
    return f"{EVIDENCE}/{_shard(digest(uid))}/{file_stem(uid)}{SUFFIX}"


def path_of(root: Path, key: str, *rooms: str) -> Path:
    """Give the path of a key in one of `rooms` below `root`; ValueError for what can be no key of ours."""
    parts = key.split("/")
    if parts[0] not in rooms or not key.endswith(SUFFIX) or not all(part.strip(".") for part in parts):
        raise ValueError("this is no key of the archive")
    return root / key


def _shard(content: str) -> str:
    """Two levels of 256 folders: a million files are fifteen a folder."""
    return f"{content[:2]}/{content[2:4]}"
