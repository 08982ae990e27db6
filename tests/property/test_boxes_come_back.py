"""A box that a network sees where it is drawn comes back onto the stored image, however that is stored."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrnode.domain.finding import ModelIdentity
from cxrnode.inference.card import BoxRule
from cxrnode.inference.image_pass import Fed, Model, Prepared, Said, finish_image
from cxrnode.pixels.geometry import boxes_to_grid, place, shrink
from cxrnode.pixels.normalise import normalise, prepare
from cxrnode.pixels.orientation import Orientation
from tests.fakes.card import card

SIZE = 128
ORIENTATIONS = [
    Orientation(turned=turned, flip_columns=columns, flip_rows=rows)
    for turned, columns, rows in product((False, True), repeat=3)
]
CARD = card(
    "detection",
    ("opacity", "left", "top", "right", "bottom"),
    size=SIZE,
    operating_points={"opacity": 0.5},
    boxes=BoxRule(overlap=0.3, most=8),
)


class Silent:
    """A network that is never asked."""

    def predict(self, batch: np.ndarray) -> np.ndarray:
        raise AssertionError("the output is given")


@st.composite
def stored_boxes(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    """Rows and columns of a stored picture, and a box on it (left, top, right, bottom): the rest is a flat frame."""
    rows, cols = draw(st.integers(200, 600)), draw(st.integers(200, 600))
    left, top = draw(st.integers(0, cols // 2)), draw(st.integers(0, rows // 2))
    right = draw(st.integers(left + cols // 5, cols))
    bottom = draw(st.integers(top + rows // 5, rows))
    return rows, cols, (left, top, right, bottom)


@settings(max_examples=60, deadline=None)
@given(stored_boxes(), st.sampled_from(ORIENTATIONS), st.floats(0.7, 1.4))
def test_a_box_comes_back_within_a_pixel_however_the_picture_is_stored(
    drawn: tuple[int, int, tuple[int, int, int, int]], orientation: Orientation, aspect: float
) -> None:
    """What a network says of the place where it sees a bright box is said of that box's place on the stored image."""
    rows, cols, box = drawn
    left, top, right, bottom = box
    stored = np.zeros((rows, cols), dtype=np.float32)
    stored[top:bottom, left:right] = 1.0
    shown = np.ascontiguousarray(orientation.apply(stored))
    picture, letterbox = prepare(shown, SIZE, aspect)
    small = shrink(shown, letterbox)
    assert np.array_equal(picture, place(normalise(small), letterbox)), "what is fed lies in the letterbox"
    corners = orientation.apply_points([(left, top), (right, bottom)], (rows, cols))
    upright = np.float32([[*corners.min(axis=0)[::-1], *corners.max(axis=0)[::-1]]])
    seen = boxes_to_grid(upright, letterbox)[0][[1, 0, 3, 2]]
    assert np.abs(seen - _bright(place(small, letterbox))).max() <= 2.0, "the network sees it there"
    found = _answered(seen, Fed(picture=picture, letterbox=letterbox), orientation)
    assert np.abs(np.array(found) - np.array(box)).max() < 1.0


def _bright(picture: np.ndarray) -> np.ndarray:
    """Give the edges of what is bright: left, top, right, bottom."""
    bright = picture >= 0.5 * picture.max()
    down, across = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return np.array([across[0], down[0], across[-1] + 1, down[-1] + 1])


def _answered(seen: np.ndarray, fed: Fed, orientation: Orientation) -> tuple[float, float, float, float]:
    """Give the box on the stored image where a network says `seen` of its grid."""
    prepared = Prepared(models=("opacity",), orientation=orientation, fed={"opacity": fed}, failed={})
    identity = ModelIdentity(name="opacity", version="1", digest="d", backend="b")
    models = {"opacity": Model(identity=identity, network=Silent(), card=CARD)}
    said = Said(values=np.float32([3.0, *seen])[:, None], model=identity)
    answer = finish_image(prepared, {"opacity": said}, models)
    assert answer.failed == ()
    box = answer.predictions[0].boxes[0]
    return box.left, box.top, box.right, box.bottom
