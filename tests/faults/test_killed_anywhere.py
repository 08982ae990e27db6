"""The line, killed before and after every port call: after a restart all evidence arrives, once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cxrnode.archive import SpoolArchive
from cxrnode.domain.delivery import CommitmentPolicy, DeliveryState, Destination
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.job import JobState, RetryPolicy
from cxrnode.domain.routing import Rule
from cxrnode.domain.study import Arrival, Sender
from cxrnode.ledger import SqliteLedger
from cxrnode.phantom import Defect, Radiograph, View, write
from cxrnode.pipeline import Line, Plan
from cxrnode.pixels.header import HeaderReader
from tests.fakes.clock import FakeClock
from tests.fakes.composer import FakeComposer
from tests.fakes.killer import Killed, Killer
from tests.fakes.peer import FakePeer
from tests.fakes.predictor import FakePredictor

PACS = Destination(name="pacs", ae_title=AETitle("PACS"), host="127.0.0.1", port=104)
VNA = replace(PACS, name="vna", ae_title=AETitle("VNA"), commitment=CommitmentPolicy.NONE)
PLAN = Plan(
    rules=(Rule(destinations=("pacs", "vna")),),
    models=("lungs",),
    destinations=(PACS, VNA),
    quiet_seconds=5,
    batch=4,
    job_policy=RetryPolicy(attempts=50),
    delivery_policy=RetryPolicy(attempts=50),
    job_lease_seconds=60,
    delivery_lease_seconds=60,
    commitment_wait_seconds=60,
)
FILM = Radiograph(rows=320, cols=320)
FILMS = {
    "first study, PA": replace(FILM, seed=1, study="first"),
    "second study, PA": replace(FILM, seed=2),
    "a hand": replace(FILM, seed=3, defect=Defect.HAND),
    "first study, late lateral": replace(FILM, seed=1, study="first", view=View.LATERAL),
}


@dataclass
class World:
    """What survives a kill: the disk, the archives, the modality's list of what is not acknowledged, the time."""

    folder: Path
    films: dict[str, Path]
    clock: FakeClock = field(default_factory=FakeClock)
    peer: FakePeer = field(default_factory=FakePeer)
    acknowledged: set[str] = field(default_factory=set)
    births: int = 0

    def sends(self, line: Line, name: str) -> None:
        """Push a film as a modality does: again and again until it is acknowledged."""
        if name in self.acknowledged:
            return
        incoming = self.folder / "spool" / "incoming" / f"{self.births}-{name}.part"
        shutil.copy(self.films[name], incoming)
        header = HeaderReader().describe(arrival_of(incoming))
        arrival = replace(
            arrival_of(incoming), sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid
        )
        if line.receive(arrival) == 0:
            self.acknowledged.add(name)
        line.association_ended("a")


def arrival_of(path: Path) -> Arrival:
    """What a door says of a film that came in."""
    sender = Sender(calling_ae=AETitle("CR1"), called_ae=AETitle("CXRNODE"), address="127.0.0.1", association="a")
    return Arrival(path=path, sop_class_uid="", sop_instance_uid=InstanceUID(""), transfer_syntax_uid="", sender=sender)


def mortal_line(killer: Killer, archive: SpoolArchive, ledger: SqliteLedger, peer: FakePeer, clock: FakeClock) -> Line:
    """A line whose every port call can be its last."""
    return Line(
        plan=PLAN,
        archive=killer.guard(archive, "archive"),
        ledger=killer.guard(ledger, "ledger"),
        reader=HeaderReader(),
        predictor=killer.guard(FakePredictor(), "predictor"),
        composer=killer.guard(FakeComposer(), "composer"),
        peer=killer.guard(peer, "peer"),
        clock=clock,
        chance=lambda: 0.5,
    )


def live(world: World, killer: Killer) -> None:
    """One life of the node: start, take what is sent, work until nothing is left. Killed where the killer says."""
    world.births += 1
    archive = SpoolArchive(world.folder / "spool", floor_bytes=0)
    with SqliteLedger.open(
        world.folder / "ledger.sqlite", incarnation=f"life {world.births}", exclusive=True
    ) as ledger:
        line = mortal_line(killer, archive, ledger, world.peer, world.clock)
        line.start()
        while line.adopt():
            pass
        for name in list(FILMS)[:3]:
            world.sends(line, name)
        _work(world, line)
        world.sends(line, list(FILMS)[3])
        _work(world, line)


