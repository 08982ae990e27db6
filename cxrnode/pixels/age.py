"""How old a patient was when the image was made.

Hides DICOM's ages and dates, and what stands in them where nobody knew. Promises years, or None where the values say
nothing or say what cannot be; never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

_AGE, _DATE = re.compile(r"([0-9]{1,3})([DWMY])"), re.compile(r"[0-9]{8}")
_IN_A_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_OLDEST = 125.0


def age_years(stated: str, *, born: str, seen: Iterable[str]) -> float | None:
    """Give the age that Patient's Age states (AS, PS3.5 6.2), else the time from birth to the first date in `seen`.

    Zero weeks, months or years are what stands where nobody chose an age: a newborn is counted in days.
    """
    age = _AGE.fullmatch(stated.strip().upper())
    if age and (int(age[1]) or age[2] == "D"):
        return _alive(int(age[1]) / _IN_A_YEAR[age[2]])
    first, then = _date(born), next((day for text in seen if (day := _date(text))), None)
    return _alive((then - first).days / _IN_A_YEAR["D"]) if first and then else None


def _alive(years: float) -> float | None:
    return years if 0 <= years <= _OLDEST else None


def _date(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])) if _DATE.fullmatch(text) else None
    except ValueError:  # the thirtieth of February
        return None
