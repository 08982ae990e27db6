"""Which of many boxes are left, whatever they are: counted again, box by box, with whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrnode.inference.card import BoxRule
from cxrnode.inference.reading import standing
from cxrnode.pixels.geometry import fit_letterbox

SIZE = 64
WHOLE = fit_letterbox(SIZE, SIZE, SIZE)
Corners = tuple[int, int, int, int]


@st.composite
def some_boxes(draw: st.DrawFn) -> list[Corners]:
    """Draw up to a dozen boxes on a coarse grid, so that they often lie in each other."""
    drawn = draw(st.lists(st.tuples(*[st.integers(0, 5)] * 2, *[st.integers(1, 5)] * 2), max_size=12))
    return [(6 * left, 6 * top, 6 * (left + width), 6 * (top + height)) for left, top, width, height in drawn]


def _area(box: Sequence[int]) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def _one(some: Corners, other: Corners, overlap: Fraction, inside: Fraction | None) -> bool:
    """Say whether two boxes are one, with whole numbers."""
    common = _area((*map(max, some[:2], other[:2]), *map(min, some[2:], other[2:])))
    smaller, both = min(_area(some), _area(other)), _area(some) + _area(other) - common
    return common > overlap * both or (inside is not None and common > inside * smaller)


@settings(max_examples=150, deadline=None)
@given(
    some_boxes(),
    st.sampled_from([Fraction("0.21"), Fraction("0.31")]),
    st.sampled_from([None, Fraction("0.61"), Fraction("0.81")]),
    st.randoms(use_true_random=False),
)
def test_a_box_goes_exactly_where_a_surer_one_that_stays_is_one_with_it(
    boxes: list[Corners], overlap: Fraction, inside: Fraction | None, chance: object
) -> None:
    """Taken the surest first; in whichever order a network gives its candidates, the same boxes stay."""
    stay: list[Corners] = []
    for box in boxes:
        if not any(_one(box, other, overlap, inside) for other in stay):
            stay.append(box)
    rule = BoxRule(overlap=float(overlap), most=100, inside=None if inside is None else float(inside))
    order = list(range(len(boxes)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    corners = np.array([boxes[place] for place in order], dtype=np.float32).reshape(-1, 4)
    left, logits = standing(corners, -np.array(order, dtype=np.float32), WHOLE, rule)
    assert left.tolist() == [list(box) for box in stay]
    assert (np.diff(logits) < 0).all()
