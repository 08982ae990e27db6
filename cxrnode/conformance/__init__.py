"""The DICOM Conformance Statement (PS3.2), generated from the tables that the program runs on.

Hides how each table is read. Promises that what the statement says of classes, syntaxes, statuses, attributes, codes
and settings is what the code does.
"""

from cxrnode.conformance.document import statement

__all__ = ["statement"]
