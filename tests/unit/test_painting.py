"""Painted pictures: the film in its true shape, words beside it."""

from __future__ import annotations

import numpy as np
import pytest

from cxrnode.evidence.caption import Sentence
from cxrnode.evidence.colours import WHITE, Colour
from cxrnode.evidence.drawing import Drawing, Mark
from cxrnode.evidence.lettering import Wanted, placed
from cxrnode.evidence.painting import painted

RED = Colour(red=200, green=0, blue=0)


def _drawing(rows: int, columns: int, *, aspect: float = 1.0, **parts: tuple) -> Drawing:
    nothing: dict[str, tuple] = {"marks": (), "texts": (), "caption": ()}
    return Drawing(rows=rows, columns=columns, aspect=aspect, letter=columns / 40, **(nothing | parts))


@pytest.mark.parametrize(
    ("preview", "rows", "columns", "aspect", "wanted"),
    [
        ((1024, 820), 2500, 2000, 1.0, (1024, 819)),
        ((820, 1024), 2000, 2500, 1.0, (819, 1024)),
        ((256, 256), 256, 256, 1.0, (768, 768)),
        ((500, 1000), 500, 1000, 2.0, (1000, 1000)),
        ((512, 256), 512, 256, 0.5, (768, 768)),
    ],
)
def test_the_film_keeps_its_true_shape(
    preview: tuple[int, int], rows: int, columns: int, aspect: float, wanted: tuple[int, int]
) -> None:
    """Pixels that are twice as high as wide are shown so; what is small is enlarged, nothing is larger than 1024."""
    picture = painted(np.full(preview, 90, dtype=np.uint8), _drawing(rows, columns, aspect=aspect))
    assert picture.shape == (*wanted, 3)
    assert picture.dtype == np.uint8


def test_a_mark_is_painted_in_its_place_with_a_dark_seam() -> None:
    """On white bone as on dark air a line is seen."""
    mark = Mark(label="heart", colour=RED, lines=(((100.0, 400.0), (700.0, 400.0)),))
    picture = painted(np.full((800, 800), 250, dtype=np.uint8), _drawing(800, 800, marks=(mark,)))
    column = picture[390:411, 400].tolist()
    assert list(RED.rgb) in column
    assert [0, 0, 0] in column
    assert picture[400, 80].tolist() == [250, 250, 250]


def test_dashes_and_gaps_are_of_one_length_around_corners() -> None:
    """A dashed square is about half painted, all the way round."""
    square = ((100.0, 100.0), (700.0, 100.0), (700.0, 700.0), (100.0, 700.0), (100.0, 100.0))
    mark = Mark(label="lung_opacity", colour=RED, lines=(square,), certain=False)
    picture = painted(np.full((800, 800), 90, dtype=np.uint8), _drawing(800, 800, marks=(mark,)))
    red = (picture == RED.rgb).all(axis=2)
    for side in (red[100, 110:690], red[700, 110:690], red[110:690, 100], red[110:690, 700]):
        assert 0.35 < side.mean() < 0.65
        assert side[:60].any()
        assert side[-60:].any()


@pytest.mark.parametrize("words", ["R pneumothorax? 0.99", "like viral pneumonia? below 0.01", "CTR 0.49", "heart"])
def test_the_words_of_a_text_stay_in_its_box(words: str) -> None:
    """So that boxes which do not meet mean words which do not meet."""
    wanted = Wanted(label="heart", text=words, colour=WHITE, anchor=(400, 430))
    (text,) = placed([wanted], (800, 800), (20.0, 20.0))
    picture = painted(np.full((800, 800), 90, dtype=np.uint8), _drawing(800, 800, texts=(text,)))
    rows, columns = np.nonzero((picture != 90).any(axis=2))
    assert rows.min() >= text.top
    assert rows.max() < text.bottom
    assert columns.min() >= text.left
    assert columns.max() < text.right


def test_bands_hold_the_head_and_the_caption_and_the_film_is_whole() -> None:
    """Nothing is written over an apex or a costophrenic angle."""
    drawing = _drawing(800, 800, caption=(Sentence(text="below"), Sentence(text="and more", colour=RED)))
    picture = painted(np.full((800, 800), 90, dtype=np.uint8), drawing, [Sentence(text="above", colour=RED)])
    film = (picture == 90).all(axis=(1, 2))
    first, last = np.flatnonzero(film)[[0, -1]]
    assert (last - first + 1, film.sum()) == (800, 800)
    assert (picture[:first] == RED.rgb).all(axis=2).any()
    assert (picture[last + 1 :] == 255).all(axis=2).any()
