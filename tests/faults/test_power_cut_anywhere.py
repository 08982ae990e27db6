"""The power fails after any system call from the node's first start to its answer: what was acknowledged is there.

`test_power_cut.py` cuts the power of a real file system at random moments; that one brings more to disk than it is
asked to. Here one run of the real program is traced, and its disk rebuilt after each of its calls as a disk may be that
does no more than it promised: with nothing of what was on its way, with part of it, and with all of it. On each the
node's start is run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cxrnode import node as composition
from cxrnode.settings import load
from tests import peers
from tests.fakes.door import data_set_of
from tests.faults.injecting import may_trace
from tests.faults.replayed import CALLS, SYNCS, Disk
from tests.faults.stub_node import MODELS, stub
from tests.faults.stubbed import Stubbed
from tests.faults.traffic import Films
from tests.tally import Tally
from tests.tracing import Call, calls_of, is_store_response

pytestmark = pytest.mark.peers

SHARES = (0.0, 0.5, 1.0)
SEED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a node did from its first start on, and the films that it was sent, in order."""

    calls: Sequence[Call]
    state: Path
    port: int
    films: Sequence[Path]


@pytest.fixture(scope="module")
def run(needs: Callable[..., None], lacking: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trace a node that starts on nothing and is sent two films, one after the other."""
    needs("strace")
    if reason := may_trace():
        lacking(reason)
    folder = tmp_path_factory.mktemp("cut")
    films, trace = Films(folder / "films").study("cut", 2), folder / "trace"
    strace = (
        peers.program("strace"),
        "-f",
        "-yy",
        "-s",
        "400000",
        "--seccomp-bpf",
        "-e",
        f"trace={CALLS}",
        "-o",
        trace,
    )
    node = Stubbed(folder / "node", before=[str(each) for each in strace], STUDIES__QUIET_SECONDS="60")
    try:
        node.start()
        for film in films:
            assert node.send([film]) == [0]
    finally:
        node.clear_away()
    return Run(calls=calls_of(trace.read_text(errors="replace")), state=node.state, port=node.port, films=films)


def lost_after(run: Run, state: Path, acknowledged: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Start a node on what a cut left; give the acknowledged films that it does not have."""
    monkeypatch.setattr(MODELS, stub)
    settings = load(node={"state_dir": state}, models={"enabled": ["lungs"]}, listener={"free_space_floor_mb": 0})
    engine = composition.Engine(settings, composition.spool_of(settings))
    try:
        engine.start()
        engine.line.adopt()
        engine.ledger.check()
        kept = {str(one.sop_instance_uid): engine.archive.path(one.key) for one in engine.ledger.outcomes()}
    finally:
        engine.stop()
    films = run.films[:acknowledged]
    return [film.stem for film in films if not _is_kept(kept.get(film.stem), film)]


def _is_kept(path: Path | None, film: Path) -> bool:
    return path is not None and path.is_file() and path.read_bytes().endswith(data_set_of(film))


def test_power_cut_after_any_system_call_loses_nothing_that_was_acknowledged(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool, tally: Tally
) -> None:
    """Every call in the long form, every fifteenth otherwise; the last is after both films were acknowledged."""
    began, cuts, lost, acknowledged, chance = time.monotonic(), 0, list[str](), 0, random.Random(SEED)
    disk, changes = Disk(run.state), 0
    for call in sorted(run.calls, key=lambda call: call.ended):
        answered = is_store_response(call, run.port)
        acknowledged += answered
        changes += (changed := disk.apply(call))
        if not answered and not (changed and (long or changes % 15 == 0)):
            continue
        for share in SHARES:
            state = tmp_path / f"{cuts}"
            state.mkdir(mode=0o700)
            disk.after_a_cut(state, chance, share)
            lost += lost_after(run, state, acknowledged, monkeypatch)
            cuts += 1
    tally.add(
        "power cut after any call",
        injected=cuts,
        fired=cuts,
        instances=acknowledged,
        lost=len(lost),
        seconds=time.monotonic() - began,
    )
    assert acknowledged == len(run.films)
    assert not lost


@pytest.mark.parametrize("left_out", ["spool/incoming/", "spool/sources/", ""], ids=["bytes", "names", "everything"])
def test_run_that_does_not_bring_to_disk_what_it_keeps_is_found_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    """Negative control: the same run without the fsync of its files, or of their folders, or any, loses both films."""
    disk, state = Disk(run.state), tmp_path / "state"
    state.mkdir(mode=0o700)
    for call in sorted(run.calls, key=lambda call: call.ended):
        if not (call.name in SYNCS and call.paths[0].startswith(f"{run.state}/{left_out}")):
            disk.apply(call)
    disk.after_a_cut(state, None, 0.0)
    assert len(lost_after(run, state, len(run.films), monkeypatch)) == len(run.films)
