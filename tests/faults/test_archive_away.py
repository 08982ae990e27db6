"""The archive misbehaves: away for a day, killed, stopped, slow, refusing, aborting, losing, never committing.

Real Orthanc and DCMTK's storescp with the options it has for this; what those cannot do is the PACS in process. Waiting
is compressed by the settings: what is a quarter of an hour between two tries is a moment here. After each: nothing
lost, nothing doubled, the queue empty, and an operator could see what happened.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cxrnode.domain.delivery import Destination
from cxrnode.testing import Pacs, start_pacs
from tests import peers
from tests.end_to_end.processes import AE_TITLE, Serve
from tests.faults.mortal import Mortal
from tests.faults.reckoning import drained, in_folder, in_orthanc, reckon
from tests.faults.stubbed import PATIENT, destination, stub_serving, to
from tests.faults.traffic import Films, pushing
from tests.tally import Tally

pytestmark = pytest.mark.peers

A_DAY = 96
"""How often a delivery is tried in a day, with the longest pause of the default settings."""

QUICK = {
    "LINE__DELIVERIES__FIRST_SECONDS": "0.05",
    "LINE__DELIVERIES__LONGEST_SECONDS": "0.2",
    "LINE__COMMITMENT_WAIT_SECONDS": "1",
}


def most_tries(node: Serve) -> int:
    """Give how often the delivery that was tried most was."""
    return max((event.get("attempt", 0) for event in node.events("delivery_retried")), default=0)


def test_archive_away_for_a_day_gets_everything_when_it_is_back(
    needs: Callable[..., None], tmp_path: Path, long: bool, tally: Tally
) -> None:
    """Nothing is parked for its number of tries within a day; the operator sees what waits; then it all goes out."""
    needs("Orthanc")
    tries, began, archive = A_DAY if long else 8, time.monotonic(), Mortal(tmp_path / "orthanc")
    try:
        with stub_serving(tmp_path / "node", to(archive.running), **QUICK) as node:
            archive.node = node
            archive.kill()
            films = [film for number in range(3) for film in Films(tmp_path / "films").study(f"away {number}", 2)]
            assert node.send(films) == [0] * len(films)
            node.wait(lambda: most_tries(node) >= tries)
            said = node.cli("status").stdout
            assert "to pacs:" in said
            assert "COMMITTED" not in said
            assert not node.events("delivery_parked")
            archive.start()
            node.wait(lambda: drained(node))
            result = reckon(node, {film.stem: film for film in films}, in_orthanc(archive.running))
    finally:
        archive.end()
    result.settle(tally, "archive away", injected=1, fired=most_tries(node), seconds=time.monotonic() - began)


@pytest.mark.long
def test_archive_killed_and_stopped_under_load(needs: Callable[..., None], tmp_path: Path, tally: Tally) -> None:
    """kill -9 of Orthanc, and SIGSTOP, which leaves its port open and mute, while evidence is on its way."""
    needs("Orthanc")
    rounds, began, archive = 10, time.monotonic(), Mortal(tmp_path / "orthanc")
    try:
        with (
            stub_serving(tmp_path / "node", to(archive.running), **(PATIENT | QUICK)) as node,
            pushing(node, Films(tmp_path / "films"), pause_seconds=0.5) as traffic,
        ):
            archive.node = node
            archive.running.knows(AE_TITLE, node.port)
            for number in range(rounds):
                sent = len(node.events("delivery_sent"))
                node.wait(lambda sent=sent: len(node.events("delivery_sent")) > sent)  # type: ignore[misc]
                if number % 2:
                    archive.signal(signal.SIGSTOP)
                    traffic.pause(1.5)
                    archive.signal(signal.SIGCONT)
                else:
                    archive.kill()
                    traffic.pause(0.5)
                    archive.start()
            traffic.finish()
            node.wait(lambda: drained(node))
            result = reckon(node, traffic.acknowledged, in_orthanc(archive.running))
    finally:
        archive.end()
    fired = len(node.events("delivery_retried")) + rounds // 2
    result.settle(tally, "archive killed or stopped", injected=rounds, fired=fired, seconds=time.monotonic() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaving:
    """What storescp is told to do, and what the node says of it."""

    flags: tuple[str, ...]
    event: str
    parks: bool = False
    says: str = ""


STORESCP = {
    "aborts during": Misbehaving(flags=("--abort-during",), event="delivery_retried", says="AssociationLost"),
    "aborts after": Misbehaving(flags=("--abort-after",), event="delivery_retried", says="AssociationLost"),
    "sleeps during": Misbehaving(flags=("--sleep-during", "1"), event="delivery_sent"),
    "sleeps after": Misbehaving(flags=("--sleep-after", "1"), event="delivery_sent"),
    "refuses": Misbehaving(flags=("--refuse",), event="delivery_"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (number > 0)) for number, name in enumerate(STORESCP)]
)
def test_storescp_that_misbehaves_gets_everything_once(
    needs: Callable[..., None], tmp_path: Path, long: bool, tally: Tally, name: str
) -> None:
    """For a while it does what it is told to; then another one on its port, with its folder, behaves."""
    needs("storescp")
    wrong, began, times = STORESCP[name], time.monotonic(), 20 if long else 3
    port, folder = peers.free_port(), tmp_path / "scp"
    films = [film for number in range(3) for film in Films(tmp_path / "films").study(f"scp {number}", 2)]
    with stub_serving(tmp_path / "node", destination("pacs", "STORESCP", port, "if_offered"), **QUICK) as node:

        def told() -> int:
            return sum(len(node.events(event)) for event in EVENTS if event.startswith(wrong.event))

        with peers.start_storescp(folder, *wrong.flags, port=port):
            assert node.send(films) == [0] * len(films)
            node.wait(lambda: told() >= min(times, 9))
            assert wrong.says in node.text()
            fired = told()
        with peers.start_storescp(folder, port=port):
            retry_parked(node)
            node.wait(lambda: drained(node))
        result = reckon(node, {film.stem: film for film in films}, in_folder(folder))
    result.settle(tally, f"storescp {name}", injected=1, fired=fired, seconds=time.monotonic() - began)


EVENTS = ("delivery_retried", "delivery_parked", "delivery_sent")


def retry_parked(node: Serve) -> None:
    """Do what the operator does once the cause is mended."""
    parked = [
        job.job.job for job in node.jobs() if any(str(d.state) == "PARKED" for e in job.evidence for d in e.deliveries)
    ]
    for number in parked:
        assert node.cli("jobs", "retry", str(number)).returncode == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How the PACS in process misbehaves, and when that was seen to happen."""

    begin: Callable[[Pacs], None]
    seen: Callable[[Pacs, Serve], int]


