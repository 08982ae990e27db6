"""What a destination is sent: the table of fallbacks, and what is said of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, combinations
from typing import TypeVar

import pytest

from cxrnode.domain.capability import (
    CLASSES,
    ENCAPSULATED_PDF,
    INSTEAD,
    KEY_OBJECT_SELECTION,
    NAMES,
    PRESENTATION_STATE,
    REPORT_CLASSES,
    SECONDARY_CAPTURE,
    SEGMENTATION,
    Kind,
    ReportClass,
    choose,
    class_of,
)
from cxrnode.domain.delivery import Destination, Geometry
from cxrnode.domain.identity import AETitle

T = TypeVar("T")

PACS = Destination(name="pacs", ae_title=AETitle("PACS"), host="127.0.0.1", port=104)
EVERY_WISH = tuple(kind for kind in Kind if kind is not Kind.REJECTION)
THREE_D, COMPREHENSIVE, ENHANCED = (REPORT_CLASSES[one] for one in ReportClass)

_NO_SEG = "takes no Segmentation; "
_NO_SR = "takes no Structured Report; "
_NOT_3D = "takes no Comprehensive 3D SR; Comprehensive SR goes instead"
_NOTHING = "takes nothing of what is written for it; the report is sent all the same"


def kinds(text: str) -> tuple[Kind, ...]:
    """Read kinds from their names."""
    return tuple(Kind(name) for name in text.split())


@pytest.mark.parametrize(
    ("wishes", "accepted", "sent", "said"),
    [
        ("SEG SR", set(NAMES), "SEG SR", []),
        ("SEG SR", {SEGMENTATION, THREE_D}, "SEG SR", []),
        ("SEG SR", {SEGMENTATION, COMPREHENSIVE, ENHANCED}, "SEG SR", [_NOT_3D]),
        (
            "SEG SR",
            {SEGMENTATION, ENHANCED},
            "SEG SR",
            ["takes no Comprehensive 3D SR nor Comprehensive SR; Enhanced SR goes instead"],
        ),
        (
            "SEG SR",
            {THREE_D, PRESENTATION_STATE, SECONDARY_CAPTURE},
            "SR GSPS",
            [_NO_SEG + "Grayscale Softcopy Presentation State goes instead"],
        ),
        ("SEG SR", {THREE_D, SECONDARY_CAPTURE}, "SR SC", [_NO_SEG + "Secondary Capture of the drawing goes instead"]),
        ("SEG SR", {THREE_D}, "SR", [_NO_SEG + "nothing goes instead"]),
        (
            "SEG SR",
            {SEGMENTATION, ENCAPSULATED_PDF, SECONDARY_CAPTURE},
            "SEG PDF",
            [_NO_SR + "Encapsulated PDF of the report goes instead"],
        ),
        (
            "SEG SR",
            {SECONDARY_CAPTURE},
            "SC PAGES",
            [
                _NO_SEG + "Secondary Capture of the drawing goes instead",
                _NO_SR + "Secondary Capture of the report goes instead",
            ],
        ),
        ("SEG SR", {SEGMENTATION}, "SEG", [_NO_SR + "nothing goes instead"]),
        (
            "GSPS PDF",
            {SECONDARY_CAPTURE, SEGMENTATION, THREE_D},
            "SC PAGES",
            [
                "takes no Grayscale Softcopy Presentation State; Secondary Capture of the drawing goes instead",
                "takes no Encapsulated PDF; Secondary Capture of the report goes instead",
            ],
        ),
        ("SC SR", {THREE_D}, "SR", ["takes no Secondary Capture; nothing goes instead"]),
        ("PAGES SR", {THREE_D}, "SR", ["takes no Secondary Capture; nothing goes instead"]),
        ("KOS SR", {THREE_D}, "SR", ["takes no Key Object Selection; nothing goes instead"]),
        ("SEG SC", {SECONDARY_CAPTURE}, "SC", [_NO_SEG + "Secondary Capture of the drawing goes instead"]),
        ("SEG SR", set(), "SR", [_NO_SEG + "nothing goes instead", _NO_SR + "nothing goes instead", _NOTHING]),
        ("KOS", {COMPREHENSIVE}, "SR", ["takes no Key Object Selection; nothing goes instead", _NOTHING]),
    ],
)
def test_what_is_not_taken_is_replaced_and_said(wishes: str, accepted: set[str], sent: str, said: list[str]) -> None:
    """The table of the fallbacks, each in its order; what has no stand-in is missing, and that is said, too."""
    choice = choose(replace(PACS, objects=kinds(wishes)), accepted)
    assert (choice.kinds, list(choice.fallbacks)) == (kinds(sent), said)


@pytest.mark.parametrize(
    ("listed", "accepted", "written"),
    [
        (tuple(ReportClass), {THREE_D, COMPREHENSIVE, ENHANCED}, ReportClass.COMPREHENSIVE_3D),
        (tuple(ReportClass), {COMPREHENSIVE, ENHANCED}, ReportClass.COMPREHENSIVE),
        (tuple(ReportClass), {ENHANCED}, ReportClass.ENHANCED),
        ((ReportClass.ENHANCED, ReportClass.COMPREHENSIVE), {COMPREHENSIVE, ENHANCED}, ReportClass.ENHANCED),
        ((ReportClass.ENHANCED, ReportClass.COMPREHENSIVE), {THREE_D, COMPREHENSIVE}, ReportClass.COMPREHENSIVE),
        ((ReportClass.COMPREHENSIVE,), None, ReportClass.COMPREHENSIVE),
    ],
)
def test_the_first_listed_class_that_is_taken_is_written(
    listed: tuple[ReportClass, ...], accepted: set[str] | None, written: ReportClass
) -> None:
    """The destination's own order counts, and no class that is not on its list is ever written."""
    choice = choose(replace(PACS, report_classes=listed), accepted)
    assert choice.report_class is written
    assert Kind.SR in choice.kinds


