"""The progress bar of a replay: rate, time left, and nothing where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from cxrnode.replay import Stand


@contextmanager
def progress_bar(*, silent: bool) -> Iterator[Callable[[Stand], None]]:
    """Give what to call with where the replay stands; it draws on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=silent) as progress:
        reading = progress.add_task("reading", total=None, rate="")
        running = progress.add_task("studies", total=None, rate="", start=False)

        def report(stand: Stand) -> None:
            progress.update(reading, completed=stand.files, total=stand.files_found or None)
            if stand.jobs:
                progress.start_task(running)
                speed = progress.tasks[running].speed
                rate = f"{speed:.1f} a second" if speed else ""
                progress.update(running, completed=stand.jobs_done, total=stand.jobs, rate=rate)

        yield report
