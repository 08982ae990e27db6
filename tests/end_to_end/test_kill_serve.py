"""The real processes killed under load: whatever was acknowledged comes back to the PACS, once (law 1 to law 5)."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from cxrnode.domain.capability import CLASSES, REPORT_CLASSES, Kind, ReportClass
from cxrnode.domain.delivery import CommitmentPolicy, Destination
from cxrnode.domain.identity import AETitle
from cxrnode.errors import CxrnodeError
from cxrnode.ledger.views import JobDetails
from cxrnode.phantom import Radiograph, View, write
from cxrnode.testing import Pacs, hold_open, start_pacs
from tests.end_to_end.processes import Serve, all_committed, serving, wait_until_gone
from tests.tally import Tally

STUDIES = 12
SEED = 20260102
MOST_LINES = (12, 12, 60, 60, 60, 40)
"""How many lines each run may log before it is killed, at most. The whole load is about 250 lines of work, some 60 of
them of receiving, which is over within a second: so the first runs are killed early."""

SEG, SR = CLASSES[Kind.SEG], REPORT_CLASSES[ReportClass.COMPREHENSIVE_3D]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Films of studies with two frontal views each. Paths of a study; UIDs of the films."""

    studies: tuple[tuple[Path, ...], ...]
    uids: frozenset[str]


def write_load(folder: Path, studies_wanted: int) -> Load:
    """Write the films."""
    folder.mkdir()
    studies, uids = [], set()
    for number in range(studies_wanted):
        paths = []
        for view in (View.PA, View.AP):
            film = Radiograph(
                seed=number, rows=288, cols=256, view=view, study=f"load {number}", instance_number=len(paths) + 1
            )
            paths.append(folder / f"{number}-{view}.dcm")
            uids.add(str(write(film, paths[-1]).dataset.SOPInstanceUID))
        studies.append(tuple(paths))
    return Load(studies=tuple(studies), uids=frozenset(uids))


@dataclass(slots=True)
class Pushers:
    """Three modalities that push studies, each again and again until every film of it is acknowledged."""

    node: Serve
    waiting: list[tuple[Path, ...]]
    answers: Counter[int] = field(default_factory=Counter)
    given_up: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Push until nothing waits."""
        while not self.given_up.is_set():
            with self.lock:
                if not self.waiting:
                    return
                study = self.waiting.pop()
            rest = list(study)
            while rest and not self.given_up.is_set():
                rest = self._push(rest)

    def _push(self, paths: list[Path]) -> list[Path]:
        """Push on one association; give what was not acknowledged."""
        rest = list(paths)
        try:
            with hold_open(paths, self.node.address, answer_seconds=10) as push:
                for path in paths:
                    status = push.store(path)
                    self.answers[status] += 1
                    if status == 0:
                        rest.remove(path)
        except CxrnodeError:
            self.given_up.wait(0.1)  # the node is being started again
        return rest


@contextmanager
def pushing(node: Serve, load: Load) -> Iterator[list[threading.Thread]]:
    """Push the load on three associations at a time; ended with the `with`, whatever was reached."""
    pushers = Pushers(node=node, waiting=list(load.studies))
    threads = [threading.Thread(target=pushers.run, name=f"modality {number}") for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        pushers.given_up.set()
        for thread in threads:
            thread.join()


@contextmanager
def dead_destination() -> Iterator[Destination]:
    """An AE whose port takes the connection and never says a word: worse than one that is switched off."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        yield Destination(
            name="dead",
            ae_title=AETitle("DEAD"),
            host="127.0.0.1",
            port=mute.getsockname()[1],
            commitment=CommitmentPolicy.IF_OFFERED,
        )


def contents(pacs: Pacs) -> dict[str, str]:
    """Give the digest of every object that the PACS holds."""
    return {uid: hashlib.sha256(path.read_bytes()).hexdigest() for uid, path in pacs.kept.items()}


def most_lines(kills: int) -> Iterator[int]:
    """Give for each kill how many lines the node may log before, at most."""
    yield from itertools.islice(itertools.chain(MOST_LINES, itertools.repeat(60)), kills)


