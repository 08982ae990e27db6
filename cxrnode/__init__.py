"""cxrnode: a DICOM node that stands beside a PACS and gives chest radiographs back with SEG and SR."""

__version__ = "0.1.0"
