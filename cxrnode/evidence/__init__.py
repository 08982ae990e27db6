"""Evidence objects: what the models found, as DICOM SEG and SR, behind compose().

Hides highdicom. Promises objects that are valid and shown, and the same bytes for the same results.
"""

from cxrnode.evidence.composer import EvidenceComposer

__all__ = ["EvidenceComposer"]
