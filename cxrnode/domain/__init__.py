"""Values and rules of the line: standard library, numpy and scipy.ndimage only; no clock, no I/O."""
