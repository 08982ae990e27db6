"""A node whose jobs run for as long as a test wants, and an archive beside it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cxrnode.domain.delivery import Destination
from cxrnode.phantom import Radiograph, render
from cxrnode.testing import Pacs
from tests.end_to_end.processes import AE_TITLE, Serve
from tests.faults.reckoning import drained, reckon
from tests.faults.stubbed import Stubbed
from tests.tally import Tally

_GATED = (sys.executable, "-m", "tests.faults.gated_node")


class Gated(Stubbed):
    """`cxrnode serve` with stub models that answer only while its gate is open."""

    command: Sequence[str | Path] = _GATED

    def __init__(
        self, folder: Path, destinations: Sequence[Destination] = (), *, before: Sequence[str] = (), **variables: str
    ) -> None:
        """Start nothing; see `Serve`. The gate is closed."""
        super().__init__(folder, destinations, before=before, **variables)
        self._gate, self._offset = folder / "gate", folder / "offset"
        self._environment |= {"GATE": str(self._gate), "OFFSET": str(self._offset)}
        self.set_clock(0)

    def open_gate(self) -> None:
        """Let jobs end."""
        self._gate.touch()

    def close_gate(self) -> None:
        """Let jobs run until the gate is opened."""
        self._gate.unlink(missing_ok=True)

    def set_clock(self, seconds: float) -> None:
        """Let the clock be off by so much from now on."""
        new = self._offset.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self._offset)


def films(folder: Path, number: int, first: int = 0) -> dict[str, Path]:
    """Give so many films of a study each, by their SOP Instance UIDs."""
    made = {}
    for seed in range(first, first + number):
        phantom = render(Radiograph(rows=256, cols=256, seed=seed))
        path = folder / f"{seed}.dcm"
        path.write_bytes(phantom.file)
        made[str(phantom.dataset.SOPInstanceUID)] = path
    return made


@contextmanager
def gated(folder: Path, pacs: Pacs, *, before: Sequence[str] = (), **settings: str) -> Iterator[Gated]:
    """Give a node that is not started; whatever is left of it is cleared away at the end."""
    node = Gated(folder, [pacs.destination(commitment="required")], before=before, **settings)
    pacs.knows(node.port, AE_TITLE)
    try:
        yield node
    finally:
        node.clear_away()


def settle(
    node: Serve,
    pacs: Pacs,
    sent: Mapping[str, Path],
    tally: Tally,
    fault: str,
    *,
    injected: int,
    fired: int,
    began: float,
) -> None:
    """Open the gate, wait until nothing is left to do, and reckon with everything that was acknowledged."""
    if isinstance(node, Gated):
        node.open_gate()
    node.wait(lambda: drained(node))
    held = [path.read_bytes() for path in pacs.kept.values()]
    seconds = time.monotonic() - began
    reckon(node, sent, held).settle(tally, fault, injected=injected, fired=fired, seconds=seconds)
