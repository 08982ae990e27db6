"""Ages as headers state them."""

from __future__ import annotations

import pytest

from cxrnode.pixels.age import age_years


@pytest.mark.parametrize(
    ("stated", "years"),
    [("045Y", 45.0), ("45y", 45.0), ("018M", 1.5), ("000D", 0.0), ("052W", 52 * 7 / 365.25), ("120Y", 120.0)],
)
def test_an_age_is_read_in_its_unit(stated: str, years: float) -> None:
    """Days, weeks, months and years; a width that is not three digits is read, too."""
    assert age_years(stated, born="", seen=()) == pytest.approx(years)


@pytest.mark.parametrize("stated", ["", "45", "000Y", "000M", "200Y", "Y", "abc", "-05Y", "0045Y"])
def test_an_age_that_says_nothing_is_none(stated: str) -> None:
    """No unit, zero years, two hundred years."""
    assert age_years(stated, born="", seen=()) is None


def test_dates_give_the_age_where_none_is_stated() -> None:
    """From birth to the first date that can be read; the stated age wins."""
    assert age_years("", born="20100301", seen=("", "20200301")) == pytest.approx(10.0, abs=0.01)
    assert age_years("000Y", born="19500101", seen=("20200101",)) == pytest.approx(70.0, abs=0.01)
    assert age_years("045Y", born="20100301", seen=("20200301",)) == 45.0


@pytest.mark.parametrize(
    ("born", "seen"),
    [
        ("20200301", "20100301"),
        ("18000101", "20200101"),
        ("20100230", "20200101"),
        ("20100301", ""),
        ("", "20200101"),
        ("1950", "20200101"),
        ("00000000", "20200101"),
    ],
)
def test_dates_that_make_no_life_say_nothing(born: str, seen: str) -> None:
    """Born after the study, two hundred years before, on no day, or not said."""
    assert age_years("", born=born, seen=(seen,)) is None
