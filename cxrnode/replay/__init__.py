"""The same line over a folder or an archive: `cxrnode replay`.

Hides where the files come from (folders, files, zip archives, DICOMDIR) and how a run that was stopped goes on.
Promises that every file ends with an outcome or its own reason in findings.csv, that sources are never touched, and
the same evidence from every run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cxrnode.archive import ReferenceArchive
from cxrnode.domain.capability import Kind
from cxrnode.domain.delivery import CommitmentPolicy
from cxrnode.domain.finding import ImagePrediction, ImageResult
from cxrnode.domain.identity import AETitle, InstanceUID, file_stem
from cxrnode.domain.study import Arrival, Instance, Sender
from cxrnode.errors import DeviceMissing, NeedsOperator
from cxrnode.evidence.overlay import overlay
from cxrnode.node import Engine
from cxrnode.pixels.header import HeaderReader
from cxrnode.replay.findings import Aside, write_findings
from cxrnode.replay.sources import found
from cxrnode.settings import Settings
from cxrnode.settings.sections import RetrySettings

WORK = ".cxrnode"
_LOOK_SECONDS = 0.2
MOST_ATTEMPTS = 7
"""Of a delivery: with the default waits a destination that is down is given up after three to five minutes."""
_REPLAY = Sender(calling_ae=AETitle("REPLAY"), called_ae=AETitle("REPLAY"), address="", association="replay")
_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a replay stands: files read of files found (0 while counting), images and jobs done of those there are."""

    files: int
    files_found: int
    jobs_done: int = 0
    jobs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a replay came to."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Rows of findings.csv by outcome: `analysed`, a code of selection.REASONS, `duplicate` or `not opened`."""
    unopened: list[str] = field(default_factory=list)
    """Files that could not be opened, with the reason."""
    parked: int = 0
    """Jobs that wait for an operator."""
    undelivered: int = 0
    """Deliveries that wait for an operator."""
    findings: Path = Path()


