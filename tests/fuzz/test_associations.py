"""Peers that do not keep to the protocol, over real sockets, while others do.

Whatever is sent, the association ends, its thread, its file descriptors and its `*.part` files go, nothing is answered
with Success that has no row, and honest senders beside it get Success all the while.
"""

from __future__ import annotations

import gc
import mmap
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cxrnode.dimse.listener import Door, Listener
from cxrnode.dimse.server import Limits
from cxrnode.errors import Retryable
from cxrnode.phantom import Radiograph, write
from cxrnode.testing import send
from tests.bench import Bench
from tests.fakes.door import NODE
from tests.fuzz import elements, wire
from tests.fuzz.mutations import HOSTILE, LENGTHS, mutated
from tests.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore")

AT_ONCE = 6
IDLE_SECONDS = 0.7
MOST_GROWTH = 100 << 20
"""Bytes, after all have gone: pools and caches that fill once, whatever the number of inputs."""
MARGIN = 6
"""Threads and descriptors that come and go with the test itself."""


class Node:
    """A listener on a real archive and ledger, and an honest sender that goes on all the while."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.folder, self.opened, self.ended = folder, 0, 0
        self.honest: list[int] = []
        self.lost: list[str] = []
        self._stop, self._lock = threading.Event(), threading.Lock()
        limits = Limits(associations=4 * AT_ONCE, negotiation_seconds=IDLE_SECONDS, idle_seconds=IDLE_SECONDS)
        self.listener = Listener(
            Door(ae_title=NODE, port=0, limits=limits),
            incoming=self.bench.archive.incoming,
            receive=self.bench.line.receive,
            report=lambda report: self.bench.line.confirm(report.transaction_uid, report.committed, report.failed),
            association_opened=lambda _: self._count("opened"),
            association_ended=self._end,
        )

    def _count(self, what: str) -> None:
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)

    def _end(self, association: str) -> None:
        self.bench.line.association_ended(association)
        self._count("ended")

    @property
    def port(self) -> int:
        return self.listener.port

    def rows(self) -> set[str]:
        """Give the SOP Instance UIDs of all rows."""
        return {view.sop_instance_uid for view in self.bench.ledger.outcomes()}

    def serve_the_honest(self) -> None:
        """Push a film again and again, and remember why one was lost."""
        path = self.folder / "honest.dcm"
        write(Radiograph(rows=64, cols=64), path)
        while not self._stop.wait(0.05):
            try:
                self.honest += send([path], ("127.0.0.1", self.port, NODE))
            except Retryable as error:
                self.lost.append(str(error))

    def stop(self) -> None:
        self._stop.set()


def open_handles() -> int:
    """Give how many sockets and unfinished files this process holds open (proc(5)); the ledger's are its own."""
    links = []
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.append(str(handle.readlink()))
    return sum(link.startswith("socket:") or ".part" in link for link in links)


