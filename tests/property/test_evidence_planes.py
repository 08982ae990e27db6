"""Planes of any size and any number come back from a SEG as they went in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from cxrnode.evidence.segmentation import put_pixels

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 37), st.integers(1, 37))


@given(SHAPES.flatmap(lambda shape: arrays.arrays(bool, shape)))
def test_packed_planes_are_read_as_they_were_given(planes):
    """Eight pixels a byte, frames not aligned to bytes, an even number of bytes (PS3.5 8.1.1)."""
    built = Dataset()
    put_pixels(built, list(planes))
    assert (built.Rows, built.Columns) == planes.shape[1:]
    assert len(built.PixelData) % 2 == 0
    built.ensure_file_meta()
    built.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    built.SamplesPerPixel, built.PhotometricInterpretation, built.PixelRepresentation = 1, "MONOCHROME2", 0
    built.BitsAllocated = built.BitsStored = 1
    built.HighBit, built.NumberOfFrames = 0, len(planes)
    read = built.pixel_array.reshape(planes.shape)
    assert np.array_equal(read.astype(bool), planes)
    overlap = bool((planes.sum(axis=0) > 1).any())
    assert built.SegmentsOverlap == ("YES" if overlap else "NO")
