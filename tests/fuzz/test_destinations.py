"""Destinations that answer with anything: each call ends in time, with an error or with what was really answered."""

from __future__ import annotations

import gc
import random
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cxrnode.dimse.commitment import CommitmentReport
from cxrnode.dimse.connection import Waits
from cxrnode.dimse.sender import Sender
from cxrnode.domain.delivery import Delivery, Destination
from cxrnode.domain.identity import AETitle
from cxrnode.errors import CxrnodeError
from cxrnode.phantom import Radiograph, write
from tests.fuzz import elements, wire
from tests.fuzz.hostile_peer import Answer, HostilePeer, accept, answer_of, hostile_peer
from tests.fuzz.mutations import LENGTHS, mutated
from tests.fuzz.test_associations import open_handles, resident
from tests.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore")

WAITS = Waits(connect_seconds=1, negotiation_seconds=0.6, answer_seconds=0.4, idle_seconds=0.3)
LONGEST_SECONDS = 10.0
"""For one call: it may connect twice, wait for answers, and release, on a machine that is busy."""
MARGIN = 6


@dataclass(slots=True)
class Asker:
    """A sender with one object to send to a peer."""

    sender: Sender
    destination: Destination
    deliveries: list[tuple[Delivery, Path]]
    reports: list[CommitmentReport] = field(default_factory=list)

    def echo(self) -> str:
        self.sender.echo(self.destination)
        return "echoed"

    def store(self) -> str:
        results = self.sender.store(self.destination, self.deliveries)
        assert len(results) == len(self.deliveries)
        assert all(result.error is None or isinstance(result.error, CxrnodeError) for result in results)
        return "stored" if results[0].error is None else "not stored"

    def ask(self) -> str:
        asked = self.sender.ask_commitment(self.destination, "1.2.3.4", [delivery for delivery, _ in self.deliveries])
        return "asked" if asked else "not offered"

    def negotiate(self) -> str:
        return "takes it" if elements.CR in self.sender.accepted(self.destination) else "takes nothing"


@pytest.fixture
def asker(tmp_path: Path) -> Asker:
    """One that sends a film."""
    path = tmp_path / "film.dcm"
    uid = write(Radiograph(rows=32, cols=32, modality="CR"), path).dataset.SOPInstanceUID
    delivery = Delivery(row=1, destination="pacs", sop_class_uid=elements.CR, sop_instance_uid=uid, key="", attempt=1)
    reports: list[CommitmentReport] = []
    sender = Sender(
        ae_title="CXRNODE",
        report=lambda report: bool(reports.append(report)) or True,
        storage_classes=[elements.CR],
        waits=WAITS,
    )
    destination = Destination(name="pacs", ae_title=AETitle("PACS"), host="127.0.0.1", port=1)
    return Asker(sender=sender, destination=destination, deliveries=[(delivery, path)], reports=reports)


def _any_bytes(dice: random.Random) -> list[Answer | None]:
    return [dice.randbytes(dice.choice((0, 1, 6, 10, 3000))), None]


def _broken_acceptance(dice: random.Random) -> list[Answer | None]:
    seed = dice.random()
    return [lambda heard: mutated(random.Random(seed), accept(heard)), answer_of]


def _mended_acceptance(dice: random.Random) -> list[Answer | None]:
    """A mutated A-ASSOCIATE-AC whose own length is right."""
    seed = dice.random()
    return [lambda heard: wire.pdu(2, mutated(random.Random(seed), accept(heard)[6:])), answer_of]


def _any_pdu(dice: random.Random) -> list[Answer | None]:
    strange = wire.pdu(
        dice.randrange(9), dice.randbytes(dice.choice((0, 4, 68))), length=dice.choice((None, None, *LENGTHS))
    )
    return [dice.choice((strange, accept)), strange, dice.choice((strange, None, b""))]


def _broken_answer(dice: random.Random) -> list[Answer | None]:
    seed = dice.random()
    return [accept, lambda heard: mutated(random.Random(seed), answer_of(heard)) if answer_of(heard) else b""]


def _wrong_answer(dice: random.Random) -> list[Answer | None]:
    """A sound answer to another message, of another kind, with another status, or several of them."""
    message, field_ = dice.choice((None, 0, 7, 0xFFFF)), dice.choice((None, 0x8030, 0x8001, 1, 0x0100, 0x8130, 0xFFFF))
    status, times = dice.choice((0, 0xA700, 0xB000, 0xC123, 0x0122, 0xFFFF, 0xFF00)), dice.choice((1, 1, 3))
    return [accept, lambda heard: answer_of(heard, status=status, message=message, field=field_) * times]


def _silence(dice: random.Random) -> list[Answer | None]:
    return dice.choice(
        ([b""], [accept, b""], [accept, None], [None], [accept, wire.ABORT], [wire.ABORT], [accept, wire.RELEASE])
    )


def _report_between(dice: random.Random) -> list[Answer | None]:
    """A commitment report, sound or not, in place of the answer or before it."""
    information = struct.pack("<HHL", 8, 0x1195, 6) + b"1.2.3\0"
    if dice.random() < 0.7:
        information = mutated(dice, information)
    fields: dict[int, bytes | int | str] = {
        2: wire.COMMITMENT, 0x100: wire.N_EVENT_REPORT, 0x110: 5, 0x800: 1, 0x1000: "1.2.840.10008.1.20.1.1", 0x1002: 1,
    }  # fmt: skip
    body = wire.command(fields)
    body = mutated(dice, body, most=2) if dice.random() < 0.3 else body
    number = dice.choice((1, 3, 5, 7, 9))
    report = wire.p_data(wire.fragment(number, 3, body)) + wire.p_data(wire.fragment(number, 2, information))
    return [accept, lambda heard: report + answer_of(heard)]


