"""Hides what the data sets say to what a bundle is asked.

Promises three answers for each film: yes, no, and None where nobody looked. A label that a program read from a report
is no truth here; it is asked for by `weak`.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxrnode.inference.card import FindingRule
from cxrnode.training.example import Example, TrueBox

CHILD_BELOW = 16
"""Years."""

ADULT_FROM = 18
"""Years. Between the two nobody is asked whether it is a child."""

ABSENT_IN_NORMAL = ("pneumothorax",)
"""What RSNA's readers did not see in a film that they called normal."""

WEAK = {"pneumothorax": "nih.Pneumothorax"}
"""Labels read from reports by a program, by the channel that they speak of."""


def class_of(example: Example, question: str) -> str | None:
    """Give a film's class to a question such as "pattern" or "rsna"."""
    return example.classes.get(question)


def has(example: Example, channel: str) -> bool | None:
    """Say whether a film shows what a channel names.

    "question.class" asks the film's classes; any other name asks whoever drew masks or boxes of it, then the film's
    age for "child".
    """
    question, dot, name = channel.partition(".")
    if dot:
        found = class_of(example, question)
        return None if found is None else found == name
    if channel in example.masks:
        return bool(example.masks[channel])
    if channel in ABSENT_IN_NORMAL and class_of(example, "rsna") == "normal":
        return False
    boxes = true_boxes(example, channel)
    if boxes is not None:
        return bool(boxes)
    return _child(example) if channel == "child" else None


def has_by_report(example: Example, channel: str) -> bool | None:
    """Say what a program read of it in the film's report; None where there is no report."""
    label = WEAK.get(channel)
    if label is None or not any(key.startswith("nih.") for key in example.labels):
        return None
    return example.labels.get(label, False)


def true_boxes(example: Example, label: str) -> tuple[TrueBox, ...] | None:
    """Give the true boxes of a label; None where nobody drew such boxes.

    RSNA's readers looked at the films that have RSNA's class, and drew lung opacities alone. What others drew under
    other names is not mixed with theirs.
    """
    if example.boxes is None:
        return None
    if label == "lung_opacity" and "rsna" in example.classes:
        return tuple(box for box in example.boxes if box.label == label and box.drawn_by == "rsna")
    drawn = tuple(box for box in example.boxes if box.label == label)
    return drawn or None


def finding_truth(example: Example, rule: FindingRule) -> bool | None:
    """Say whether a film has a finding, by its rule in the card: the channel's truth, turned where it is inverse."""
    found = has(example, rule.channel)
    return None if found is None else found != rule.inverse


def question_of(group: Sequence[str]) -> str:
    """Give the question that a group of channels answers: "pattern" for "pattern.normal" and its like."""
    return group[0].partition(".")[0]


def place_in(example: Example, group: Sequence[str]) -> int | None:
    """Give the place of a film's true class in a group of channels; None where nobody said, or it is none of them."""
    question = question_of(group)
    channel = f"{question}.{class_of(example, question)}"
    return group.index(channel) if channel in group else None


def _child(example: Example) -> bool | None:
    if example.age is None or CHILD_BELOW <= example.age < ADULT_FROM:
        return None
    return example.age < CHILD_BELOW