class Replay:
    """One replay. Owns its engine; `out` holds the evidence, and in `.cxrnode` the ledger that lets a run go on."""

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Path],
        out: Path,
        *,
        destinations: Sequence[str] = (),
        objects: tuple[Kind, ...] = (),
        overlays: bool = True,
    ) -> None:
        """Prepare the output folder and open its ledger. AlreadyRunning where another replay writes there.

        `objects`: what is written, and sent to the destinations; without any a SEG and an SR, or what each
        destination asks for.
        """
        self._sources, self._out, self._overlays = [source.absolute() for source in sources], out.absolute(), overlays
        self._work = self._out / WORK
        self._work.mkdir(parents=True, exist_ok=True)
        self._archive = ReferenceArchive(out=self._out, work=self._work)
        self._engine = Engine(
            _adapted(settings, self._work, destinations, objects),
            self._archive,
            preview=overlays,
            seen=self._draw,
            objects=objects or (Kind.SEG, Kind.SR),
        )
        self._asides: list[Aside] = []

    def run(self, report: Callable[[Stand], None]) -> Summary:
        """Read every file, then run the line until nothing is left to do; `report` is told of the progress."""
        self._engine.start()
        try:
            self._feed(report)
            self._engine.ring()
            self._until_done(report)
            return self._summed_up()
        finally:
            self._engine.stop()

    def _feed(self, report: Callable[[Stand], None]) -> None:
        """Record what is not recorded yet: a study closes only when all of the source has been read."""
        files = 0
        for chunk in _chunks(found(self._sources, self._out, self._work / "extracted"), _CHUNK):
            unknown = set(self._engine.ledger.unknown_keys([str(path) for path in chunk]))
            for path in chunk:
                if str(path) in unknown:
                    self._receive(path)
                files += 1
                report(Stand(files=files, files_found=0))
        self._engine.line.association_ended(_REPLAY.association)

    def _receive(self, path: Path) -> None:
        if not _is_encodable(path):
            reason = "its name is in another encoding than this system's: rename it"
            self._asides.append(Aside(file=path, outcome="not opened", reason=reason))
            return
        arrival = Arrival(
            path=path, sop_class_uid="", sop_instance_uid=InstanceUID(""), transfer_syntax_uid="", sender=_REPLAY
        )
        try:
            self._engine.line.receive(arrival)
            if self._engine.ledger.unknown_keys([str(path)]):
                self._asides.append(_duplicate(path, HeaderReader().describe(arrival).sop_instance_uid))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._asides.append(Aside(file=path, outcome="not opened", reason=reason))

    def _until_done(self, report: Callable[[Stand], None]) -> None:
        pause = _LOOK_SECONDS
        while not self._engine.stopped.wait(pause):
            began = time.monotonic()
            self._refuse_to_wait()
            counts = self._engine.ledger.counts()
            # Counting a million rows takes a while: look less often than that, so that the work goes on.
            pause = max(_LOOK_SECONDS, 20 * (time.monotonic() - began))
            left = counts.jobs_left
            report(
                Stand(
                    files=counts.instances, files_found=counts.instances, jobs_done=counts.jobs - left, jobs=counts.jobs
                )
            )
            if not counts.open_studies and not left and not counts.deliveries_left:
                return
        if self._engine.fatal:
            raise self._engine.fatal

    def _refuse_to_wait(self) -> None:
        """A node waits for a device that is not there, or models that do not start; for a replay somebody waits."""
        lacking = self._engine.predictor.waits_for()
        if lacking:
            if isinstance(self._engine.predictor.trouble(), DeviceMissing):
                raise DeviceMissing(lacking, operation="replay", hint="see 'The GPU is lost' in docs/operations.md")
            raise NeedsOperator(lacking, operation="replay", hint="see 'Models do not load' in docs/operations.md")

    def _draw(self, source: Instance, answer: ImagePrediction, result: ImageResult | None) -> None:
        if result is None or answer.preview is None:
            return
        folder = self._out / "overlays"
        folder.mkdir(exist_ok=True)
        picture = overlay(answer.preview, result, (source.facts.rows, source.facts.columns))
        (folder / f"{file_stem(source.uid)}.png").write_bytes(picture)

    def _summed_up(self) -> Summary:
        table, counts = self._out / "findings.csv", self._engine.ledger.counts()
        return Summary(
            outcomes=write_findings(self._engine.ledger.outcomes(), self._asides, self._out, table),
            unopened=[f"{one.file}: {one.reason}" for one in self._asides if one.outcome == "not opened"],
            parked=counts.jobs_parked,
            undelivered=counts.deliveries_parked,
            findings=table,
        )


def _is_encodable(path: Path) -> bool:
    """Whether the ledger can hold a path: Python gives bytes that are no text as halves of characters (PEP 383)."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _duplicate(path: Path, uid: str) -> Aside:
    return Aside(file=path, outcome="duplicate", reason="another file brought the same content", sop_instance_uid=uid)


def _chunks(paths: Iterable[Path], size: int) -> Iterator[list[Path]]:
    iterator = iter(paths)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _adapted(settings: Settings, work: Path, destinations: Sequence[str], objects: tuple[Kind, ...]) -> Settings:
    """Give the settings with the run's own state folder, and studies that close as soon as all is read.

    The chosen destinations get everything. They are not asked to commit: their reports would go to the address of the
    node that serves, which knows nothing of this run. One that is down is given minutes, not days: somebody waits.
    """
    known = {destination.name for destination in settings.destinations}
    for name in set(destinations) - known:
        raise NeedsOperator(
            "no such destination", operation="replay", subject=name, hint=f"configured: {sorted(known)}"
        )
    chosen = tuple(
        destination.model_copy(update={"commitment": CommitmentPolicy.NONE, "objects": objects or destination.objects})
        for destination in settings.destinations
        if destination.name in destinations
    )
    return settings.model_copy(
        update={
            "node": settings.node.model_copy(update={"state_dir": work}),
            "studies": settings.studies.model_copy(update={"quiet_seconds": 0.0}),
            "destinations": chosen,
            "line": settings.line.model_copy(update={"deliveries": _impatient(settings)}),
            "rules": (),
        }
    )


def _impatient(settings: Settings) -> RetrySettings:
    configured = settings.line.deliveries
    return configured.model_copy(update={"attempts": min(configured.attempts, MOST_ATTEMPTS)})