SPEAKERS: dict[str, Callable[[random.Random], list[Answer | None]]] = {
    "any bytes": _any_bytes,
    "broken acceptances": _broken_acceptance,
    "broken items": _mended_acceptance,
    "PDUs of every type": _any_pdu,
    "broken answers": _broken_answer,
    "wrong answers": _wrong_answer,
    "silence": _silence,
    "reports": _report_between,
}


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep nothing of errors that end a thread of pynetdicom's: pytest would keep their frames, sockets and all."""
    monkeypatch.setattr(threading, "excepthook", lambda raised: None)


def ask(asker: Asker, what: str, tried: Callable[[str, str], None]) -> None:
    """Make one call; it ends in time, and in nothing but an error of ours."""
    began = time.monotonic()
    try:
        tried("destinations", getattr(asker, what)())
    except CxrnodeError as error:
        tried("destinations", type(error).__name__)
    assert time.monotonic() - began < LONGEST_SECONDS


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("speaker", SPEAKERS)
def test_a_hostile_destination_neither_ends_nor_stops_the_sender(
    speaker: str, asker: Asker, inputs: Callable[[int, int], int], tried: Callable[[str, str], None]
) -> None:
    """Echo, store, commitment and negotiation against each; afterwards no thread and no socket is left."""
    dice = random.Random(f"destinations {speaker}")
    threads, handles, held = threading.active_count(), open_handles(), resident()
    with hostile_peer() as peer:
        asker.destination = replaced(asker.destination, peer)
        for _ in range(inputs(6, 300)):
            peer.answers = SPEAKERS[speaker](dice)
            ask(asker, dice.choice(("echo", "store", "store", "ask", "negotiate")), tried)
    asker.sender.close()
    wait_for(lambda: threading.active_count() <= threads + MARGIN, 20)
    gc.collect()
    assert open_handles() <= handles + MARGIN
    assert resident() - held < 100 << 20


def replaced(destination: Destination, peer: HostilePeer) -> Destination:
    """Give the destination where the peer listens."""
    return Destination(name=destination.name, ae_title=destination.ae_title, host="127.0.0.1", port=peer.port)


def test_a_sound_destination_is_understood(asker: Asker) -> None:
    """The control: what the speakers damage is, undamaged, taken for what it says."""
    with hostile_peer() as peer:
        asker.destination = replaced(asker.destination, peer)
        peer.answers = [accept, answer_of]
        said = [asker.echo(), asker.store(), asker.ask(), asker.negotiate()]
        asker.sender.close()
    assert said == ["echoed", "stored", "asked", "takes it"]


def test_a_transfer_syntax_that_was_not_offered_is_a_refusal(asker: Asker) -> None:
    """Nothing is sent in it, and nothing fails by it."""
    with hostile_peer() as peer:
        asker.destination = replaced(asker.destination, peer)
        peer.answers = [lambda heard: accept(heard).replace(b"1.2.840.10008.1.2", b"1.2.840.10008.1.9"), answer_of]
        said = [asker.store(), asker.ask(), asker.negotiate()]
        asker.sender.close()
    assert said == ["not stored", "not offered", "takes nothing"]


@pytest.mark.parametrize("wrong", [{"message": 0x7777}, {"field": 0x8030}, {"status": 0xA700}])
def test_an_answer_to_another_message_is_no_success(asker: Asker, wrong: dict[str, int]) -> None:
    """A C-STORE is stored where its own answer says so."""
    with hostile_peer() as peer:
        asker.destination = replaced(asker.destination, peer)
        peer.answers = [accept, lambda heard: answer_of(heard, **wrong)]
        assert asker.store() == "not stored"
        asker.sender.close()


def test_an_answer_said_twice_is_no_answer_to_the_next(asker: Asker) -> None:
    """The first object is answered twice and the second not at all: it is not stored."""

    def once(heard: bytes) -> bytes:
        answer = answer_of(heard)
        first = bool(answer) and not said
        said.append(heard)
        return answer * 2 if first else b""

    said: list[bytes] = []
    with hostile_peer() as peer:
        asker.destination = replaced(asker.destination, peer)
        peer.answers = [accept, once]
        results = asker.sender.store(asker.destination, asker.deliveries * 2)
        asker.sender.close()
    assert results[0].error is None
    assert results[1].error is not None


def test_a_pdu_of_gigabytes_is_not_read_from_a_destination_either(asker: Asker) -> None:
    """It claims 4 GB and sends some of it: nothing of it is kept."""
    held, most = resident(), 0

    def flood(heard: bytes) -> bytes:
        return wire.pdu(4, bytes(100 << 20), length=0xFFFFFFF0)

    with hostile_peer() as peer:
        asker.destination = replaced(asker.destination, peer)
        for answers in ([flood], [accept, flood]):
            peer.answers = answers
            watch = threading.Thread(target=asker.store)
            watch.start()
            while watch.is_alive():
                watch.join(0.02)
                most = max(most, resident() - held)
        asker.sender.close()
    # What the peer itself holds of what it says, and not as much again.
    assert most < (100 << 20) + (60 << 20)