def _work(world: World, line: Line) -> None:
    """Ring every bell for as long as anything can still become due: the longest wait here is a lease of 60 s."""
    for _ in range(12):
        world.clock.move(11)
        done = line.close_due() + line.run_jobs()
        for destination in (PACS, VNA):
            done += line.deliver(destination) + line.ask_commitments(destination)
        while world.peer.reports:
            line.confirm(*world.peer.reports[0])
            world.peer.reports.pop(0)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The films as files; the lateral belongs to the first film's study."""
    folder = tmp_path_factory.mktemp("films")
    paths = {name: folder / f"{number}.dcm" for number, name in enumerate(FILMS)}
    for name, path in paths.items():
        write(FILMS[name], path)
    return paths


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated empty ledger, so that each of many lives need not migrate its own."""
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite"
    SqliteLedger.open(path, incarnation="template", exclusive=True).shut()
    return path


@pytest.fixture
def make_world(films: dict[str, Path], template: Path, tmp_path: Path) -> Callable[[str], World]:
    """Give new worlds, each in a folder of its own."""

    def make(name: str) -> World:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(template, folder / "ledger.sqlite")
        return World(folder=folder, films=films)

    return make


def _everything(world: World) -> dict[str, dict[str, bytes]]:
    return {name: dict(sorted(held.items())) for name, held in world.peer.kept.items()}


def _assert_all_done(world: World, expected: dict[str, dict[str, bytes]]) -> None:
    assert world.acknowledged == set(FILMS)
    assert _everything(world) == expected
    assert world.peer.overwritten == []
    with SqliteLedger.open(world.folder / "ledger.sqlite", incarnation="look", exclusive=False) as ledger:
        assert {job.state for job in ledger.find_jobs()} <= {JobState.COMPLETED, JobState.CANCELED}
        states = ledger.counts().deliveries_by_state
        assert set(states["pacs"]) == {DeliveryState.COMMITTED}
        assert set(states["vna"]) == {DeliveryState.SENT}
        assert {outcome.code for outcome in ledger.outcomes()} == {"", "not_chest", "lateral"}
        assert len(list(ledger.outcomes())) == len(FILMS)


def test_an_undisturbed_line_delivers_all_evidence_once(make_world: Callable[[str], World]) -> None:
    """Two SEGs and two SRs, and one more SR that follows the first when the lateral comes late."""
    world = make_world("undisturbed")
    live(world, Killer())
    _assert_all_done(world, _everything(world))
    assert [len(held) for held in world.peer.kept.values()] == [5, 5]
    assert set(world.peer.sent.values()) == {1}


def _count_calls(make_world: Callable[[str], World]) -> tuple[int, dict[str, dict[str, bytes]]]:
    world, killer = make_world("counting"), Killer()
    live(world, killer)
    assert {name.split(".")[0] for name in killer.names} == {"archive", "ledger", "predictor", "composer", "peer"}
    return killer.calls, _everything(world)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_port_call_all_evidence_arrives_once(make_world: Callable[[str], World], *, after: bool) -> None:
    """A life is killed at one port call; after the next, all that was acknowledged is committed under the same UIDs."""
    calls, expected = _count_calls(make_world)
    assert calls > 100
    for at in range(1, calls + 1):
        world = make_world(f"killed-{at}")
        with pytest.raises(Killed):
            live(world, Killer(at=at, after=after))
        live(world, Killer())
        _assert_all_done(world, expected)
        shutil.rmtree(world.folder)


def test_killed_again_and_again_all_evidence_arrives_once(make_world: Callable[[str], World]) -> None:
    """A node that dies early in every life still gets there, because each life keeps what the one before it did."""
    _, expected = _count_calls(make_world)
    world = make_world("again")
    lives = 0
    while True:
        lives += 1
        assert lives < 200
        try:
            live(world, Killer(at=7 + 3 * lives))
            break
        except Killed:
            continue
    assert lives > 5
    _assert_all_done(world, expected)
