"""Mixed traffic for a soak: what a hospital sends to a node that nobody told what to expect.

Hides how films get names of their own and which of them are wrong in what way. Promises that each kind is counted, that
what was answered with Success is in `acknowledged` (UID and digest of the data set), and that a queue which grows slows
the senders down.
"""

from __future__ import annotations

import hashlib
import io
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from cxrnode.errors import CxrnodeError
from cxrnode.phantom import Radiograph, View, catalogue, render
from cxrnode.testing import hold_open
from tests.end_to_end.processes import Serve
from tests.fakes.door import data_set_of

CT_STORAGE, MR_STORAGE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
MOST_WAITING = 15
"""Jobs in the queue; the real models take a second or more for each film."""


@dataclass(slots=True)
class Said:
    """What the senders did and heard."""

    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    refused: int = 0
    let_in: int = 0
    broken_off: int = 0
    acknowledged: set[tuple[str, str]] = field(default_factory=set)


class Pictures:
    """The catalogue's radiographs, rendered once."""

    def __init__(self) -> None:
        """Render them."""
        self.sound: list[bytes] = []
        self.broken: list[bytes] = []
        for entry in catalogue():
            if entry.spec.rows * entry.spec.cols > 2_000_000:
                continue
            file = render(entry.spec).file
            with suppress(InvalidDicomError, AttributeError):
                pydicom.dcmread(io.BytesIO(file)).file_meta.TransferSyntaxUID  # noqa: B018 - whether it can be sent
                (self.broken if entry.spec.defect else self.sound).append(file)
        self.lateral = render(Radiograph(rows=640, cols=512, view=View.LATERAL)).file


