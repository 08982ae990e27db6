"""What a backlog costs: how long a claim takes in ledgers of three sizes, and a start with ten thousand studies queued.

    python -m benchmarks.backlog [--out DIR] [--studies 10000] [--sizes 1000 100000 1000000]

Hides how the ledgers and the spool are made. Promises that the studies which wait were received and closed by the
line's own steps, that the node which starts is the real one with its models, and that an empty node beside it, started
in turn, says what the machine does anyhow.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.rows import BEGAN, DESTINATION, fill
from benchmarks.timing import Ratio, Way, race, ratio, surroundings
from cxrnode.archive import SpoolArchive
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.job import RetryPolicy
from cxrnode.domain.routing import Rule
from cxrnode.domain.study import Arrival, Sender
from cxrnode.ledger import SqliteLedger
from cxrnode.node.parts import SystemClock
from cxrnode.phantom import Radiograph, render
from cxrnode.pipeline import Plan
from cxrnode.pipeline.closing import Closing
from cxrnode.pipeline.reception import Reception
from cxrnode.pixels.header import HeaderReader
from cxrnode.training.evaluation.report import markdown as table
from tests.end_to_end.processes import Serve

SIZES, STUDIES, ROUNDS, STARTS = (1_000, 100_000, 1_000_000), 10_000, 15, 3
WAITING = 400
"""Jobs, and deliveries, that wait in each ledger whose claims are timed: enough for all rounds, the same in each."""
_LATER = BEGAN + timedelta(days=365)
_POLICY = RetryPolicy()
_SENDER = Sender(calling_ae=AETitle("CR1"), called_ae=AETitle("CXRNODE"), address="127.0.0.1", association="a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """One verb in one ledger: milliseconds, and the smallest ledger's time over this one's."""

    verb: str
    studies: int
    milliseconds: float
    ratio: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a node: seconds since its process began, megabytes of the node itself, without its models."""

    queued: int
    listens: float
    first_claim: float
    first_result: float
    megabytes_at_first: float
    megabytes_later: float


