"""What the fault suites tried, and what came of it: counts, printed at the end of a run and kept with --tally FILE.

A fault that did not fire proves nothing, so each is counted where it was injected and where it was seen. `lost` counts
received instances, or evidence of theirs, that are nowhere at the end; `doubled`, objects that are there twice or under
one UID with two contents.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(slots=True)
class Count:
    """One fault's counts, over all tests that inject it."""

    injected: int = 0
    fired: int = 0
    instances: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0


class Tally:
    """The counts of a run, by the fault's name."""

    def __init__(self) -> None:
        """Begin with none."""
        self.counts: dict[str, Count] = {}

    def add(self, fault: str, **counted: float) -> None:
        """Add to a fault's counts: the fields of `Count` by name."""
        count = self.counts.setdefault(fault, Count())
        for name, number in counted.items():
            setattr(count, name, getattr(count, name) + number)

    def table(self) -> str:
        """Give the counts as a Markdown table."""
        rows = ["| fault | injected | fired | instances | lost | doubled | seconds |", "|---|---|---|---|---|---|---|"]
        for fault, c in sorted(self.counts.items()):
            rows.append(
                f"| {fault} | {c.injected} | {c.fired} | {c.instances} | {c.lost} | {c.doubled} | {c.seconds:.0f} |"
            )
        return "\n".join(rows)

    def write(self, path: Path) -> None:
        """Keep the counts as JSON."""
        path.write_text(json.dumps({fault: asdict(count) for fault, count in sorted(self.counts.items())}, indent=2))