def test_node_killed_again_and_again_under_load_delivers_everything_once(
    tmp_path: Path, long: bool, tally: Tally
) -> None:
    """SIGKILL at random moments while three modalities push and jobs run; after the last start all is there, once."""
    kills, began = 50 if long else len(MOST_LINES), time.monotonic()
    load, chance = write_load(tmp_path / "films", STUDIES * kills // len(MOST_LINES)), random.Random(SEED)
    seen: dict[str, str] = {}
    family: set[int] = set()
    patient = {"LINE__DELIVERIES__ATTEMPTS": "500", "LINE__JOBS__ATTEMPTS": "500"}
    with dead_destination() as dead, start_pacs() as pacs, serving(tmp_path / "node", pacs, dead, **patient) as node:
        with pushing(node, load) as threads:
            for most in most_lines(kills):
                enough = node.text().count("\n") + chance.randint(3, most)
                node.wait(lambda enough=enough: node.text().count("\n") >= enough)  # type: ignore[misc]
                family |= set(node.processes())
                node.kill()
                for uid, digest in contents(pacs).items():
                    assert seen.setdefault(uid, digest) == digest
                wait_until_gone(sorted(family), 10)
                assert node.processes() == [], "the kill left a process behind"
                node.start()
            node.wait(lambda: not any(thread.is_alive() for thread in threads), 600)
        node.wait(lambda: is_done(node, load), 600)
        check_all_is_there_once(node, load, pacs, seen)
        node.kill()
        wait_until_gone(node.processes(), 10)
    tally.add(
        "kill -9, real models",
        injected=kills,
        fired=kills,
        instances=len(load.uids),
        seconds=time.monotonic() - began,
    )


def is_done(node: Serve, load: Load) -> bool:
    """Tell whether the last job of every study is completed and all its evidence committed at the PACS."""
    jobs = node.jobs()
    with node.ledger() as ledger:
        open_studies = ledger.open_studies()
    members = {member.sop_instance_uid for job in jobs for member in job.members}
    return not open_studies and members >= load.uids and all_committed(jobs)


def check_all_is_there_once(node: Serve, load: Load, pacs: Pacs, seen: dict[str, str]) -> None:
    """Every film has one SEG, every study one report in force, no UID two contents, and nothing is left over."""
    jobs, held = node.jobs(), {uid: pydicom.dcmread(path) for uid, path in pacs.kept.items()}
    evidence = {one.sop_instance_uid: one for job in jobs for one in job.evidence}
    assert set(held) == set(evidence)
    sources = Counter(str(_source_of(ds)) for ds in held.values() if ds.SOPClassUID == SEG)
    assert sources == Counter(load.uids)
    reports = [ds for ds in held.values() if ds.SOPClassUID == SR]
    assert len(held) == len(load.uids) + len(reports)
    assert _reports_in_force(reports) == dict.fromkeys({job.job.study_uid for job in jobs}, 1)
    assert len({job.job.study_uid for job in jobs}) == len(load.studies)
    final = contents(pacs)
    assert {uid: final[uid] for uid in seen} == seen
    _check_bytes(node, pacs, jobs)
    _check_deliveries(jobs)
    assert node.incoming() == []


def _source_of(seg: pydicom.Dataset) -> str:
    (series,) = seg.ReferencedSeriesSequence
    (instance,) = series.ReferencedInstanceSequence
    return str(instance.ReferencedSOPInstanceUID)


def _reports_in_force(reports: list[pydicom.Dataset]) -> dict[str, int]:
    """Count, by study, the reports that no other names as its predecessor: a kill between two films may close a study
    early, and then the report of both follows the report of one (law 6)."""
    replaced = {
        reference.ReferencedSOPInstanceUID
        for report in reports
        for study in report.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    return dict(Counter(report.StudyInstanceUID for report in reports if report.SOPInstanceUID not in replaced))


def _check_bytes(node: Serve, pacs: Pacs, jobs: list[JobDetails]) -> None:
    """The PACS holds the very data sets that lie in the archive under the digest of the ledger."""
    for one in (one for job in jobs for one in job.evidence):
        kept = (node.state / "spool" / one.key).read_bytes()
        assert hashlib.sha256(kept).hexdigest() == one.sha256
        assert pydicom.dcmread(pacs.kept[one.sop_instance_uid]) == pydicom.dcmread(node.state / "spool" / one.key)


def _check_deliveries(jobs: list[JobDetails]) -> None:
    """Each object has one delivery to each destination; the dead one has nothing, and delayed nobody."""
    for one in (one for job in jobs for one in job.evidence):
        to = {delivery.destination: delivery for delivery in one.deliveries}
        assert set(to) == {"pacs", "dead"}
        assert len(one.deliveries) == 2
        assert str(to["pacs"].state) == "COMMITTED"
        assert str(to["dead"].state) in {"PENDING", "SENDING"}, to["dead"]


def test_child_killed_in_the_middle_of_a_batch_costs_a_new_child_and_nothing_else(tmp_path: Path) -> None:
    """SIGKILL of the inference child: C-ECHO is answered meanwhile, what it worked on is tried again, all comes."""
    films = [tmp_path / f"{seed}.dcm" for seed in range(6)]
    for seed, path in enumerate(films):
        write(Radiograph(seed=seed, rows=320, cols=320), path)
    with start_pacs() as pacs, serving(tmp_path / "node", pacs) as node:
        node.wait(node.models_loaded)
        assert node.send(films) == [0] * len(films)
        node.wait(lambda: node.events("job_claimed"))
        child = node.events("child_started")[-1]["pid"]
        os.kill(child, signal.SIGKILL)
        node.wait(lambda: node.events("child_lost"))
        while len(node.events("child_ready")) < 2:
            assert node.echo(), "the listener waited for the models"
        node.wait(lambda: len(node.jobs()) == len(films) and all_committed(node.jobs()))
        assert {event["pid"] for event in node.events("child_lost")} == {child}
        assert len(pacs.kept) == 2 * len(films)
        assert node.terminate() == 0
        assert node.processes() == []