class Senders:
    """Modalities, each with a habit drawn for each study."""

    def __init__(self, node: Serve, pictures: Pictures, folder: Path, *, seed: int) -> None:
        """Send nothing yet."""
        folder.mkdir(parents=True, exist_ok=True)
        self.node, self.said = node, Said()
        self._pictures, self._folder, self._seed = pictures, folder, seed
        self._enough = threading.Event()
        self._threads: list[threading.Thread] = []
        self.waiting: Callable[[], int] = lambda: 0

    def start(self, count: int) -> None:
        """Begin, as many at a time."""
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Begin no other study; wait for those begun."""
        self._enough.set()
        for thread in self._threads:
            thread.join(300)
            assert not thread.is_alive(), "a sender still sends"

    def _run(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        habits = list(HABITS)
        weights = [weight for weight, _ in HABITS.values()]
        count = 0
        while not self._enough.is_set():
            while self.waiting() > MOST_WAITING and not self._enough.wait(1):
                pass
            (name,) = chance.choices(habits, weights)
            HABITS[name][1](self, chance, f"{number}.{count}")
            self.said.sent[name] += 1
            count += 1
            self._enough.wait(chance.uniform(0.2, 2))

    def write(self, file: bytes, name: str, number: int = 0, **changes: object) -> Path:
        """Write a picture as the film `number` of the study `name`."""
        ds = pydicom.dcmread(io.BytesIO(file))
        ds.PatientID, ds.StudyInstanceUID = f"SOAK-{name}", _uid(self._seed, name)
        ds.SeriesInstanceUID = _uid(self._seed, name, "series", number)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = _uid(self._seed, name, number)
        ds.InstanceNumber = number + 1
        _change(ds, changes)
        path = self._folder / f"{name}-{number}.dcm"
        ds.save_as(path, enforce_file_format=True)
        return path

    def push(self, path: Path, *, again: bool = False, hold_seconds: float = 0.0) -> None:
        """Push until it is answered with anything but 'later'; then remove it, unless it goes out `again`."""
        uid, digest = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID, hashlib.sha256(data_set_of(path))
        while True:
            try:
                with hold_open([path], self.node.address, answer_seconds=60) as push:
                    self._enough.wait(hold_seconds)
                    status = push.store(path)
            except CxrnodeError:
                status = -1
            self.said.answers[status] += 1
            if status == 0:
                self.said.acknowledged.add((str(uid), digest.hexdigest()))
            if status not in {-1, 0xA700}:
                break
            threading.Event().wait(1)
        if not again:
            path.unlink()

    def picture(self, chance: random.Random, *, broken: bool = False) -> bytes:
        """Draw one."""
        return chance.choice(self._pictures.broken if broken else self._pictures.sound)

    def lateral(self) -> bytes:
        """Give a lateral film."""
        return self._pictures.lateral

    def pause(self, seconds: float) -> None:
        """Let time go by, less at the end."""
        self._enough.wait(seconds)


def _uid(*words: object) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(repr(words).encode()).digest()[:15], 'big')}"


def _change(ds: Dataset, changes: Mapping[str, object]) -> None:
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    if "SOPClassUID" in changes:
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID


def _film(senders: Senders, chance: random.Random, name: str) -> None:
    senders.push(senders.write(senders.picture(chance), name))


def _broken(senders: Senders, chance: random.Random, name: str) -> None:
    senders.push(senders.write(senders.picture(chance, broken=True), name))


def _ct(senders: Senders, chance: random.Random, name: str) -> None:
    senders.push(senders.write(senders.picture(chance), name, SOPClassUID=CT_STORAGE, Modality="CT"))


def _twice(senders: Senders, chance: random.Random, name: str) -> None:
    path = senders.write(senders.picture(chance), name)
    senders.push(path, again=True)
    senders.push(path)


def _late_lateral(senders: Senders, chance: random.Random, name: str) -> None:
    senders.push(senders.write(senders.picture(chance), name))
    senders.pause(chance.uniform(1, 20))
    senders.push(senders.write(senders.lateral(), name, 1))


def _corrected(senders: Senders, chance: random.Random, name: str) -> None:
    picture = senders.picture(chance)
    senders.push(senders.write(picture, name))
    senders.pause(chance.uniform(1, 10))
    senders.push(senders.write(picture, name, PatientName="Corrected^Name"))


def _slow(senders: Senders, chance: random.Random, name: str) -> None:
    senders.push(senders.write(senders.picture(chance), name), hold_seconds=chance.uniform(1, 10))


def _stranger(senders: Senders, chance: random.Random, name: str) -> None:
    path = senders.write(senders.picture(chance), name)
    host, port, _ = senders.node.address
    try:
        with hold_open([path], (host, port, "SOMEBODY"), answer_seconds=10):
            senders.said.let_in += 1
    except CxrnodeError:
        senders.said.refused += 1
    path.unlink()


def _not_taken(senders: Senders, chance: random.Random, name: str) -> None:
    path = senders.write(senders.picture(chance), name, SOPClassUID=MR_STORAGE, Modality="MR")
    with suppress(CxrnodeError), hold_open([path], senders.node.address, answer_seconds=10) as push:
        senders.said.let_in += push.store(path) == 0
    path.unlink()


def _mute(senders: Senders, chance: random.Random, name: str) -> None:
    """Connect and say nothing, or half a word."""
    with suppress(OSError), socket.create_connection(senders.node.address[:2], timeout=5) as line:
        line.sendall(chance.randbytes(chance.choice([0, 3, 40])))
        senders.pause(chance.uniform(0, 5))
        senders.said.broken_off += 1


Habit = Callable[[Senders, random.Random, str], None]

HABITS: Mapping[str, tuple[int, Habit]] = {
    "film": (40, _film),
    "late lateral": (10, _late_lateral),
    "corrected header": (10, _corrected),
    "duplicate": (10, _twice),
    "CT": (10, _ct),
    "broken": (10, _broken),
    "slow sender": (5, _slow),
    "stranger": (5, _stranger),
    "class not taken": (5, _not_taken),
    "says nothing": (5, _mute),
}
"""What is sent, and how often."""
