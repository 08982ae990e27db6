"""The law of the parts: whatever films lie side by side, nothing that is learnt from is tested on."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cxrnode.training.example import Example, MaskAt, part_of
from cxrnode.training.split import Split, is_anchored, is_scarce, split

MASK = (MaskAt(path=Path("mask.png")),)
SOURCES = ("nih", "jsrt", "covid_v7labs", "siim", "pneumothorax_whole_film", "chestxdet")

films = st.lists(
    st.builds(
        lambda patient, source, masks: Example(
            name=f"film of {patient}",
            source=source,
            patient=patient,
            part="train",
            image=Path("film.png"),
            masks=masks,
        ),
        patient=st.sampled_from([f"patient{number}" for number in range(12)]),
        source=st.sampled_from(SOURCES),
        masks=st.sampled_from(
            [{}, {"pneumothorax": MASK}, {"pneumothorax": ()}, {"right_lung": MASK, "left_lung": MASK}]
        ),
    ),
    max_size=20,
)


@st.composite
def crowds(draw: st.DrawFn) -> Split:
    """Draw films of a few patients, and which of them are alike."""
    drawn = draw(films)
    places = st.integers(0, max(0, len(drawn) - 1))
    pairs = draw(st.lists(st.tuples(places, places), max_size=6)) if drawn else []
    return split(drawn, pairs)


@given(crowds())
def test_no_group_stands_in_two_parts_but_for_lungs_that_keep_their_own(crowd: Split) -> None:
    """Films of one patient or alike, directly or through others, are in one part; drawn lungs stay where they were."""
    parts: dict[int, set[str]] = {}
    for film, group in zip(crowd.examples, crowd.groups, strict=True):
        if is_anchored(film):
            assert film.part == part_of(film.patient)
        else:
            parts.setdefault(group, set()).add(film.part)
    assert all(len(some) == 1 for some in parts.values())


@given(crowds())
def test_nothing_beside_a_scarce_mask_is_learnt_from(crowd: Split) -> None:
    """Neither the film itself nor, but for drawn lungs, any film of its patient or like it is in the training part."""
    scarce = {group for film, group in zip(crowd.examples, crowd.groups, strict=True) if is_scarce(film)}
    learnt = {
        group
        for film, group in zip(crowd.examples, crowd.groups, strict=True)
        if film.part == "train" and not is_anchored(film)
    }
    assert scarce.isdisjoint(learnt)
