"""Bytes on disk: kept under names that say what they are, and durable before anybody is told.

Hides folders, fsync and renames. Promises that nothing half-made ever has a final name, and that kept evidence is
never overwritten.
"""

from __future__ import annotations

from cxrnode.archive.reference import ReferenceArchive
from cxrnode.archive.spool import SpoolArchive

__all__ = ["ReferenceArchive", "SpoolArchive"]
