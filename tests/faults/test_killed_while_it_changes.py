"""Killed at every port call while a destination declines what was made for it, and while results are taken back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cxrnode.archive import SpoolArchive
from cxrnode.domain.capability import CLASSES, NAMES, Kind
from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.ledger import SqliteLedger
from cxrnode.phantom import Radiograph, write
from cxrnode.pipeline import Line
from tests.fakes.clock import FakeClock
from tests.fakes.killer import Killed, Killer
from tests.fakes.peer import FakePeer
from tests.faults.test_killed_anywhere import PACS, VNA, arrival_of, mortal_line

NO_SEG = frozenset(NAMES) - {CLASSES[Kind.SEG]}


@dataclass
class World:
    """What survives a kill. The archive called vna takes no SEG, which nobody has asked it yet."""

    folder: Path
    film: Path
    clock: FakeClock = field(default_factory=FakeClock)
    peer: FakePeer = field(default_factory=FakePeer)
    births: int = 0
    acknowledged: bool = False

    def __post_init__(self) -> None:
        """Limit the archive."""
        self.peer.takes["vna"] = NO_SEG


def live(world: World, killer: Killer) -> None:
    """One life: take the film, work until nothing is left, take the results back, work until nothing is left."""
    world.births += 1
    archive = SpoolArchive(world.folder / "spool", floor_bytes=0)
    path = world.folder / "ledger.sqlite"
    with SqliteLedger.open(path, incarnation=f"life {world.births}", exclusive=True) as ledger:
        line = mortal_line(killer, archive, ledger, world.peer, world.clock)
        line.start()
        while line.adopt():
            pass
        if not world.acknowledged:
            incoming = world.folder / "spool" / "incoming" / f"{world.births}.part"
            shutil.copy(world.film, incoming)
            world.acknowledged = line.receive(arrival_of(incoming)) == 0
            line.association_ended("a")
        _work(world, line)
        if len(ledger.find_jobs()) == 1:
            killer.guard(ledger, "operator").schedule_retraction(1, "wrong_result", world.clock.now())
        _work(world, line)


def _work(world: World, line: Line) -> None:
    for _ in range(14):
        world.clock.move(11)
        line.close_due()
        line.run_jobs()
        for destination in (PACS, VNA):
            line.deliver(destination)
            line.ask_commitments(destination)
        while world.peer.reports:
            line.confirm(*world.peer.reports[0])
            world.peer.reports.pop(0)


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[[str], World]:
    """Give new worlds, each in a folder of its own."""
    film, template = tmp_path / "film.dcm", tmp_path / "template.sqlite"
    write(Radiograph(rows=320, cols=320), film)
    SqliteLedger.open(template, incarnation="template", exclusive=True).shut()

    def make(name: str) -> World:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(template, folder / "ledger.sqlite")
        return World(folder=folder, film=film)

    return make


def _held(world: World) -> dict[str, dict[str, bytes]]:
    return {name: dict(sorted(held.items())) for name, held in world.peer.kept.items()}


def _kinds(world: World, name: str) -> list[str]:
    return sorted(json.loads(content)["kind"] for content in world.peer.kept[name].values())


def _assert_all_done(world: World, expected: dict[str, dict[str, bytes]]) -> None:
    assert _held(world) == expected
    assert world.peer.overwritten == []
    with SqliteLedger.open(world.folder / "ledger.sqlite", incarnation="look", exclusive=False) as ledger:
        assert [job.state for job in ledger.find_jobs()] == [JobState.COMPLETED] * 2
        states = ledger.counts().deliveries_by_state
        assert set(states["pacs"]) == {DeliveryState.COMMITTED}
        assert set(states["vna"]) == {DeliveryState.SENT, DeliveryState.WITHDRAWN}


def test_an_undisturbed_line_sends_what_is_taken_and_takes_it_back(make_world: Callable[[str], World]) -> None:
    """The archive without SEG gets the drawing as a presentation state; each then a report and a note."""
    world = make_world("undisturbed")
    live(world, Killer())
    _assert_all_done(world, _held(world))
    assert _kinds(world, "pacs") == ["REJECTION", "SEG", "SR", "SR"]
    assert _kinds(world, "vna") == ["GSPS", "REJECTION", "SR", "SR"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_port_call_it_ends_the_same(make_world: Callable[[str], World], *, after: bool) -> None:
    """No object that an archive declined ever reaches it, nothing is taken back twice, and nothing stays unsaid."""
    world, killer = make_world("counting"), Killer()
    live(world, killer)
    assert {"ledger.decline", "ledger.record_accepted", "operator.schedule_retraction"} <= set(killer.names)
    expected = _held(world)
    for at in range(2 if after else 1, killer.calls + 1, 2):  # after one call is before the next
        world = make_world(f"killed-{at}")
        with pytest.raises(Killed):
            live(world, Killer(at=at, after=after))
        live(world, Killer())
        _assert_all_done(world, expected)
        shutil.rmtree(world.folder)
