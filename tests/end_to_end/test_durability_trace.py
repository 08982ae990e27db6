"""The order of system calls from the last byte of a C-STORE to its response: law 1, as the kernel sees it.

A kill cannot show a missing fsync, because the kernel keeps what the process wrote. So the real process runs under
strace, one film is pushed, and the trace is held against the order that survives a power cut: the file's bytes, its
name, the folder of that name, the ledger's commit, and only then the response on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cxrnode.phantom import Radiograph, write
from tests import peers
from tests.end_to_end.processes import Serve
from tests.tracing import Call, calls_of, is_store_response

pytestmark = pytest.mark.peers

CALLS = "openat,mkdir,mkdirat,fsync,fdatasync,rename,renameat,renameat2,link,linkat,pwrite64,write,sendto,sendmsg"


class OutOfOrder(AssertionError):
    """The trace does not show what a power cut would need."""


def check_order(calls: Sequence[Call], *, uid: str, state: Path, port: int) -> None:
    """Hold the trace of one received instance against law 1. OutOfOrder names the step that is missing."""
    wal = f"{state}/ledger.sqlite-wal"
    response = _only(calls, "the C-STORE response", lambda c: is_store_response(c, port))
    before = [call for call in calls if call.ended < response.began]
    rename = _only(before, "rename to the final name before the response", lambda c: _is_keeping(c, uid, state))
    part, final = rename.paths[0], rename.paths[-1]
    wrote = _last(before, "a write to the received file", lambda c: c.name == "write" and c.paths[:1] == (part,))
    _some(before, "fsync of the received file before its rename", _fsync(part, after=wrote, until=rename))
    folder = _some(before, "fsync of the folder after the rename", _fsync(str(Path(final).parent), after=rename))
    row = _some(before, "the row in the ledger's log, after the folder", _is_row(wal, uid, folder))
    last = _last(before, "a write to the ledger's log", lambda c: _writes(c, wal))
    _some(before, "fsync of the ledger's log after its last write", _fsync(wal, after=max(row, last, key=_began)))
    _check_folders(before, state)


def _check_folders(before: Sequence[Call], state: Path) -> None:
    """Every folder and every ledger file that was made has its name on disk: fsync of the folder that it is in."""
    made = [(c, c.paths[-1]) for c in before if c.name in {"mkdir", "mkdirat"}]
    made += [(c, c.paths[-1]) for c in before if c.name == "openat" and "O_CREAT" in c.arguments]
    # SQLite opens with O_CREAT each time; only the first time makes the name.
    first = {path: call for call, path in reversed(made)}
    for path, call in first.items():
        below = path == str(state) or path.startswith(f"{state}/")
        if below and not path.endswith((".part", "-shm", ".lock")):
            parent = str(Path(path).parent)
            _some(before, f"fsync of the folder of {Path(path).name}", _fsync(parent, after=call))


def _is_keeping(call: Call, uid: str, state: Path) -> bool:
    names = {"rename", "renameat", "renameat2", "link", "linkat"}
    return call.name in names and call.paths[-1].startswith(f"{state}/spool/sources/") and uid in call.paths[-1]


def _fsync(path: str, *, after: Call, until: Call | None = None) -> Callable[[Call], bool]:
    def is_it(call: Call) -> bool:
        in_time = call.began > after.ended and (until is None or call.ended < until.began)
        return call.name in {"fsync", "fdatasync"} and call.paths[:1] == (path,) and in_time

    return is_it


def _writes(call: Call, path: str) -> bool:
    return call.name in {"write", "pwrite64"} and call.paths[:1] == (path,)


def _is_row(wal: str, uid: str, folder: Call) -> Callable[[Call], bool]:
    return lambda call: _writes(call, wal) and call.began > folder.ended and uid.encode() in call.bytes


def _began(call: Call) -> int:
    return call.began


def _some(calls: Sequence[Call], step: str, is_it: Callable[[Call], bool]) -> Call:
    for call in calls:
        if is_it(call):
            return call
    raise OutOfOrder(f"missing: {step}")


def _last(calls: Sequence[Call], step: str, is_it: Callable[[Call], bool]) -> Call:
    return _some(list(reversed(calls)), step, is_it)


def _only(calls: Sequence[Call], step: str, is_it: Callable[[Call], bool]) -> Call:
    found = [call for call in calls if is_it(call)]
    if len(found) != 1:
        raise OutOfOrder(f"not once but {len(found)} times: {step}")
    return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What one push of one film looked like to the kernel."""

    trace: str
    uid: str
    state: Path
    port: int

    def check(self, calls: Sequence[Call] | None = None) -> None:
        """Check this trace, or these calls in its stead."""
        check_order(calls_of(self.trace) if calls is None else calls, uid=self.uid, state=self.state, port=self.port)