def test_a_class_that_is_not_listed_is_no_way_out() -> None:
    """Who lists Comprehensive 3D alone gets the report in another form, not in another class."""
    only = replace(PACS, objects=(Kind.SR,), report_classes=(ReportClass.COMPREHENSIVE_3D,))
    choice = choose(only, {COMPREHENSIVE, ENHANCED, ENCAPSULATED_PDF})
    assert choice.kinds == (Kind.PDF,)


def test_without_fallback_nothing_goes_in_place_of_anything() -> None:
    """The SEG is missing and said to be; a report's class is no fallback in this sense."""
    choice = choose(replace(PACS, fallback=False), {PRESENTATION_STATE, SECONDARY_CAPTURE, COMPREHENSIVE})
    assert choice.kinds == (Kind.SR,)
    assert choice.fallbacks == (_NO_SEG + "nothing goes instead", _NOT_3D)


def test_a_destination_that_nobody_has_asked_is_sent_what_it_is_to_get() -> None:
    """A refusal is an answer, too; nothing is held back for want of one."""
    choice = choose(replace(PACS, objects=EVERY_WISH), None)
    assert (choice.kinds, choice.fallbacks, choice.rejection) == (EVERY_WISH, (), True)
    assert choice.report_class is ReportClass.COMPREHENSIVE_3D


@pytest.mark.parametrize(("accepted", "taken"), [({THREE_D}, False), ({THREE_D, KEY_OBJECT_SELECTION}, True)])
def test_rejection_notes_are_taken_where_their_class_is(accepted: set[str], taken: bool) -> None:
    """Whether Key Object Selections are wished for or not."""
    assert choose(PACS, accepted).rejection is taken


def test_whatever_is_taken_everything_that_is_not_sent_is_said() -> None:
    """All 256 answers of a destination to all 127 lists of wishes, with fallbacks and without."""
    for accepted in map(set, _subsets(NAMES)):
        for wishes in _subsets(EVERY_WISH):
            for fallback in (True, False):
                _examine(replace(PACS, objects=wishes, fallback=fallback), accepted)


def _subsets(values: Iterable[T]) -> Iterable[tuple[T, ...]]:
    pool = tuple(values)
    return chain.from_iterable(combinations(pool, size) for size in range(len(pool) + 1))


def _examine(destination: Destination, accepted: set[str]) -> None:
    choice = choose(destination, accepted)
    taken = [kind for kind in choice.kinds if class_of(kind, choice.report_class) in accepted]
    missing = [kind for kind in destination.objects if kind not in choice.kinds]
    stand_ins = {one for kind in missing for one in INSTEAD.get(kind, ())}
    refused = [kind for kind in destination.objects if not _classes(kind, destination) & accepted]
    steps_down = Kind.SR in destination.objects and THREE_D not in accepted and Kind.SR not in refused
    assert len([said for said in choice.fallbacks if said.startswith("takes no ")]) == len(refused) + steps_down
    assert choice.kinds == tuple(kind for kind in Kind if kind in choice.kinds)
    assert set(missing) <= set(refused)
    # Only the report goes out untaken, and only where nothing else of ours would.
    assert taken == list(choice.kinds) or choice.kinds == (Kind.SR,)
    allowed = {*destination.objects, *(stand_ins if destination.fallback else ())}
    assert set(choice.kinds) <= allowed or choice.kinds == (Kind.SR,)


def _classes(kind: Kind, destination: Destination) -> set[str]:
    return {class_of(kind, one) for one in destination.report_classes}


def test_destinations_that_get_the_same_share_their_objects() -> None:
    """Equal composition, whatever the names and the way there; another geometry or report is another composition."""
    other = replace(PACS, name="vna", host="10.0.0.1", objects=(Kind.SR, Kind.SEG))
    assert choose(PACS, None).composition == choose(other, set(NAMES)).composition
    strict = replace(PACS, geometry=Geometry.STRICT)
    assert len({choose(PACS, None).composition, choose(strict, None).composition}) == 2
    assert choose(PACS, {SEGMENTATION, COMPREHENSIVE}).composition != choose(PACS, None).composition


def test_a_report_without_its_segs_is_of_another_line() -> None:
    """It must not follow one that names them, nor be followed by one."""
    lines = {
        choose(PACS, None).report_line,
        choose(PACS, {THREE_D}).report_line,
        choose(PACS, {SEGMENTATION, COMPREHENSIVE}).report_line,
        choose(replace(PACS, geometry=Geometry.STRICT), None).report_line,
    }
    assert len(lines) == 4
    assert all(line.startswith(Kind.SR) for line in lines)


def test_every_class_that_is_written_has_a_name() -> None:
    """The table of `cxrnode check` and the conformance statement call it by that."""
    assert set(NAMES) == {*CLASSES.values(), *REPORT_CLASSES.values()}
    assert {*CLASSES, Kind.SR} == set(Kind)
