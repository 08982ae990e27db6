"""OHIF with a study open: opens its series as a radiologist does, and lists what is not as it was written.

Hides the page. Promises that a check waits for what it wants to see, not for a time, and that its list is empty only
where image, segmentations and report are all shown and the console is without an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from tests import npm
from tests.viewer import browser, front, shown
from tests.viewer.written import reported, segmented
from tests.waiting import wait_for

OHIF = npm.Package(
    name="@ohif/app",
    version="3.13.2",
    sha512="WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==",
    inside="package/dist/",
)
"""The prebuilt viewer, as its makers publish it."""

SECONDS = 45.0
"""How long a thing may take to be shown before it counts as not shown."""

_ASKING = Path(__file__).with_name("asking.js").read_text()
_TOURS = "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What lies in the archive: one source, how it is to be seen (0 black to 1 white), and what we wrote of it."""

    name: str
    source: Path
    display: NDArray[np.float32]
    segmentations: tuple[Path, ...] = ()
    report: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that has to be in the archive."""
        return (self.source, *self.segmentations, *([self.report] if self.report else []))


class Viewer:
    """An open browser before a served OHIF."""

    def __init__(self, window: browser.Browser, address: str, screenshots: Path) -> None:
        """Look through `window` at the viewer of `address`; pictures go to the folder `screenshots`."""
        self._window, self._address, self._screenshots = window, address, screenshots
        window.open(f"{address}/app-config.js")  # a page of the same origin, to say that the tour was seen
        window.ask(_TOURS)

    def objections(self, study: Study, seconds: float = SECONDS) -> list[str]:
        """Open the study, its SEGs and its SR one after the other; give everything that is not as it was written.

        A report without regions has to be readable.
        """
        self._window.console()
        self._window.open(self._page_of(study))
        found = self._look(f"{study.name}-image", lambda: self._picture(study), seconds)
        for path in study.segmentations:
            found += self._segmentation(study.name, path, seconds)
        if study.report is not None:
            found += self._report(study.name, study.report, seconds)
        return found

    def listed(self, study: Study) -> dict[str, str]:
        """Open the study; give what the list says of each series, by Series Instance UID."""
        self._window.open(self._page_of(study))
        wanted = {str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID) for path in study.files}
        said: dict[str, str] = {}

        def look() -> list[str]:
            said.update({each["series"]: each["text"] for each in self._ask("listed")})
            return [f"{uid} is not listed" for uid in wanted - set(said)]

        _patiently(look, SECONDS)
        self._window.screenshot(self._screenshots / f"{study.name}-listed.png")
        return said

    def _page_of(self, study: Study) -> str:
        uid = pydicom.dcmread(study.source, stop_before_pixels=True).StudyInstanceUID
        return f"{self._address}/viewer?StudyInstanceUIDs={uid}"

    def _picture(self, study: Study) -> list[str]:
        image = self._ask("image")
        return list(shown.picture_objections(image, study.display, lambda points: self._ask("colours", points)))

    def _segmentation(self, name: str, path: Path, seconds: float) -> list[str]:
        wanted = segmented(path)

        def look() -> list[str]:
            held = self._ask("segmentations")
            return list(shown.segmentation_objections(wanted, held, lambda points: self._ask("colours", points)))

        opened = self._open_series(wanted.series_uid, seconds)
        return opened or self._look(f"{name}-{_file_name(wanted.label)}", look, seconds)

    def _report(self, name: str, path: Path, seconds: float) -> list[str]:
        wanted = reported(path)

        def look() -> list[str]:
            if not wanted.regions:
                return list(shown.text_objections(wanted.said, self._ask("read")))
            held, drawn = self._ask("regions"), self._ask("drawn")
            return list(shown.report_objections(wanted.regions, held, drawn))

        opened = self._open_series(wanted.series_uid, seconds)
        return opened or self._look(f"{name}-report", look, seconds)

    def _open_series(self, series_uid: str, seconds: float) -> list[str]:
        """Press the series' thumbnail twice."""

        def look() -> list[str]:
            name = self._ask("series").get(series_uid)
            return [] if name else [f"the series {series_uid} is not listed"]

        missing = _patiently(look, seconds)
        if not missing:
            self._window.double_click(*self._ask("thumbnail", self._ask("series")[series_uid]))
        return missing

    def _look(self, name: str, look: Callable[[], list[str]], seconds: float) -> list[str]:
        found = _patiently(look, seconds)
        self._window.screenshot(self._screenshots / f"{name}.png")
        errors = [message["message"] for message in self._window.console() if message["level"] == "SEVERE"]
        return [f"{name}: {each}" for each in (*found, *(f"console: {error[:300]}" for error in errors))]

    def _ask(self, question: str, *arguments: object) -> Any:
        return self._window.ask(_ASKING, question, *arguments)


def _patiently(look: Callable[[], list[str]], seconds: float) -> list[str]:
    """Look until there is nothing to object to, or the time is over; give the last objections."""
    found: list[str] = []

    def content() -> bool:
        nonlocal found
        try:
            found = look()
        except browser.PageFailed as failure:
            found = [f"the page cannot say: {failure}"]
        return not found

    with suppress(TimeoutError):
        wait_for(content, seconds)
    return found


def _file_name(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


@contextmanager
def viewing(archive_port: int, folder: Path, screenshots: Path) -> Iterator[Viewer]:
    """Serve OHIF before an archive and open a browser; Missing where OHIF or Chromium is not to be had."""
    files = OHIF.folder()
    screenshots.mkdir(parents=True, exist_ok=True)
    with front.serving(files, archive_port) as address, browser.chromium(folder / "chromedriver.log") as window:
        yield Viewer(window, address, screenshots)
