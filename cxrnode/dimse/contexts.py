"""What is negotiated: storage classes, transfer syntaxes and presentation contexts, as tables.

Hides how a presentation context is made. Promises the same offer to every peer, in a fixed order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydicom.uid import (
    JPEG2000,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom.presentation import PresentationContext, build_context

from cxrnode.domain.capability import NAMES

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known instance that storage commitment is asked of (PS3.4 J.3.5)."""

MAXIMUM_PDU = 131072
"""Bytes. Larger gives nothing, and DCMTK takes no more."""

SOURCE_CLASSES: tuple[str, ...] = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)
"""What the listener takes where the settings say nothing; other storage classes are a setting."""

EVIDENCE_CLASSES: tuple[str, ...] = tuple(NAMES)
"""What the node itself writes and sends."""

# The acceptor's order decides where one context offers several (PS3.8 9.3.3.2): what needs no codec comes first.
TRANSFER_SYNTAXES: tuple[str, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    JPEGLSNearLossless,
    JPEG2000,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

UNCOMPRESSED: tuple[str, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def accepted(storage_classes: Iterable[str]) -> list[PresentationContext]:
    """Give what a listener accepts: echo, storage in every transfer syntax, and commitment reports from an archive.

    For storage commitment the peer may be the SCP only (role selection, PS3.7 D.3.3.4): it reports, it cannot ask.
    """
    contexts = [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in dict.fromkeys(storage_classes)]
    contexts.append(build_context(VERIFICATION, list(UNCOMPRESSED)))
    reports = build_context(STORAGE_COMMITMENT, list(UNCOMPRESSED))
    reports.scu_role, reports.scp_role = False, True
    return [*contexts, reports]


def proposed(storage_classes: Iterable[str]) -> list[PresentationContext]:
    """Give what a sender proposes: one context a class and transfer syntax, so that the peer may accept each alone."""
    contexts = [build_context(uid, [syntax]) for uid in dict.fromkeys(storage_classes) for syntax in UNCOMPRESSED]
    contexts += [build_context(uid, list(UNCOMPRESSED)) for uid in (VERIFICATION, STORAGE_COMMITMENT)]
    return contexts


def asking() -> list[PresentationContext]:
    """Give what is proposed to ask an archive what it holds; verification, so that one without C-FIND still answers."""
    return [build_context(uid, list(UNCOMPRESSED)) for uid in (STUDY_ROOT_FIND, VERIFICATION)]


def agreed(accepted_contexts: Iterable[PresentationContext]) -> Mapping[str, str]:
    """Give each storage class that a peer accepted, with the transfer syntax in which it would be sent."""
    pairs = {(str(context.abstract_syntax), str(context.transfer_syntax[0])) for context in accepted_contexts}
    return {
        sop_class: syntax
        # The one of two that comes later here stays: Explicit VR, in which the kept objects lie.
        for syntax in reversed(UNCOMPRESSED)
        for sop_class, taken in sorted(pairs)
        if taken == syntax and sop_class not in {VERIFICATION, STORAGE_COMMITMENT}
    }
