"""`cxrnode check` against real destinations: what each would be sent, and what goes in place of the rest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cxrnode.check import Offer, run_checks
from cxrnode.domain.capability import (
    ENCAPSULATED_PDF,
    KEY_OBJECT_SELECTION,
    NAMES,
    PRESENTATION_STATE,
    REPORT_CLASSES,
    SECONDARY_CAPTURE,
    SEGMENTATION,
    Kind,
    ReportClass,
)
from cxrnode.settings import load
from tests import peers

pytestmark = pytest.mark.peers

THREE_D, COMPREHENSIVE, ENHANCED = (REPORT_CLASSES[one] for one in ReportClass)
EVERY_WISH = [kind.value for kind in Kind if kind is not Kind.REJECTION]
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
def offered(tmp_path: Path) -> Callable[..., Offer]:
    """Check a node with one destination; give what that would be sent."""

    def check(ae_title: str, port: int, **settings: object) -> Offer:
        (checked,) = [
            result
            for result in run_checks(
                load(
                    node={"state_dir": tmp_path / "state"},
                    models={"enabled": ()},
                    destinations=[{"name": "pacs", "ae_title": ae_title, "port": port, **settings}],
                )
            )
            if result.name == "destination pacs"
        ]
        assert checked.offer, checked.detail
        assert checked.ok is checked.offer.arrives
        return checked.offer

    return check


def _rows(offer: Offer) -> dict[str, str]:
    """Give the transfer syntax of each kind by its SOP class; empty: not taken."""
    return {f"{one.kind} {one.sop_class_uid}": one.transfer_syntax_uid for one in offer.objects}


@pytest.mark.parametrize(
    ("taken", "rows", "sentences"),
    [
        (
            tuple(NAMES),
            {f"SEG {SEGMENTATION}": EXPLICIT, f"SR {THREE_D}": EXPLICIT, f"REJECTION {KEY_OBJECT_SELECTION}": EXPLICIT},
            0,
        ),
        (
            (COMPREHENSIVE, ENHANCED, PRESENTATION_STATE, SECONDARY_CAPTURE, KEY_OBJECT_SELECTION),
            {
                f"SEG {SEGMENTATION}": "",
                f"SR {COMPREHENSIVE}": EXPLICIT,
                f"GSPS {PRESENTATION_STATE}": EXPLICIT,
                f"REJECTION {KEY_OBJECT_SELECTION}": EXPLICIT,
            },
            2,
        ),
        (
            (SEGMENTATION, ENCAPSULATED_PDF),
            {
                f"SEG {SEGMENTATION}": EXPLICIT,
                f"SR {THREE_D}": "",
                f"PDF {ENCAPSULATED_PDF}": EXPLICIT,
                f"REJECTION {KEY_OBJECT_SELECTION}": "",
            },
            1,
        ),
        (
            (SECONDARY_CAPTURE,),
            {
                f"SEG {SEGMENTATION}": "",
                f"SR {THREE_D}": "",
                f"SC {SECONDARY_CAPTURE}": EXPLICIT,
                f"PAGES {SECONDARY_CAPTURE}": EXPLICIT,
                f"REJECTION {KEY_OBJECT_SELECTION}": "",
            },
            2,
        ),
        (
            (),
            {f"SEG {SEGMENTATION}": "", f"SR {THREE_D}": "", f"REJECTION {KEY_OBJECT_SELECTION}": ""},
            3,
        ),
    ],
    ids=["everything", "no SEG, no 3D", "no SR", "Secondary Capture only", "nothing"],
)
def test_storescp_limited_to_some_classes_is_offered_what_it_takes(
    offered: Callable[..., Offer],
    storescp_taking: Callable[..., AbstractContextManager[int]],
    taken: tuple[str, ...],
    rows: dict[str, str],
    sentences: int,
) -> None:
    """DCMTK's storescp with a profile of these classes alone."""
    with storescp_taking(*taken) as port:
        offer = offered("STORESCP", port)
    assert _rows(offer) == rows
    assert len(offer.fallbacks) == sentences


def test_storescp_that_knows_implicit_only_is_sent_that(
    offered: Callable[..., Offer], storescp: Callable[..., AbstractContextManager[int]]
) -> None:
    """The table names the transfer syntax that was agreed, and has no row for notes that are never sent."""
    with storescp("+xi") as port:
        offer = offered("STORESCP", port, objects=EVERY_WISH, rejection_notes="never")
    assert {one.transfer_syntax for one in offer.objects} == {"Implicit VR Little Endian"}
    assert [one.kind.value for one in offer.objects] == EVERY_WISH


def test_orthanc_is_sent_everything_that_it_is_to_get(offered: Callable[..., Offer], orthanc: peers.Orthanc) -> None:
    """It takes each of our classes; nothing goes in place of anything."""
    offer = offered(orthanc.ae_title, orthanc.port, objects=EVERY_WISH)
    assert {one.transfer_syntax_uid for one in offer.objects} == {EXPLICIT}
    assert [one.kind.value for one in offer.objects] == [*EVERY_WISH, "REJECTION"]
    assert offer.fallbacks == ()
