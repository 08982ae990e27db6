"""What every test may ask for: real peers, the real radiographs, and a radiograph of its own.

A peer or a folder that is not there skips the test and says why; with --require-peers (as in CI) it fails it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cxrnode.phantom import Phantom, Radiograph, write
from tests import checkers, peers
from tests.tally import Tally

_SMALL = 128
"""Rows and columns of a radiograph where nothing depends on its size."""

_TALLY = Tally()


def pytest_configure() -> None:
    """Give SIGINT back its meaning where a shell started the tests in the background: what they start inherits it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --require-peers, --long, --tally and --screenshots."""
    parser.addoption("--long", action="store_true", help="run the long form of the fault, fuzz and soak suites")
    parser.addoption("--tally", type=Path, help="the file that keeps the fault suites' counts, as JSON")
    parser.addoption(
        "--require-peers",
        action="store_true",
        help="fail, instead of skipping, where a real peer or the real radiographs are missing",
    )
    parser.addoption(
        "--screenshots", type=Path, help="the folder that keeps what a viewer showed (default: below pytest's own)"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only the long form has: `make test` is no place for an hour."""
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what the fault suites counted."""
    if _TALLY.counts:
        terminalreporter.section("faults")
        terminalreporter.write_line(_TALLY.table())
        kept = config.getoption("--tally")
        if kept:
            _TALLY.write(kept)


@pytest.fixture(scope="session")
def tally() -> Tally:
    """Count faults: `tally.add("disk full", injected=1, fired=1, instances=12, lost=0, doubled=0)`."""
    return _TALLY


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether the long form of a suite was asked for: `rounds = 1000 if long else 10`."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def lacking(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Skip, or fail under --require-peers, because something is missing."""

    def lack(reason: str) -> None:
        if request.config.getoption("--require-peers"):
            pytest.fail(f"{reason}, and --require-peers was given", pytrace=False)
        pytest.skip(reason)

    return lack


@pytest.fixture(scope="session")
def needs(lacking: Callable[[str], None]) -> Callable[..., None]:
    """Say which programs a test needs: `needs("storescu", "dcmsend")`."""

    def need(*programs: str) -> None:
        for name in programs:
            try:
                peers.program(name)
            except peers.Missing as missing:
                lacking(str(missing))

    return need


@pytest.fixture(scope="session")
def checked(lacking: Callable[[str], None]) -> Callable[..., Any]:
    """Call a checker or an independent reader: `checked(checkers.dcmqi_areas, path)`."""

    def call(checker: Callable[..., Any], *paths: Path) -> Any:
        try:
            return checker(*paths)
        except checkers.ToolMissing as missing:
            return lacking(f"{missing} is not installed")

    return call


@pytest.fixture
def orthanc(needs: Callable[..., None], tmp_path: Path) -> Iterator[peers.Orthanc]:
    """A real Orthanc, AE title PACS, with an empty database; tell it our node with `orthanc.knows`."""
    needs("Orthanc")
    with peers.start_orthanc(tmp_path / "orthanc") as running:
        yield running


@pytest.fixture
def storescp(needs: Callable[..., None], tmp_path: Path) -> Callable[..., AbstractContextManager[int]]:
    """DCMTK's storescp, ready to start: `with storescp("--abort-during") as port:`; it writes below `tmp_path/scp`."""
    needs("storescp")
    return lambda *flags: peers.start_storescp(tmp_path / "scp", *flags)


@pytest.fixture
def storescp_taking(needs: Callable[..., None], tmp_path: Path) -> Callable[..., AbstractContextManager[int]]:
    """DCMTK's storescp that takes only some SOP classes: `with storescp_taking(uid, uid) as port:`."""
    needs("storescp")
    return lambda *classes: peers.storescp_taking(tmp_path / "scp", classes)


@pytest.fixture(scope="session")
def data(lacking: Callable[[str], None]) -> Path:
    """The folder of real radiographs: CXRNODE_DATA, or ../shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CXRNODE_DATA") or beside)
    if not folder.is_dir():
        lacking("the real radiographs are not here: set CXRNODE_DATA to their folder")
    return folder


@pytest.fixture
def radiograph(tmp_path: Path) -> Callable[..., tuple[Path, Phantom]]:
    """Make a small radiograph: `path, phantom = radiograph(seed=2, transfer_syntax=...)`."""
    folder = tmp_path / "radiographs"
    folder.mkdir()

    def make(**specification: Any) -> tuple[Path, Phantom]:
        path = folder / f"{len(list(folder.iterdir()))}.dcm"
        return path, write(Radiograph(**{"rows": _SMALL, "cols": _SMALL} | specification), path)

    return make
