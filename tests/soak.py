"""A soak: the real program with its real models and a real Orthanc, mixed traffic, and faults at random moments.

    python -m tests.soak --minutes 60

At the end it waits until nothing is left to do and reckons instance by instance: by `cxrnode check --reconcile`, and by
itself, from the files. It prints what was sent, what was injected and seen to fire, what memory and open files did, and
ends with 1 where anything is unaccounted for, anything fired that was not seen, or anything grows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.end_to_end.processes import AE_TITLE, Serve
from tests.fakes.door import data_set_of
from tests.faults import disks
from tests.faults.mortal import Mortal
from tests.faults.reckoning import drained
from tests.faults.stubbed import to
from tests.soaking.faults import Faults
from tests.soaking.traffic import CT_STORAGE, Pictures, Said, Senders
from tests.soaking.watching import SHORT_MINUTES, Slope, Watch

RESTARTS_SHARE = 0.4
"""Nodes and children are killed in the first part of the time, so that the rest shows what a long life does."""

SETTINGS = {
    "MODELS__ENABLED": "default",
    "STUDIES__QUIET_SECONDS": "2",
    "LISTENER__IDLE_SECONDS": "15",
    "LISTENER__OTHER_STORAGE_CLASSES": f'["{CT_STORAGE}"]',
    "LINE__JOBS__ATTEMPTS": "100",
    "LINE__DELIVERIES__ATTEMPTS": "10000",
    "LINE__DELIVERIES__LONGEST_SECONDS": "10",
    "LINE__JOB_LEASE_SECONDS": "30",
    "LINE__DELIVERY_LEASE_SECONDS": "30",
    "LINE__COMMITMENT_WAIT_SECONDS": "10",
}


@dataclass(slots=True)
class Report:
    """What a soak came to."""

    minutes: float
    sent: Mapping[str, int]
    answers: Mapping[str, int]
    acknowledged: int
    let_in: int
    injected: Mapping[str, int]
    fired: Mapping[str, int]
    slopes: Sequence[Slope]
    drained_seconds: float
    reconciled: Mapping[str, Any]
    unaccounted: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    events: Mapping[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether nothing is unaccounted for, nothing grows and every kind of fault fired."""
        seen = all(self.fired.get(name, 0) for name in self.injected)
        flat = all(slope.flat for slope in self.slopes)
        return not self.unaccounted and not self.let_in and bool(self.reconciled.get("ok")) and seen and flat


def main() -> None:
    """Run one as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--pause", type=float, default=20, help="seconds between two faults, on average")
    parser.add_argument("--out", type=Path, help="the file that keeps the report, as JSON")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cxrnode-soak-"))
    print(f"in {folder}, which stays where it is not sound", flush=True)
    report = soak(folder, minutes=asked.minutes, seed=asked.seed, senders=asked.senders, pause_seconds=asked.pause)
    print(as_text(report))
    if report.sound:
        shutil.rmtree(folder)
    if asked.out:
        asked.out.write_text(json.dumps({**asdict(report), "sound": report.sound}, indent=2))
    sys.exit(0 if report.sound else 1)


def soak(folder: Path, *, minutes: float, seed: int, senders: int, pause_seconds: float) -> Report:
    """Run one in a folder of its own."""
    with running(folder) as (node, archive, disk):
        traffic = Senders(node, Pictures(), folder / "films", seed=seed)
        traffic.waiting = lambda: _waiting(node)
        faults, chance = Faults(node, archive, traffic, disk, seed=seed), random.Random(seed)
        began = time.monotonic()
        with Watch(node) as watch:
            traffic.start(senders)
            while (share := (time.monotonic() - began) / (minutes * 60)) < 1:
                threading.Event().wait(min(chance.expovariate(1 / pause_seconds), minutes * 60 * (1 - share)))
                _say(minutes, began, faults.inject(restarts=share < RESTARTS_SHARE))
            traffic.finish()
            ended = time.monotonic()
            node.wait(lambda: drained(node), 1800)
        drained_seconds = time.monotonic() - ended
        print(f"nothing left to do after {drained_seconds:.0f} s; reconciling", flush=True)
        return _report(node, archive, traffic.said, faults, watch, minutes=minutes, drained_seconds=drained_seconds)


@contextmanager
def running(folder: Path) -> Iterator[tuple[Serve, Mortal, disks.Disk | None]]:
    """Run the archive and the node; its state lies on a disk of its own where one can be mounted."""
    with ExitStack() as stack:
        archive = Mortal(folder / "orthanc")
        stack.callback(archive.end)
        disk, settings = _disk(stack, folder), dict(SETTINGS)
        state = disk.folder / "state" if disk else folder / "node" / "state"
        node = Serve(folder / "node", [to(archive.running)], **settings, NODE__STATE_DIR=str(state))
        node.state, archive.node = state, node
        stack.callback(node.clear_away)
        archive.running.knows(AE_TITLE, node.port)
        node.start()
        node.wait(node.models_loaded)
        yield node, archive, disk


def _disk(stack: ExitStack, folder: Path) -> disks.Disk | None:
    try:
        return stack.enter_context(disks.mounted(folder / "disk", megabytes=20_000))
    except disks.NoDisk as missing:
        print(f"no disk is filled: {missing}", flush=True)
        return None


def _waiting(node: Serve) -> int:
    try:
        with node.ledger() as ledger:
            return ledger.counts().jobs_left
    except Exception:  # noqa: BLE001 - the node is being started again, or its disk is full
        return 0


def _say(minutes: float, began: float, name: str) -> None:
    print(f"{(time.monotonic() - began) / 60:6.1f} of {minutes:g} min: {name}", flush=True)


def _report(
    node: Serve,
    archive: Mortal,
    said: Said,
    faults: Faults,
    watch: Watch,
    *,
    minutes: float,
    drained_seconds: float,
) -> Report:
    done = node.cli("check", "--reconcile", "--bytes", "--json", seconds=3600)
    reconciled = _parsed(done.stdout) or {"ok": False, "said": (done.stdout + done.stderr)[-2000:]}
    missing = [o["uid"] for o in reconciled.get("discrepancies", []) if o["trouble"] == "not at the destination"]
    events: dict[str, int] = defaultdict(int)
    for line in node.text().splitlines():
        if line.startswith("{") and '"level": "info"' not in line and line.endswith("}"):
            event = json.loads(line)
            events[f"{event['event']} {event.get('error') or event.get('reason') or ''}".strip()[:90]] += 1
    return Report(
        minutes=minutes,
        sent=dict(said.sent) | {"strangers refused": said.refused},
        answers={f"0x{status:04X}" if status >= 0 else "none": count for status, count in said.answers.items()},
        acknowledged=len(said.acknowledged),
        let_in=said.let_in,
        injected=dict(faults.injected),
        fired=dict(faults.fired),
        slopes=watch.slopes(),
        drained_seconds=drained_seconds,
        reconciled=reconciled,
        gone=list(gone_from_archive(node, archive, faults, missing)),
        unaccounted=list(unaccounted(node, said.acknowledged)),
        events=dict(sorted(events.items())),
    )


def gone_from_archive(node: Serve, archive: Mortal, faults: Faults, missing: Sequence[str]) -> Iterator[str]:
    """Say of objects that the archive should hold when it took them, when it committed to keep them, and when it was
    killed next: what an archive loses that has committed to it is no loss of the node's, and has to be seen."""
    held = archive.running.instances()
    with closing(sqlite3.connect(f"file:{node.state}/ledger.sqlite?mode=ro", uri=True)) as ledger:
        sql = "SELECT sent_at, committed_at FROM deliveries JOIN evidence ON evidence.id = evidence_id"
        for uid in missing:
            sent, committed = ledger.execute(f"{sql} WHERE sop_instance_uid = ?", [uid]).fetchone()
            killed = [at.isoformat() for at in faults.kills_of_archive if not committed or at.isoformat() > committed]
            there = "holds it" if uid in held else "does not hold it"
            yield f"{uid}: sent {sent}, committed {committed}, archive killed {min(killed, default='never')}, {there}"


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}


