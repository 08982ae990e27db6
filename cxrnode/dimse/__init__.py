"""DIMSE both ways: the only package that knows pynetdicom. Its faces are `listener` and `sender`."""