@pytest.fixture(scope="module")
def traced(
    needs: Callable[..., None], lacking: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> Traced:
    """Run `serve` under strace on a new state folder, push one film with DCMTK's storescu, give the trace."""
    needs("strace", "storescu")
    if peers.run("strace", "-f", "-o", "/dev/null", "true", check=False).returncode:
        lacking("strace may not trace processes here (a container without SYS_PTRACE)")
    folder = tmp_path_factory.mktemp("traced")
    film, trace = folder / "film.dcm", folder / "trace"
    uid = str(write(Radiograph(rows=64, cols=64), film).dataset.SOPInstanceUID)
    strace = (peers.program("strace"), "-f", "-yy", "-s", "8192", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", trace)
    node = Serve(folder / "node", before=[str(each) for each in strace], STUDIES__QUIET_SECONDS="60")
    try:
        node.start()
        peers.run("storescu", "-aec", "CXRNODE", "127.0.0.1", node.port, film)
    finally:
        _stop(node)
    return Traced(trace=trace.read_text(errors="replace"), uid=uid, state=node.state, port=node.port)


def _stop(node: Serve) -> None:
    """Kill node and child: strace ends with them, and has written everything then."""
    node.clear_away()


def test_instance_is_acknowledged_only_after_it_is_on_disk(traced: Traced) -> None:
    """File, name, folder, ledger, response: in this order, in a trace of the real process."""
    traced.check()


def test_trace_without_any_one_step_is_found_out(traced: Traced) -> None:
    """Negative control: the checker refuses the same trace with any one of the steps taken out."""
    calls = calls_of(traced.trace)
    traced.check(calls)
    wal = f"{traced.state}/ledger.sqlite-wal"
    response = next(call for call in calls if is_store_response(call, traced.port))
    rename = next(call for call in calls if _is_keeping(call, traced.uid, traced.state))
    steps: dict[str, Callable[[Call], bool]] = {
        "fsync of the received file": lambda c: c.name == "fsync" and c.paths[:1] == (rename.paths[0],),
        "rename": lambda c: c is rename,
        "fsync of the folder": lambda c: c.name == "fsync" and c.paths[:1] == (str(Path(rename.paths[-1]).parent),),
        "fsync of the state folder's name": lambda c: c.name == "fsync" and c.paths[:1] == (str(traced.state.parent),),
        "the row": lambda c: _writes(c, wal) and traced.uid.encode() in c.bytes,
        "fsync of the ledger": lambda c: c.name in {"fsync", "fdatasync"} and c.paths[:1] == (wal,),
        "response": lambda c: c is response,
    }
    for name, is_it in steps.items():
        without = [call for call in calls if not is_it(call)]
        assert len(without) < len(calls), name
        with pytest.raises(OutOfOrder):
            traced.check(without)


def test_trace_with_an_early_response_is_found_out(traced: Traced) -> None:
    """Negative control: the checker refuses a trace whose response went out before the ledger's last fsync returned."""
    calls = calls_of(traced.trace)
    wal = f"{traced.state}/ledger.sqlite-wal"
    response = next(call for call in calls if is_store_response(call, traced.port))
    committed = [c for c in calls if c.name in {"fsync", "fdatasync"} and c.paths[:1] == (wal,)]
    last = max((c for c in committed if c.ended < response.began), key=_began)
    early = Call(
        name=response.name,
        began=last.began,
        ended=last.ended + 1,
        arguments=response.arguments,
        paths=response.paths,
        result=response.result,
    )
    with pytest.raises(OutOfOrder, match="ledger"):
        traced.check([early if call is response else call for call in calls])


def test_interrupted_calls_are_put_together() -> None:
    """A call that strace split because another thread ran in between is begun at its first line, done at its last."""
    trace = (
        '7 fsync(3</a/b> <unfinished ...>\n8 rename("/a/b", "/a/c") = 0\n'
        "7 <... fsync resumed>) = 0\n7 fsync(4</a>) = -1 EIO (Input/output error)\n"
    )
    rename, fsync = calls_of(trace)
    assert (rename.name, rename.paths) == ("rename", ("/a/b", "/a/c"))
    assert (fsync.name, fsync.began, fsync.ended, fsync.paths) == ("fsync", 0, 2, ("/a/b",))