def _sent_again(pacs: Pacs, node: Serve) -> int:
    return sum(count - 1 for count in pacs.received.values())


def _asked_again(pacs: Pacs, node: Serve) -> int:
    uids = [uid for asked in pacs.asked for uid in asked.uids]
    return len(uids) - len(set(uids))


def _reported_again(pacs: Pacs, node: Serve) -> int:
    return len(pacs.report_answers) - len(pacs.asked)


def _retried(pacs: Pacs, node: Serve) -> int:
    return len(node.events("delivery_retried"))


def required(pacs: Pacs) -> Destination:
    """Give it as a destination that has to commit."""
    return pacs.destination(commitment="required")


PACS = {
    "accepts and loses": Conduct(begin=lambda pacs: pacs.behave(forget=True), seen=_sent_again),
    "never commits": Conduct(begin=lambda pacs: pacs.behave_on_commitment(hold=True), seen=_asked_again),
    "refuses to commit": Conduct(begin=lambda pacs: pacs.behave_on_commitment(refuse=0x0110), seen=_asked_again),
    "refuses objects": Conduct(begin=lambda pacs: pacs.behave(refuse=0xA700), seen=_retried),
    "aborts before the data set": Conduct(begin=lambda pacs: pacs.behave(abort="during"), seen=_retried),
    "aborts before its answer": Conduct(begin=lambda pacs: pacs.behave(abort="after"), seen=_sent_again),
    "reports twice": Conduct(begin=lambda pacs: pacs.behave_on_commitment(reports=2), seen=_reported_again),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (number > 0)) for number, name in enumerate(PACS)]
)
def test_pacs_that_misbehaves_gets_everything_once(tmp_path: Path, long: bool, tally: Tally, name: str) -> None:
    """It misbehaves until that was seen so many times, then behaves: all is there, once, and committed."""
    # How many requests to commit there are to report on, that is the node's: one may be about all of it.
    conduct, began, times = PACS[name], time.monotonic(), 1 if name == "reports twice" else 10 if long else 3
    films = [film for number in range(3) for film in Films(tmp_path / "films").study(f"pacs {number}", 2)]
    with (
        start_pacs() as pacs,
        stub_serving(tmp_path / "node", pacs.destination(commitment="required"), **QUICK) as node,
    ):
        pacs.knows(node.port, AE_TITLE)
        conduct.begin(pacs)
        assert node.send(films) == [0] * len(films)
        node.wait(lambda: conduct.seen(pacs, node) >= times or node.events("delivery_parked"))
        fired = conduct.seen(pacs, node)
        pacs.behave()
        pacs.behave_on_commitment()
        retry_parked(node)
        node.wait(lambda: drained(node))
        result = reckon(node, {film.stem: film for film in films}, (path.read_bytes() for path in pacs.kept.values()))
        states = [str(d.state) for job in node.jobs() for one in job.evidence for d in one.deliveries]
        assert set(states) == {"COMMITTED"}
    result.settle(tally, f"PACS {name}", injected=1, fired=fired, seconds=time.monotonic() - began)
