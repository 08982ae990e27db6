"""Which validation films a training of classes is checked on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cxrnode.training.example import Example
from cxrnode.training.tasks.classification import MOST_CHECKS, quick_look

QUESTIONS = ("pattern", "rsna")


def films(count: int, source: str, classes: Mapping[str, str], labels: Mapping[str, bool]) -> list[Example]:
    """Make films that are answered alike."""
    return [
        Example(
            name=f"{source}-{number}",
            source=source,
            patient=f"{source}-{number}",
            part="validate",
            image=Path("none.png"),
            classes=classes,
            labels=labels,
        )
        for number in range(count)
    ]


def test_many_films_of_one_question_leave_room_for_the_others_few() -> None:
    """Every film that a person answered for counts where there are few, and films read from reports stand by them."""
    many = films(4 * MOST_CHECKS, "kermany", {"pattern": "normal"}, {})
    few = films(7, "nih", {"rsna": "normal"}, {})
    reported = films(90, "report", {}, {"nih.Edema": True})
    picked, shortfall = quick_look([*many, *few, *reported], QUESTIONS)
    sources = [one.source for one in picked]
    assert (sources.count("kermany"), sources.count("nih"), sources.count("report")) == (MOST_CHECKS, 7, 90)
    assert not shortfall.instead


def test_a_film_that_answers_two_questions_is_looked_at_once() -> None:
    """A name stands once."""
    picked, _ = quick_look(films(5, "both", {"rsna": "normal", "pattern": "normal"}, {}), QUESTIONS)
    assert [one.name for one in picked] == [f"both-{number}" for number in range(5)]


def test_checks_by_reports_alone_are_remarked() -> None:
    """Where no person answered, the run says by what it was checked."""
    picked, shortfall = quick_look(films(9, "report", {}, {"nih.Edema": True}), QUESTIONS)
    assert len(picked) == 9
    assert "read from reports" in shortfall.instead
    assert shortfall.sources == "report"
