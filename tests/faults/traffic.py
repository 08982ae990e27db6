"""Modalities that push films until each is acknowledged, and remember which were.

Hides how films get UIDs of their own and who pushes when. Promises that what is in `acknowledged` was answered with
Success, that every film has a UID no other has, and that the threads end with the `with`.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom

from cxrnode.errors import CxrnodeError
from cxrnode.phantom import Radiograph, View, render
from cxrnode.testing import hold_open
from tests.end_to_end.processes import Serve

_SEEDS = 5
_SIDE = 256
"""The least that is analysed."""


class Films:
    """Small frontal films without end. Rendering one costs more than pushing it, so a few pictures serve all."""

    def __init__(self, folder: Path) -> None:
        """Write below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        views = (View.PA, View.AP)
        specs = (Radiograph(seed=seed, rows=_SIDE, cols=_SIDE, view=views[seed % 2]) for seed in range(_SEEDS))
        self._pictures = [render(spec).file for spec in specs]

    def study(self, name: str, films: int = 1) -> list[Path]:
        """Write a study of so many films; the same name gives the same study."""
        return [self._write(name, number) for number in range(films)]

    def _write(self, study: str, number: int) -> Path:
        picture = self._pictures[int(_uid(study)[5:]) % _SEEDS]
        ds = pydicom.dcmread(io.BytesIO(picture))
        ds.PatientID = f"PHANTOM-{study}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid(study), _uid(study, "series")
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = _uid(study, number)
        ds.InstanceNumber = number + 1
        path = self._folder / f"{ds.SOPInstanceUID}.dcm"
        ds.save_as(path, enforce_file_format=True)
        return path


def _uid(*words: object) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(repr(words).encode()).digest()[:15], 'big')}"


class Modalities:
    """Pushes studies of one to three films, `most` of them or until told that it is enough."""

    def __init__(self, node: Serve, films: Films, *, pause_seconds: float = 0.2, most: int = 1_000_000) -> None:
        """Push nothing yet. `pause_seconds`: between two studies of a modality."""
        self._node, self._films = node, films
        self._pause, self._most = pause_seconds, most
        self._numbers = itertools.count()
        self._enough, self._given_up = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.acknowledged: dict[str, Path] = {}
        self.answers: Counter[int] = Counter()

    def start(self, modalities: int = 2) -> None:
        """Begin to push, on as many associations at a time."""
        self._threads = [threading.Thread(target=self._run, name=f"modality {n}") for n in range(modalities)]
        for thread in self._threads:
            thread.start()

    def pause(self, seconds: float) -> None:
        """Let so much traffic go by."""
        self._given_up.wait(seconds)

    def finish(self, seconds: float = 120.0) -> None:
        """Begin no other study, and wait until those begun are acknowledged."""
        self._enough.set()
        self._join(seconds)

    def wait(self, seconds: float = 120.0) -> None:
        """Wait until `most` studies are acknowledged."""
        self._join(seconds)

    def give_up(self) -> None:
        """Stop where they are."""
        self._enough.set()
        self._given_up.set()
        self._join(60)

    def _join(self, seconds: float) -> None:
        for thread in self._threads:
            thread.join(seconds)
            assert not thread.is_alive(), f"{thread.name} still pushes; answers so far: {dict(self.answers)}"

    def _run(self) -> None:
        while not self._enough.is_set():
            number = next(self._numbers)
            if number >= self._most:
                return
            rest = self._films.study(f"study {number}", number % 3 + 1)
            while rest and not self._given_up.is_set():
                rest = self._push(rest)
            self._enough.wait(self._pause)

    def _push(self, paths: Sequence[Path]) -> list[Path]:
        """Push on one association; give what was not acknowledged."""
        rest = list(paths)
        try:
            with hold_open(paths, self._node.address, answer_seconds=20) as push:
                for path in paths:
                    status = push.store(path)
                    self.answers[status] += 1
                    if status == 0:
                        rest.remove(path)
                        self.acknowledged[path.stem] = path
        except CxrnodeError:
            pass
        if rest:
            self._given_up.wait(0.05)  # the node is away, or has no room
        return rest


@contextmanager
def pushing(node: Serve, films: Films, modalities: int = 2, **how: float) -> Iterator[Modalities]:
    """Push for the time of the `with`; `how` is `pause_seconds` and `most`."""
    traffic = Modalities(node, films, **how)  # type: ignore[arg-type]
    traffic.start(modalities)
    try:
        yield traffic
    finally:
        traffic.give_up()
