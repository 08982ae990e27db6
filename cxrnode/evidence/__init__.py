"""Evidence objects: what the models found, as DICOM SEG, SR and what plain viewers read.

Hides the grammar of each kind. Promises objects that are valid and shown, the same bytes for the same results, and a
second look at each before it leaves.
"""

from cxrnode.evidence.composer import EvidenceComposer

__all__ = ["EvidenceComposer"]
