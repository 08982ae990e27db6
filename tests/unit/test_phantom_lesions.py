"""Lesions of the phantom: air and opacities with an outline that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxrnode.phantom import Opacity, Pneumothorax, Radiograph, Side, View, render

SMALL = Radiograph(rows=320, cols=288)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_a_pneumothorax_takes_its_share_of_its_side(side: Side, share: float) -> None:
    """The air lies in the lung field of the side it names, and nowhere else."""
    truth = render(replace(SMALL, lesions=(Pneumothorax(side=side, share=share),))).truth
    field, other = truth.right_lung, truth.left_lung
    if side is Side.LEFT:
        field, other = other, field
    assert truth.pneumothorax.sum() / field.sum() == pytest.approx(share, abs=0.04)
    assert not (truth.pneumothorax & ~field).any()
    assert not (truth.pneumothorax & other).any()


def test_air_is_darker_and_without_vessels() -> None:
    """What a reader looks for: no markings beyond the lung's edge."""
    lesion = Pneumothorax(side=Side.LEFT, share=0.6)
    well, ill = render(SMALL).truth, render(replace(SMALL, lesions=(lesion,))).truth
    inner = ill.pneumothorax
    assert ill.display[inner].mean() < well.display[inner].mean() - 0.02
    assert np.array_equal(ill.display[:, :100], well.display[:, :100])


def test_an_opacity_is_bright_and_its_box_lies_around_it() -> None:
    """The picture changes inside the box and nowhere else."""
    well, ill = render(SMALL).truth, render(replace(SMALL, lesions=(Opacity(side=Side.RIGHT),))).truth
    (box,) = ill.opacities
    rows, columns = np.nonzero(np.abs(ill.display - well.display) > 0.01)
    assert box.left <= columns.min() <= box.left + 6
    assert box.right - 6 <= columns.max() + 1 <= box.right
    assert box.top <= rows.min() <= box.top + 6
    assert box.bottom - 6 <= rows.max() + 1 <= box.bottom
    assert (ill.display >= well.display - 0.01).all()


@pytest.mark.parametrize(("stated", "turned"), [("R\\F", lambda a: a[:, ::-1]), ("F\\L", lambda a: a.T)])
def test_lesions_turn_with_the_stored_pixels(stated: str, turned: object) -> None:
    """The truth stays the patient's own side under any Patient Orientation."""
    square = replace(SMALL, rows=288, lesions=(Pneumothorax(side=Side.LEFT), Opacity(side=Side.RIGHT)))
    upright, other = render(square).truth, render(replace(square, orientation=stated)).truth
    assert np.array_equal(turned(other.pneumothorax), upright.pneumothorax)  # type: ignore[operator]
    (box,) = upright.opacities
    (moved,) = other.opacities
    assert moved.right - moved.left == (box.bottom - box.top if stated == "F\\L" else box.right - box.left)
    assert moved.left == (box.top if stated == "F\\L" else 288 - box.right)


def test_a_lesion_is_another_object_and_a_sound_one_keeps_its_uids() -> None:
    """Equal UIDs never stand for two pictures; those of a phantom without lesions are those of earlier versions."""
    sound, ill = SMALL.uid("instance"), replace(SMALL, lesions=(Opacity(),)).uid("instance")
    assert sound != ill
    assert Radiograph().uid("instance") == "2.25.280265639802052773771495443503494355715"


def test_a_lateral_has_no_lesions_to_find() -> None:
    """Only a frontal chest is drawn with them."""
    truth = render(replace(SMALL, view=View.LATERAL, lesions=(Pneumothorax(), Opacity()))).truth
    assert not truth.pneumothorax.any()
    assert truth.opacities == ()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    """Nothing is drawn in its place."""
    with pytest.raises(ValueError, match="share"):
        render(replace(SMALL, lesions=(Pneumothorax(share=share),)))