def unaccounted(node: Serve, acknowledged: set[tuple[str, str]]) -> Iterator[str]:
    """Give what was acknowledged and is not kept as it was sent, or that nobody came to an end with."""
    with closing(sqlite3.connect(f"file:{node.state}/ledger.sqlite?mode=ro", uri=True)) as ledger:
        rows = list(ledger.execute("SELECT sop_instance_uid, key, code, standing FROM instances"))
        unfinished = list(ledger.execute("SELECT id, state FROM jobs WHERE state NOT IN ('COMPLETED', 'CANCELED')"))
    kept: dict[str, set[str]] = defaultdict(set)
    for uid, key, code, standing in rows:
        path = node.state / "spool" / key
        if path.is_file():
            kept[uid].add(hashlib.sha256(data_set_of(path)).hexdigest())
        if code is None and standing == "current":
            yield f"{uid}: nobody came to an end with it"
    yield from (f"{uid}: not kept as it was sent" for uid, digest in acknowledged if digest not in kept[uid])
    yield from (f"job {job}: {state}" for job, state in unfinished)


def as_text(report: Report) -> str:
    """Give the report as a person reads it."""
    lines = [f"{report.minutes:g} minutes, then {report.drained_seconds:.0f} s until nothing was left to do", ""]
    lines += [f"{count:7}  {name}" for name, count in report.sent.items()]
    lines += ["", f"{report.acknowledged:7}  acknowledged", f"{report.let_in:7}  let in that do not belong"]
    lines += [f"{count:7}  answers {status}" for status, count in report.answers.items()]
    lines += ["", *(f"{n:7}  {name}, fired {report.fired.get(name, 0)}" for name, n in report.injected.items()), ""]
    for one in report.slopes:
        memory = f"{one.first_mb:.0f} to {one.last_mb:.0f} MB, {one.first_files:.0f} to {one.last_files:.0f} files"
        verdict = "too short to tell" if one.minutes < SHORT_MINUTES else "flat" if one.flat else "GROWS"
        lines.append(f"{one.role}: {memory} in {one.minutes:.0f} min: {verdict}")
    lines += ["", *(f"{count:7}  {event}" for event, count in report.events.items())]
    lines += ["", f"reconciled: {json.dumps({k: v for k, v in report.reconciled.items() if k != 'discrepancies'})}"]
    lines += [f"  {one}" for one in list(report.reconciled.get("discrepancies", []))[:20]]
    lines += [f"  {one}" for one in report.gone]
    lines += [f"unaccounted: {len(report.unaccounted)}", *(f"  {one}" for one in report.unaccounted[:20])]
    return "\n".join([*lines, "", "SOUND" if report.sound else "NOT SOUND"])


if __name__ == "__main__":
    main()