def resident() -> int:
    """Give the bytes of memory that this process holds (proc(5))."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


@contextmanager
def running(folder: Path) -> Iterator[Node]:
    """Run a node; when the `with` ends it is as it was before anybody came, and nobody honest was turned away."""
    node = Node(folder)
    node.listener.start()
    threads, handles, held = threading.active_count(), open_handles(), resident()
    honest = threading.Thread(target=node.serve_the_honest)
    honest.start()
    try:
        wait_for(lambda: node.honest, 20)
        yield node
    finally:
        node.stop()
        honest.join(30)
        try:
            wait_for(lambda: node.opened == node.ended, 20)
            wait_for(lambda: threading.active_count() <= threads + MARGIN, 20)
            gc.collect()
            wait_for(lambda: open_handles() <= handles + MARGIN, 20)
            assert not list(node.bench.archive.incoming.iterdir())
            assert resident() - held < MOST_GROWTH
            assert node.honest
            assert not node.lost
            assert set(node.honest) == {0}
        finally:
            node.listener.stop(grace_seconds=0)
            node.bench.ledger.shut()


Speech = tuple[bytes, bytes]
"""What is sent at once, and what is sent after a first answer."""


ENDS = {3: "rejected", 7: "aborted", 6: "released", 4: "answered", 2: "accepted"}
"""What became of an association, by the types of the PDUs that came: the first that is there counts."""


def uid(dice: random.Random) -> str:
    """Give a new UID."""
    return f"1.2.3.{dice.getrandbits(60)}"


def film(name: str, *, study: str = "1.2.4") -> bytes:
    """Give a data set of this SOP Instance UID."""
    return elements.header(study=study, sop_instance=name, more=elements.image()) + elements.pixels()


def _any_bytes(dice: random.Random) -> Speech:
    return dice.choice((b"", wire.associate())), dice.randbytes(dice.choice((0, 1, 5, 6, 7, 100, 5000)))


def _broken_request(dice: random.Random) -> Speech:
    return mutated(dice, wire.associate()), dice.choice((b"", wire.ECHO, wire.RELEASE))


def _mended_length(dice: random.Random) -> Speech:
    """A mutated request whose own length is right, so that its items are read."""
    return wire.pdu(1, mutated(dice, wire.associate()[6:])), dice.choice((b"", wire.ECHO, wire.RELEASE))


def _absurd_request(dice: random.Random) -> Speech:
    """Contexts without end or sense, user information without end, unknown items."""
    several = [wire.context(n & 0xFF, elements.CR, ["1.2.840.10008.1.2.1"] * (n % 4)) for n in range(1, 600)]
    return dice.choice(
        (
            wire.associate(several[: dice.choice((0, 1, 128, 129, 255, 599))]),
            wire.associate([wire.context(1, "1.2." + "9" * dice.choice((60, 61, 400, 60000)), ["1.2.840.10008.1.2"])]),
            wire.associate([wire.context(dice.randrange(256), dice.choice(("", "x", "..", "1.2\0")), [""])]),
            wire.associate(user=wire.USER + wire.item(dice.randrange(256), dice.randbytes(dice.choice((0, 3, 60000))))),
            wire.associate(user=wire.USER * dice.choice((2, 1500))),
            wire.associate(user=b""),
            wire.associate(user=wire.USER + wire.item(0x58, dice.randbytes(dice.choice((1, 4, 40))))),
            wire.associate(more=wire.item(dice.randrange(256), b"x" * dice.choice((0, 65535)))),
            wire.associate(called=dice.choice((b"", b"\0" * 16, b"\xff" * 16, b"OTHER", b"CXR\\NODE", b"\x1b[2J"))),
            wire.associate() + wire.associate(),
            wire.associate()[:6] + struct.pack(">H", dice.choice(LENGTHS) & 0xFFFF) + wire.associate()[8:],
        )
    ), dice.choice((b"", wire.ECHO, wire.RELEASE))


def _broken_data(dice: random.Random) -> Speech:
    name = uid(dice)
    return wire.associate(), mutated(dice, wire.store(wire.store_fields(name), film(name))) + wire.RELEASE


def _broken_data_set(dice: random.Random) -> Speech:
    """A sound C-STORE of a mutated data set, in fragments of any size."""
    name, context_id = uid(dice), dice.choice((1, 1, 7, 9))
    damaged = mutated(dice, film(name), first=dice.choice((0, 60)))
    return wire.associate(), wire.store(
        wire.store_fields(name), damaged, context_id=context_id, size=dice.choice((7, 100, 8000, 8000))
    ) + wire.RELEASE


def _broken_command(dice: random.Random) -> Speech:
    """A command set with elements missing, of wrong lengths, or of other groups."""
    name = uid(dice)
    fields = wire.store_fields(name)
    for _ in range(dice.randint(1, 3)):
        number = dice.choice([*fields, 0x0003, 0x0120, 0x0900, 0x1001, 0x1002, 0x1008, 0x5010])
        fields[number] = dice.choice((0, 1, 0x0101, 0xFFFF, b"", b"\1", b"\0" * 200, "1.2", "9" * 65, *HOSTILE))
        if dice.random() < 0.3:
            del fields[number]
    body = wire.command(fields, group=dice.choice((0, 0, 0, 2, 8, 0xFFFF)))
    body = mutated(dice, body) if dice.random() < 0.3 else body
    return wire.associate(), b"".join(
        (wire.p_data(wire.fragment(1, 3, body)), wire.p_data(wire.fragment(1, 2, film(name))), wire.RELEASE)
    )


def _disorder(dice: random.Random) -> Speech:
    """Sound pieces in any order, on any context, with any control byte, twice or not at all."""
    name = uid(dice)
    body, data_set = wire.command(wire.store_fields(name)), film(name)
    pieces = [
        wire.fragment(dice.choice((1, 1, 2, 3, 5, 99, 255)), dice.choice((0, 1, 2, 3, 3, 0xFF)), piece)
        for piece in (body, body[:20], body[20:], data_set, data_set[:50], data_set[50:], b"")
    ]
    pieces += [wire.fragment(1, 3, body, length=dice.choice((0, 1, 2, *LENGTHS)))]
    said = [wire.p_data(*dice.sample(pieces, dice.randint(0, 3))) for _ in range(dice.randint(1, 4))]
    said += dice.sample([wire.ECHO, wire.RELEASE, wire.RELEASE_ANSWER, wire.ABORT, wire.associate()], 2)
    dice.shuffle(said)
    return wire.associate(), b"".join(said)


def _any_pdu(dice: random.Random) -> Speech:
    """PDUs of every type, at any time, with any length."""
    value = dice.randbytes(dice.choice((0, 1, 4, 10, 68, 200)))
    strange = wire.pdu(dice.randrange(256), value, length=dice.choice((None, None, None, *LENGTHS)))
    before, after = dice.choice((b"", wire.ECHO)), dice.choice((b"", wire.ECHO))
    return dice.choice((b"", wire.associate())), before + strange + after


def _cut_off(dice: random.Random) -> Speech:
    """A sound C-STORE that ends anywhere."""
    name = uid(dice)
    said = wire.store(wire.store_fields(name), film(name), size=100) + wire.RELEASE
    return wire.associate(), said[: dice.randrange(len(said))]


def _other_requests(dice: random.Random) -> Speech:
    """N-EVENT-REPORT, N-ACTION, C-CANCEL, C-FIND and numbers that are no request, with a data set or none."""
    report = struct.pack("<HHL", 8, 0x1195, 6) + b"1.2.3\0"
    fields: dict[int, bytes | int | str] = {
        0x0002: wire.COMMITMENT, 0x0100: dice.choice((wire.N_EVENT_REPORT, wire.N_EVENT_REPORT, wire.N_ACTION,
        wire.C_CANCEL, 0x0020, 0x0010, 0x0021, 0x0110, 0x0120, 0x0140, 0x0150, 0x8030, 0x8001, 0x7777)),
        0x0110: 7, 0x0120: 7, 0x0800: dice.choice((1, 0x0101)), 0x1000: "1.2.840.10008.1.20.1.1",
        0x1002: dice.choice((1, 2, 3)), 0x0900: 0,
    }  # fmt: skip
    body = wire.command(fields)
    if dice.random() < 0.5:
        body = mutated(dice, body, most=2)
    data = mutated(dice, report) if dice.random() < 0.7 else report
    return wire.associate(), (
        wire.p_data(wire.fragment(5, 3, body)) * dice.choice((1, 1, 5))
        + wire.p_data(wire.fragment(5, 2, data))
        + wire.RELEASE
    )


SPEAKERS: dict[str, Callable[[random.Random], Speech]] = {
    "any bytes": _any_bytes,
    "broken association requests": _broken_request,
    "broken items": _mended_length,
    "absurd association requests": _absurd_request,
    "broken P-DATA": _broken_data,
    "broken data sets": _broken_data_set,
    "broken commands": _broken_command,
    "fragments in disorder": _disorder,
    "PDUs of every type": _any_pdu,
    "cut off anywhere": _cut_off,
    "other requests": _other_requests,
}


UNENDING = {"any bytes", "broken association requests", "broken P-DATA", "PDUs of every type", "cut off anywhere"}
"""Most of what these say has no end that a node could see: waiting for its limits each time would take hours."""


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_a_peer_that_breaks_the_protocol_harms_nobody(
    speaker: str, inputs: Callable[[int, int], int], tried: Callable[[str, str], None], tmp_path: Path
) -> None:
    """Each ends within its limits; what it was answered Success for has a row; the honest are served meanwhile."""
    dice = random.Random(f"associations {speaker}")
    afterwards = ("shut", *(("shut",) * 12 if speaker in UNENDING else ("wait",) * 6), "wait", "reset")
    count = inputs(20, 1500)
    said = [(SPEAKERS[speaker](dice), dice.choice(afterwards)) for _ in range(count)]
    with running(tmp_path) as node:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            heard = list(pool.map(lambda each: wire.say(node.port, *each[0], then=each[1]), said))
        answered = {name for one in heard for name, status in one.stored if status == 0}
        assert answered <= node.rows()
        for one in heard:
            for _, status in one.stored:
                tried("objects on associations", f"answered 0x{status:04X}")
            tried("associations", next((end for kind, end in ENDS.items() if kind in one.pdus), "closed in silence"))


def _endless_command() -> Iterator[bytes]:
    """Fragments of a command, none of them the last."""
    yield from (wire.p_data(wire.fragment(1, 1, bytes(60_000))) for _ in range(1100))


def _endless_data_of_an_echo() -> Iterator[bytes]:
    """A C-ECHO that says it has a data set, which is never ended."""
    yield wire.p_data(wire.fragment(3, 3, wire.command({2: wire.VERIFICATION, 0x100: wire.C_ECHO, 0x110: 1, 0x800: 1})))
    yield from (wire.p_data(wire.fragment(3, 0, bytes(60_000))) for _ in range(1100))


def _data_before_any_command() -> Iterator[bytes]:
    """Fragments of a data set that belongs to no command."""
    yield from (wire.p_data(wire.fragment(1, 0, bytes(60_000))) for _ in range(1100))


def _requests_without_end() -> Iterator[bytes]:
    """Twenty thousand C-ECHOs, and no look at their answers."""
    yield from (wire.ECHO * 100 for _ in range(200))


def _reports_without_end() -> Iterator[bytes]:
    """Thousands of commitment reports at once, each of which pynetdicom would serve in a thread of its own."""
    fields = {2: wire.COMMITMENT, 0x100: wire.N_EVENT_REPORT, 0x110: 1, 0x800: 1, 0x1000: "1.2.840.10008.1.20.1.1"}
    report = wire.p_data(wire.fragment(5, 3, wire.command({**fields, 0x1002: 1})))
    report += wire.p_data(wire.fragment(5, 2, struct.pack("<HHL", 8, 0x1195, 6) + b"1.2.3\0"))
    yield from (report * 50 for _ in range(100))


ENDLESS = (
    _endless_command,
    _endless_data_of_an_echo,
    _data_before_any_command,
    _requests_without_end,
    _reports_without_end,
)


@pytest.mark.parametrize("endless", ENDLESS)
def test_what_never_ends_is_not_kept_in_memory(
    endless: Callable[[], Iterator[bytes]], tried: Callable[[str, str], None], tmp_path: Path
) -> None:
    """Sixty megabytes, or thousands of requests: the association ends or its sender waits; nothing grows."""
    with running(tmp_path) as node, socket.create_connection(("127.0.0.1", node.port), timeout=3) as peer:
        peer.sendall(wire.associate())
        assert peer.recv(65536)[:1] == b"\2"
        threads, held = threading.active_count(), resident()
        most = (0, 0)
        with suppress(OSError):
            for piece in endless():
                peer.sendall(piece)
                most = max(most[0], threading.active_count() - threads), max(most[1], resident() - held)
        assert most[0] < 20
        assert most[1] < 40 << 20
        tried("associations", "without end")


def test_a_sound_peer_is_understood(tmp_path: Path) -> None:
    """The control: what the speakers damage is, undamaged, stored, echoed and released."""
    with running(tmp_path) as node:
        said = wire.store(wire.store_fields("1.2.3.9"), film("1.2.3.9"))
        heard = wire.say(node.port, wire.associate(), said + wire.RELEASE, then="wait")
        assert (heard.stored, heard.pdus) == ([("1.2.3.9", 0)], [2, 4, 6])
        assert wire.say(node.port, wire.associate(), wire.ECHO + wire.RELEASE, then="wait").echoed == 1
        assert "1.2.3.9" in node.rows()
