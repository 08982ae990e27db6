"""Hides how a bundle is measured: on films of patients it never saw, calibrated and set on the validation part.

`evaluate` measures, `calibrate` sets a bundle's calibration and points, `try_shortcuts` asks what changes its mind
that should not.
"""
