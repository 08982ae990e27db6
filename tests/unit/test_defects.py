"""Films made into what no model may answer for: what is true of them stays true."""

from __future__ import annotations

import numpy as np
import pytest

from cxrnode.training import defects
from cxrnode.training.defects import (
    SIDE,
    STRANGERS,
    FloatArray,
    View,
    cropped,
    frontal,
    inverted,
    look,
    requality,
    stranger,
    turned,
)


@pytest.fixture
def film() -> FloatArray:
    """A picture with one bright quarter: its upper left, which tells where every side went."""
    picture = np.zeros((200, 160), dtype=np.float32)
    picture[:100, :80] = 1.0
    return picture


def _quarter(image: FloatArray) -> tuple[str, str]:
    """Say where the bright quarter lies."""
    rows, cols = np.nonzero(image > 0.5)
    upper = rows.mean() < image.shape[0] / 2
    return ("upper" if upper else "lower", "left" if cols.mean() < image.shape[1] / 2 else "right")


def test_a_whole_view_is_the_film(film: FloatArray) -> None:
    """Nothing is turned, cut or stretched; only the size is the frame's."""
    shown = look(film, View())
    assert shown.shape == (SIDE, round(SIDE * 0.8))
    assert _quarter(shown) == ("upper", "left")
    assert shown.mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("view", "place"),
    [
        (View(mirrored=True), ("upper", "right")),
        (View(turn=90.0), ("upper", "right")),
        (View(turn=180.0), ("lower", "right")),
        (View(turn=270.0), ("lower", "left")),
    ],
)
def test_a_view_turns_clockwise_and_mirrors_its_sides(film: FloatArray, view: View, place: tuple[str, str]) -> None:
    """A mirrored film is told from a turned one by where its heart went: a wrong sense would teach the wrong side."""
    square = np.ascontiguousarray(film[:160])
    square[:80] = film[:80]
    square[80:] = 0.0
    assert _quarter(look(square, view)) == place


def test_a_cut_view_shows_its_own_part_of_the_film(film: FloatArray) -> None:
    """The bright quarter alone, when that is where one looks."""
    shown = look(film, View(centre=(0.25, 0.25), extent=(0.4, 0.4)))
    assert shown.min() > 0.99


def test_a_mirrored_frontal_film_has_its_sides_swapped_whatever_else_is_drawn(film: FloatArray) -> None:
    """The small tilts and shifts of a sound film never hide which side is which."""
    for seed in range(20):
        plain = frontal(film, np.random.default_rng(seed), mirrored=False)
        swapped = frontal(film, np.random.default_rng(seed), mirrored=True)
        assert _quarter(plain) == ("upper", "left")
        assert _quarter(swapped) == ("upper", "right")


def test_a_turned_film_never_stands_upright() -> None:
    """A film that runs from bright above to dark below does so no longer."""
    ramp = np.repeat(np.linspace(1.0, 0.0, 160, dtype=np.float32)[:, None], 160, axis=1)
    for seed in range(20):
        shown = turned((ramp, ramp), np.random.default_rng(seed))
        middle = shown[shown.shape[0] // 4 : -shown.shape[0] // 4, shown.shape[1] // 4 : -shown.shape[1] // 4]
        assert middle[: len(middle) // 3].mean() - middle[-(len(middle) // 3) :].mean() < 0.2


def test_a_crop_shows_less_than_half_of_a_film() -> None:
    """Of a film whose values are its columns' places no crop holds more than half of them."""
    ramp = np.repeat(np.linspace(0.2, 1.0, 200, dtype=np.float32)[None], 200, axis=0)
    for seed in range(20):
        shown = cropped((ramp, ramp), np.random.default_rng(seed))
        inside = shown[shown > 0.1]
        assert np.ptp(np.quantile(inside, [0.02, 0.98])) < 0.55


@pytest.mark.parametrize("maker", [maker for _, maker in STRANGERS], ids=lambda maker: maker.__name__)
def test_every_stranger_is_a_picture_and_a_function_of_the_films_and_the_generator(maker, film: FloatArray) -> None:  # type: ignore[no-untyped-def]
    """The same generator gives the same picture, another one another; none is too thin to prepare."""
    films = (film, film[::-1])
    for seed in range(8):
        first, again = (maker(films, np.random.default_rng(seed)) for _ in range(2))
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert np.array_equal(first, again)
        assert min(first.shape) >= 24
    other = maker(films, np.random.default_rng(99))
    assert other.shape != first.shape or not np.array_equal(other, first)


def test_strangers_are_drawn_by_their_shares(film: FloatArray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shares are a whole; a maker with nine tenths of it makes nine pictures of ten."""
    assert sum(share for share, _ in STRANGERS) == pytest.approx(1.0)
    often, seldom = (lambda films, rng, gray=gray: np.full((2, 2), gray) for gray in (1.0, 0.0))
    monkeypatch.setattr(defects, "STRANGERS", ((0.9, often), (0.1, seldom)))
    drawn = [stranger((film, film), np.random.default_rng(seed)).mean() for seed in range(200)]
    assert 0.85 < np.mean(drawn) < 0.95


def test_inverting_twice_gives_the_film_back(film: FloatArray) -> None:
    """Black is white and white is black."""
    assert inverted(film)[0, 0] == 0.0
    assert np.array_equal(inverted(inverted(film)), film)


def test_a_poorer_quality_keeps_the_picture_where_it_is(film: FloatArray) -> None:
    """Size and place stay; only detail is lost."""
    shown = requality(film, np.random.default_rng(0))
    assert shown.shape == film.shape
    assert np.abs(shown - film).mean() < 0.05
