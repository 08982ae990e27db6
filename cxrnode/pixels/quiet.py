"""Reading a header without pydicom saying what it found in it.

Hides pydicom's logger and Python's warnings. Promises that neither quotes a file name or a value while a header or
pixels are read. Warning filters belong to the whole process, so this is for the child and the command that decode,
where one thread does.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom within a `with` or, as a decorator, within a function."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
