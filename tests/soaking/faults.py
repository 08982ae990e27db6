"""The faults of a soak: each is put in, seen to fire, and mended.

Promises that after each the node runs again, and a count of what was injected and what was seen.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tests.end_to_end.processes import Serve
from tests.faults.disks import Disk
from tests.faults.mortal import Mortal
from tests.soaking.traffic import Senders


class Faults:
    """Everything that is to go wrong, one thing at a time."""

    def __init__(self, node: Serve, archive: Mortal, senders: Senders, disk: Disk | None, *, seed: int) -> None:
        """Inject nothing yet. Without a disk of its own none is filled."""
        self._node, self._archive, self._senders, self._disk = node, archive, senders, disk
        self._chance = random.Random(seed)
        self.injected: Counter[str] = Counter()
        self.fired: Counter[str] = Counter()
        self.kills_of_archive: list[datetime] = []

    def inject(self, *, restarts: bool) -> str:
        """Inject one, and mend it; give its name. `restarts`: also such as end the node or its child."""
        names = [name for name in _FAULTS if restarts or name not in _RESTARTS]
        name = self._chance.choice([name for name in names if self._disk or name != "disk full"])
        self.injected[name] += 1
        self.fired[name] += bool(_FAULTS[name](self))
        return name

    def kill_node(self) -> bool:
        """SIGKILL, and start again."""
        self._node.kill()
        self._node.start()
        return True

    def stop_node(self) -> bool:
        """SIGTERM, and start again."""
        code = self._node.terminate()
        self._node.start()
        return code == 0

    def kill_child(self) -> bool:
        """SIGKILL the models."""
        before = len(self._node.events("child_lost"))
        children = [pid for pid in self._node.processes() if pid != self._node.pid]
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if children:
            self._node.wait(lambda: len(self._node.events("child_lost")) > before)
        return bool(children)

    def kill_archive(self) -> bool:
        """SIGKILL Orthanc, and start it again a while later."""
        self.kills_of_archive.append(datetime.now(UTC))
        self._archive.kill()
        _pause(self._chance.uniform(1, 20))
        self._archive.start()
        return True

    def stop_archive(self) -> bool:
        """SIGSTOP Orthanc for a while."""
        self._archive.signal(signal.SIGSTOP)
        _pause(self._chance.uniform(1, 20))
        stopped = Path(f"/proc/{self._archive.running.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
        self._archive.signal(signal.SIGCONT)
        return stopped

    def fill_disk(self) -> bool:
        """Fill it to its last byte for a while."""
        assert self._disk
        refused = self._senders.said.answers[0xA700]
        ballast = self._disk.fill()
        _pause(10)
        ballast.unlink()
        return self._senders.said.answers[0xA700] > refused


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


_FAULTS: Mapping[str, Callable[[Faults], bool]] = {
    "node killed": Faults.kill_node,
    "node stopped": Faults.stop_node,
    "child killed": Faults.kill_child,
    "archive killed": Faults.kill_archive,
    "archive stopped": Faults.stop_archive,
    "disk full": Faults.fill_disk,
}
_RESTARTS = {"node killed", "node stopped", "child killed"}