def claims(folder: Path, sizes: Sequence[int], rounds: int) -> list[Claims]:
    """Time what is asked of the ledger over and over, in turn in ledgers of these sizes."""
    ledgers = {}
    for size in sizes:
        path = folder / f"{size}.sqlite"
        fill(path, size, min(WAITING, size // 4))
        ledgers[size] = SqliteLedger.open(path, incarnation="bench", exclusive=True)
    found = []
    for verb in _verbs(ledgers[sizes[0]]):
        ways = {str(size): _verbs(ledger)[verb] for size, ledger in ledgers.items()}
        seconds = race(ways, 1, rounds)
        plain = seconds[str(sizes[0])]
        for size in sizes:
            mine = seconds[str(size)]
            milliseconds = 1e3 * statistics.median(mine)
            found.append(Claims(verb=verb, studies=size, milliseconds=milliseconds, ratio=ratio(plain, mine)))
    for ledger in ledgers.values():
        ledger.shut()
    return found


def _verbs(ledger: SqliteLedger) -> Mapping[str, Way]:
    return {
        "claim a job": lambda: ledger.claim_jobs(_LATER, limit=1, lease_seconds=60),
        "claim a delivery": lambda: ledger.claim_deliveries(DESTINATION, _LATER, limit=1, lease_seconds=60),
        "look for quiet studies": lambda: ledger.quiet_studies(_LATER, after=None, limit=100),
    }


def queue(state: Path, studies: int) -> None:
    """Receive so many studies of one small film into a state folder, and close them, as the line does."""
    archive = SpoolArchive(state / "spool", floor_bytes=0)
    clock, film = SystemClock(), render(Radiograph(rows=256, cols=256))
    with SqliteLedger.open(state / "ledger.sqlite", incarnation="queue", exclusive=True) as ledger:
        reception = Reception(archive=archive, ledger=ledger, reader=HeaderReader(), clock=clock)
        for number in range(studies):
            path = archive.incoming / "film.part"
            path.write_bytes(_renamed(film.file, film.dataset, number))
            uid = InstanceUID("")
            reception.receive(
                Arrival(path=path, sop_class_uid="", sop_instance_uid=uid, transfer_syntax_uid="", sender=_SENDER)
            )
            reception.association_ended("a")
        closing = Closing(plan=_plan(), ledger=ledger, clock=clock, still_sent=reception.still_sent)
        while closing.close_due():
            pass


def _renamed(encoded: bytes, dataset: Any, number: int) -> bytes:
    """Give the film under other UIDs of the same length: another film each time, without drawing it again."""
    for uid in {dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID}:
        other = f"{uid[:-8]}{number:08d}".replace(".0", ".1")
        encoded = encoded.replace(uid.encode(), other.encode())
    return encoded


def _plan() -> Plan:
    return Plan(
        rules=(Rule(),), models=("lungs",), destinations=(), quiet_seconds=0, batch=1, job_policy=_POLICY,
        delivery_policy=_POLICY, job_lease_seconds=60, delivery_lease_seconds=60, commitment_wait_seconds=60,
    )  # fmt: skip


def start(node: Serve, queued: int, film: Path) -> Start:
    """Start a node and kill it after its first results; where nothing is queued, one film is sent to it."""
    before, began = len(node.events("job_completed")), time.time()
    listens = node.start()
    if not queued:
        node.send([film])
    node.wait(lambda: len(node.events("job_completed")) > before, 600)
    at_first = _megabytes(node.pid)
    more = before + (10 if queued else 1)
    node.wait(lambda: len(node.events("job_completed")) >= more, 600)
    found = Start(
        queued=queued,
        listens=listens,
        first_claim=_since(node, "job_claimed", began),
        first_result=_since(node, "job_completed", began),
        megabytes_at_first=at_first,
        megabytes_later=_megabytes(node.pid),
    )
    node.kill()
    return found


def _since(node: Serve, event: str, began: float) -> float:
    times = (datetime.fromisoformat(line["at"]).timestamp() for line in node.events(event))
    return next(at for at in times if at > began) - began


def _megabytes(pid: int) -> float:
    """Give the resident memory of one process."""
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def starts(folder: Path, studies: int, rounds: int) -> list[Start]:
    """Start a node with the backlog and an empty one in turn."""
    full, empty = Serve(folder / "full"), Serve(folder / "empty")
    queue(full.state, studies)
    found = []
    try:
        for number in range(rounds):
            film = folder / f"{number}.dcm"
            film.write_bytes(render(Radiograph(rows=256, cols=256, seed=number)).file)
            found += [start(empty, 0, film), start(full, studies, film)]
    finally:
        full.clear_away()
        empty.clear_away()
    return found


def markdown(timed: Sequence[Claims], started: Sequence[Start], on: Mapping[str, Any]) -> str:
    """Give the tables, and what they were measured on."""
    cells = [(one.verb, f"{one.studies:,}", f"{one.milliseconds:.2f}", str(one.ratio)) for one in timed]
    parts = [table(("verb", "studies in the ledger", "ms", "smallest : this"), cells)]
    if started:
        rows = [(what, *_medians(started, what)) for what in list(asdict(started[0]))[1:]]
        parts.append(table(("start, medians", "nothing queued", f"{started[-1].queued:,} queued"), rows))
    told = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in on.items())
    return "\n\n".join((*parts, f"{told}."))


def _medians(started: Sequence[Start], what: str) -> tuple[str, str]:
    empty = statistics.median(getattr(one, what) for one in started if not one.queued)
    full = statistics.median(getattr(one, what) for one in started if one.queued)
    return f"{empty:.1f}", f"{full:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line: the tables on standard output; with --out, backlog.md and backlog.json as well."""
    parser = argparse.ArgumentParser(description="Measure what a backlog costs.")
    parser.add_argument("--out", type=Path, help="write backlog.md and backlog.json here")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="studies in the ledgers whose claims are timed"
    )
    parser.add_argument("--studies", type=int, default=STUDIES, help="studies that wait when the node starts")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each claim is timed in turn")
    parser.add_argument(
        "--starts", type=int, default=STARTS, help="how often each node is started in turn; 0: not at all"
    )
    said = parser.parse_args(arguments)
    on = {**surroundings(), "at": datetime.now(UTC).date().isoformat()}
    with tempfile.TemporaryDirectory() as made:
        timed = claims(Path(made), said.sizes, said.rounds)
        started = starts(Path(made), said.studies, said.starts) if said.starts else []
    sys.stdout.write(f"{markdown(timed, started, on)}\n")
    if said.out:
        said.out.mkdir(parents=True, exist_ok=True)
        (said.out / "backlog.md").write_text(markdown(timed, started, on) + "\n", encoding="utf-8")
        document = {"on": on, "claims": [asdict(one) for one in timed], "starts": [asdict(one) for one in started]}
        (said.out / "backlog.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
