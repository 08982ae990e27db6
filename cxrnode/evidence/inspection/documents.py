"""The modules of documents: reports, key objects, a PDF (PS3.3 C.17, C.24). Content items are in `tree`.

Hides nothing. Promises tables of PS3.3, each with its section.
"""

from __future__ import annotations

from cxrnode.evidence.inspection.macros import CODE, HIERARCHY, INSTANCE, PURPOSE, module
from cxrnode.evidence.inspection.required import may_be_empty, must, optional

DOCUMENT = module(
    "sr-document-general",
    "C.17.2",
    must("InstanceNumber"),
    must("CompletionFlag", "COMPLETE", "PARTIAL"),
    must("VerificationFlag", "UNVERIFIED"),
    must("ContentDate"),
    must("ContentTime"),
    may_be_empty("PerformedProcedureCodeSequence"),
    must("CurrentRequestedProcedureEvidenceSequence", within=HIERARCHY),
    optional("PertinentOtherEvidenceSequence", within=HIERARCHY),
    optional("PredecessorDocumentsSequence", within=HIERARCHY),
    optional("IdenticalDocumentsSequence", within=HIERARCHY),
)
KEY_OBJECTS = module(
    "key-object-document",
    "C.17.6.2",
    must("InstanceNumber"),
    must("ContentDate"),
    must("ContentTime"),
    must("CurrentRequestedProcedureEvidenceSequence", within=HIERARCHY),
)
CONTENT = module(
    "sr-document-content",
    "C.17.3",
    must("ValueType", "CONTAINER"),
    must("ConceptNameCodeSequence", within=CODE, single=True),
    must("ContinuityOfContent", "SEPARATE", "CONTINUOUS"),
    must("ContentSequence"),
    # Which documents have to name a template, and which one, is in `vocabulary`.
    optional(
        "ContentTemplateSequence",
        within=(must("MappingResource", "DCMR"), must("TemplateIdentifier")),
        single=True,
    ),
)
PDF = module(
    "encapsulated-document",
    "C.24.2",
    must("InstanceNumber"),
    may_be_empty("ContentDate"),
    may_be_empty("ContentTime"),
    may_be_empty("AcquisitionDateTime"),
    must("BurnedInAnnotation", "YES", "NO"),
    must("SourceInstanceSequence", within=(*INSTANCE, PURPOSE)),
    may_be_empty("DocumentTitle"),
    # Type 2 there; ours has a title in codes, too.
    must("ConceptNameCodeSequence", within=CODE, single=True),
    must("MIMETypeOfEncapsulatedDocument", "application/pdf"),
    must("EncapsulatedDocument"),
)
