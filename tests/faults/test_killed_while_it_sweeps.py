"""Retention, killed before and after its port calls while it asks, marks and removes, and while an image comes again.

Whatever was acknowledged has its bytes unless it is marked as swept; the next life finishes what the last one began.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cxrnode.archive import SpoolArchive
from cxrnode.domain.retention import Rules
from cxrnode.ledger import SqliteLedger
from cxrnode.phantom import write
from cxrnode.pipeline import Line
from cxrnode.pipeline.retaining import Retaining
from tests.fakes.clock import FakeClock
from tests.fakes.killer import Killed, Killer
from tests.fakes.peer import FakePeer
from tests.faults.test_killed_anywhere import FILMS, PACS, VNA, arrival_of, mortal_line
from tests.tally import Tally

DAY = 86400.0
RULES = Rules(source_days=10, not_analysed_days=10, evidence_days=10, held_by=("pacs",))
TAKEN = [*list(FILMS)[:3], next(iter(FILMS))]
"""Three films, and the first once more when it was swept."""
OF_RETENTION = ("inventory.mark", "inventory.remove", "inventory.begin", "spool.remove", "keeper.", "ledger.restore")
"""In the short form a life is killed where each of these is called first and last, in the long one at every call."""


@dataclass
class World:
    """What survives a kill: the disk, the archives, how many films the modality knows to be taken, the time."""

    folder: Path
    films: dict[str, Path]
    clock: FakeClock = field(default_factory=FakeClock)
    peer: FakePeer = field(default_factory=FakePeer)
    taken: int = 0
    births: int = 0

    def files(self) -> int:
        """Count the sources in the spool."""
        return len(list((self.folder / "spool" / "sources").rglob("*.dcm")))


def live(world: World, killer: Killer) -> None:
    """One life: three films, analysed, held elsewhere, swept; the first comes again, and goes again."""
    world.births += 1
    archive, path = SpoolArchive(world.folder / "spool", floor_bytes=0), world.folder / "ledger.sqlite"
    with SqliteLedger.open(path, incarnation=f"life {world.births}", exclusive=True) as ledger:
        line = mortal_line(killer, archive, ledger, world.peer, world.clock)
        retaining = _mortal(killer, archive, ledger, world)
        line.start()
        while world.taken < len(TAKEN):
            _send(world, line, TAKEN[world.taken])
            world.taken += 1
            if world.taken >= 3:
                _work(world, line, retaining)
        _work(world, line, retaining)


def _mortal(killer: Killer, archive: SpoolArchive, ledger: SqliteLedger, world: World) -> Retaining:
    spool: Any = killer.guard(archive, "spool")
    spool.alone = archive.alone  # the lock of a dead process is gone by itself
    return Retaining(
        rules=RULES,
        destinations=(PACS, VNA),
        spool=spool,
        inventory=killer.guard(ledger.inventory, "inventory"),
        keeper=killer.guard(world.peer, "keeper"),
        clock=world.clock,
        chance=lambda: 0.5,
    )


def _send(world: World, line: Line, name: str) -> None:
    incoming = world.folder / "spool" / "incoming" / f"{world.births}-{world.taken}.part"
    shutil.copy(world.films[name], incoming)
    assert line.receive(arrival_of(incoming)) == 0
    line.association_ended("a")


def _work(world: World, line: Line, retaining: Retaining) -> None:
    """Do all that is due, let days pass, and look twice: what is promised at the first look goes with the second."""
    _ring(world, line)
    world.clock.move(11 * DAY)
    for _ in range(2):
        retaining.look()
        _ring(world, line)


def _ring(world: World, line: Line) -> None:
    for _ in range(3):
        world.clock.move(31)
        line.adopt()
        line.close_due()
        line.run_jobs()
        for destination in (PACS, VNA):
            line.deliver(destination)
            line.ask_commitments(destination)
        while world.peer.reports:
            line.confirm(*world.peer.reports[0])
            world.peer.reports.pop(0)


@pytest.fixture(scope="module")
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], World]:
    """Give new worlds, whose archive has the modality's films already."""
    folder = tmp_path_factory.mktemp("worlds")
    films = {name: folder / f"{number}.dcm" for number, name in enumerate(FILMS)}
    uids = {write(FILMS[name], path).dataset.SOPInstanceUID for name, path in films.items()}
    template = folder / "template.sqlite"
    SqliteLedger.open(template, incarnation="template", exclusive=True).shut()
    made = iter(range(10_000))

    def make() -> World:
        world = World(folder=folder / f"world-{next(made)}", films=films)
        world.folder.mkdir()
        shutil.copy(template, world.folder / "ledger.sqlite")
        world.peer.kept["pacs"] = {str(uid): b"" for uid in uids}
        return world

    return make


def _assert_nothing_promised_is_gone(world: World) -> None:
    """After a kill, at any moment: a row that is not marked has its bytes."""
    archive = SpoolArchive(world.folder / "spool", floor_bytes=0)
    with SqliteLedger.open(world.folder / "ledger.sqlite", incarnation="look", exclusive=True) as ledger:
        inventory = ledger.inventory
        gone = [one.key for one in [*inventory.instances(), *inventory.evidence()] if not one.swept]
        assert [key for key in gone if not archive.path(key).is_file()] == []


def _assert_all_swept(world: World, evidence: set[str]) -> None:
    with SqliteLedger.open(world.folder / "ledger.sqlite", incarnation="look", exclusive=True) as ledger:
        assert [one.swept for one in ledger.inventory.instances()] == [True] * 3
        assert {one.sop_instance_uid for one in ledger.inventory.evidence()} == evidence
    assert world.files() == 0
    assert world.peer.overwritten == []


def _first_and_last(names: Sequence[str]) -> list[int]:
    calls = [(name, at) for at, name in enumerate(names, 1) if name.startswith(OF_RETENTION)]
    return sorted({*dict(calls).values(), *dict(reversed(calls)).values()})


def test_killed_at_any_call_of_a_sweep_nothing_that_was_promised_is_gone(
    make_world: Callable[[], World], tally: Tally, *, long: bool
) -> None:
    """And the life after it ends where an undisturbed one ends: everything swept, the same evidence, nothing left."""
    began, undisturbed, killer = time.monotonic(), make_world(), Killer()
    live(undisturbed, killer)
    with SqliteLedger.open(undisturbed.folder / "ledger.sqlite", incarnation="look", exclusive=True) as ledger:
        evidence = {one.sop_instance_uid for one in ledger.inventory.evidence()}
    _assert_all_swept(undisturbed, evidence)
    assert {
        "inventory.mark_swept",
        "inventory.remove_marked",
        "spool.sync",
        "keeper.ask_commitment",
        "ledger.restore",
    } <= {*killer.names}
    fired = 0
    for at in range(1, killer.calls + 1) if long else _first_and_last(killer.names):
        for after in (False, True):
            world, mortal = make_world(), Killer(at=at, after=after)
            with pytest.raises(Killed):
                live(world, mortal)
            fired += mortal.fired
            _assert_nothing_promised_is_gone(world)
            live(world, Killer())
            _assert_all_swept(world, evidence)
            shutil.rmtree(world.folder)
    tally.add("killed in a sweep", injected=fired, fired=fired, instances=3 * fired, seconds=time.monotonic() - began)
