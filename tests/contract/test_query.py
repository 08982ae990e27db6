"""Asking an archive what it holds, and every way in which it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_FIND, N_EVENT_REPORT

from cxrnode.dimse.connection import Address, Waits, connect, end
from cxrnode.dimse.contexts import STUDY_ROOT_FIND, VERIFICATION, asking
from cxrnode.dimse.query import Finder, FoundSeries, NotOffered
from cxrnode.errors import AssociationLost, Retryable
from cxrnode.testing import start_pacs
from tests.waiting import wait_for

WAITS = Waits(connect_seconds=5, negotiation_seconds=5, answer_seconds=2)
Answers = Callable[[evt.Event], Iterator[tuple[int, Dataset | None]]]


def match(**values: str) -> Dataset:
    """Give one match."""
    found = Dataset()
    for name, value in values.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def archive() -> Iterator[Callable[[Answers], Address]]:
    """Start an archive that answers C-FIND as it is told; give its address."""
    servers = []

    def start(answers: Answers) -> Address:
        entity = AE("PACS")
        entity.add_supported_context(STUDY_ROOT_FIND)
        entity.add_supported_context(VERIFICATION)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answers)])
        servers.append(server)
        return Address(host="127.0.0.1", port=server.server_address[1], called="PACS", calling="CXRNODE")

    yield start
    for server in servers:
        server.shutdown()


def test_series_and_instances_are_asked_for_by_every_key_above_them(archive: Callable[[Answers], Address]) -> None:
    """And nothing about a patient is asked for."""
    asked: list[Dataset] = []

    def answer(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked.append(event.identifier)
        if event.identifier.QueryRetrieveLevel == "SERIES":
            yield 0xFF00, match(SeriesInstanceUID="1.2.3.4", SeriesDescription="cxrnode lungs")
            yield 0xFF01, match(SeriesInstanceUID="1.2.3.5")
        else:
            yield 0xFF00, match(SOPInstanceUID="1.2.3.4.5")

    with Finder(archive(answer), WAITS) as finder:
        assert finder.series("1.2.3") == [
            FoundSeries(series_uid="1.2.3.4", description="cxrnode lungs"),
            FoundSeries(series_uid="1.2.3.5", description=""),
        ]
        assert finder.instances("1.2.3", "1.2.3.4") == ["1.2.3.4.5"]
    keys = [{element.keyword for element in one} for one in asked]
    assert keys == [
        {"QueryRetrieveLevel", "StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription"},
        {"QueryRetrieveLevel", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"},
    ]
    assert asked[1].SeriesInstanceUID == "1.2.3.4"


def test_nothing_found_is_an_answer(archive: Callable[[Answers], Address]) -> None:
    """Not an error: the archive holds nothing of the study."""
    with Finder(archive(lambda event: iter([(0x0000, None)])), WAITS) as finder:
        assert finder.series("1.2.3") == []


@pytest.mark.parametrize("code", [0xA700, 0xA900, 0xC001, 0xFE00])
def test_a_failure_is_no_empty_answer(archive: Callable[[Answers], Address], code: int) -> None:
    """Otherwise everything would seem to be lost there."""
    with (
        Finder(archive(lambda event: iter([(code, None)])), WAITS) as finder,
        pytest.raises(Retryable, match=hex(code)[2:].upper()),
    ):
        finder.series("1.2.3")


def test_an_archive_that_aborts_is_no_empty_answer(archive: Callable[[Answers], Address]) -> None:
    """Also amid its matches."""

    def answer(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        yield 0xFF00, match(SeriesInstanceUID="1.2.3.4")
        event.assoc.abort()

    with Finder(archive(answer), WAITS) as finder, pytest.raises(AssociationLost):
        finder.series("1.2.3")


def test_an_association_that_was_lost_between_questions_is_made_again(archive: Callable[[Answers], Address]) -> None:
    """An archive that restarts, or ends what is idle, is asked on a new one."""
    associations = []

    def answer(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        associations.append(event.assoc)
        yield 0xFF00, match(SeriesInstanceUID="1.2.3.4")

    with Finder(archive(answer), WAITS) as finder:
        finder.series("1.2.3")
        associations[0].abort()
        assert len(finder.series("1.2.3")) == 1
    assert len(set(associations)) == 2


def test_an_archive_that_offers_no_c_find_is_told_from_one_that_fails() -> None:
    """It takes the association for the sake of C-ECHO, and not the class."""
    with start_pacs() as pacs:
        address = Address(host="127.0.0.1", port=pacs.port, called=pacs.ae_title, calling="CXRNODE")
        with Finder(address, WAITS) as finder, pytest.raises(NotOffered):
            finder.series("1.2.3")


def test_nobody_there_is_said(archive: Callable[[Answers], Address]) -> None:
    """A destination that is down is no archive without our objects."""
    with start_pacs() as pacs:
        address = Address(host="127.0.0.1", port=pacs.port, called=pacs.ae_title, calling="CXRNODE")
    with Finder(address, WAITS) as finder, pytest.raises(AssociationLost):
        finder.series("1.2.3")


def test_an_answer_is_never_taken_by_whoever_looks_for_requests(archive: Callable[[Answers], Address]) -> None:
    """pynetdicom's reactor looks once more when a question is already on its way: what it took would be lost."""
    association = connect(archive(lambda event: iter([(0x0000, None)])), asking(), WAITS)
    try:
        association._reactor_checkpoint.clear()
        wait_for(lambda: association._is_paused, 5)
        answer, request = C_FIND(), N_EVENT_REPORT()
        answer.MessageIDBeingRespondedTo, answer.Status = 1, 0xFF00
        request.MessageID, request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = 1, "1.2.3", "1.2.4"
        request.EventTypeID = 1
        association.dimse.msg_queue.put((1, answer))
        assert association.dimse.get_msg(block=False) == (None, None)
        assert association.dimse.msg_queue.get_nowait() == (1, answer)
        association.dimse.msg_queue.put((3, request))
        assert association.dimse.get_msg(block=False) == (3, request)
    finally:
        association._reactor_checkpoint.set()
        end(association)
