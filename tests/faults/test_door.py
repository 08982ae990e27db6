"""The door of a real node under load and under attack: strangers are refused and told once, and others are served."""

from __future__ import annotations

import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from cxrnode.phantom import Radiograph, render, write
from tests.end_to_end.processes import Serve
from tests.faults.strangers import ACCEPTED, HONEST, REJECTED, SLOW, STRANGER, UNLISTED, Stranger, store
from tests.faults.stubbed import ROOT, stub_serving
from tests.fuzz import wire
from tests.fuzz.elements import CR
from tests.tally import Tally
from tests.waiting import wait_for

IDLE = 2.0
LIMITS = {
    "LISTENER__CALLING_AE_TITLES": '["MODALITY"]',
    "LISTENER__ADDRESSES": '["127.0.0.0/24"]',
    "LISTENER__MAXIMUM_ASSOCIATIONS": "8",
    "LISTENER__MAXIMUM_PER_ADDRESS": "5",
    "LISTENER__NEGOTIATION_SECONDS": str(IDLE),
    "LISTENER__IDLE_SECONDS": str(IDLE),
    "LISTENER__SLOWEST_KB_PER_SECOND": "50",
    "LISTENER__LARGEST_OBJECT_MB": "20",
    "LISTENER__IN_FLIGHT_MB": "22",
    "WEB__ENABLED": "false",
}
SOON = IDLE * 2 + 3
"""Seconds. When who does not get on is gone at the latest: the limit is looked at over a whole window, then they have
two seconds to leave; and the machine may be busy."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """A node with small limits."""
    with stub_serving(tmp_path_factory.mktemp("door"), **LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Make another small film."""
    folder = tmp_path_factory.mktemp("films")

    def make() -> Path:
        number = len(list(folder.iterdir())) + 1
        write(Radiograph(rows=256, cols=256, seed=number), folder / f"{number}.dcm")
        return folder / f"{number}.dcm"

    return make


@pytest.fixture
def others(node: Serve, film: Callable[[], Path]) -> Callable[[], None]:
    """An honest sender is served now."""
    return lambda: _served(node, film())


def _served(node: Serve, path: Path) -> None:
    assert node.send([path]) == [0x0000]


class Counted:
    """The log of a node since a moment: how often something was refused, by reason."""

    def __init__(self, node: Serve, event: str = "association_refused") -> None:
        self._node, self._event, self._before = node, event, len(node.events(event))

    def lines(self, reason: str) -> list[dict[str, object]]:
        return [line for line in self._node.events(self._event)[self._before :] if reason in str(line["reason"])]

    def wait(self, reason: str, count: int = 1) -> list[dict[str, object]]:
        wait_for(lambda: len(self.lines(reason)) >= count, SOON)
        return self.lines(reason)


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1000


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:  # removed since it was listed
        return 0


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _handles(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize(
    ("fault", "address", "calling", "called", "answer", "reason"),
    [
        ("wrong called AE title", "127.0.0.61", "MODALITY", "OTHER", (1, 1, 7), "the called AE title is not ours"),
        ("calling AE title not listed", "127.0.0.62", "CHANCER", "CXRNODE", (1, 1, 3), "calling AE title is not on"),
        ("address not listed", UNLISTED, "MODALITY", "CXRNODE", (1, 1, 1), "the address is not on the list"),
    ],
)
def test_stranger_is_refused_and_told_once(
    node: Serve,
    others: Callable[[], None],
    tally: Tally,
    fault: str,
    address: str,
    calling: str,
    called: str,
    answer: tuple[int, int, int],
    reason: str,
) -> None:
    """Thirty calls of a stranger are thirty rejections that say why, and one line of the log; others are served."""
    log = Counted(node)
    for _ in range(30):
        with Stranger(node.port, address) as stranger:
            assert stranger.rejected(calling, called) == answer
    others()
    [line] = log.wait(reason)
    assert (line["address"], line["calling_ae"], line["level"]) == (address, calling, "warning")
    assert "Who is refused" in str(line["hint"])
    tally.add(f"door: {fault}", injected=30, fired=30, instances=1)


def test_class_that_is_not_taken_is_told_once(node: Serve, others: Callable[[], None], tally: Tally) -> None:
    """A CT scanner that offers nothing we take is told that at negotiation, and the administrator which class it is."""
    log = Counted(node, "class_not_accepted")
    offer = [wire.context(1, CTImageStorage, [ExplicitVRLittleEndian])]
    for _ in range(10):
        with Stranger(node.port) as stranger:
            assert stranger.associate(contexts=offer) == ACCEPTED
            stranger.say(wire.RELEASE)
            assert stranger.hear()[0] == 6
    others()
    [line] = log.wait("not among the classes")
    assert (line["sop_class"], line["calling_ae"], line["level"]) == (CTImageStorage, "MODALITY", "warning")
    tally.add("door: class not accepted", injected=10, fired=10, instances=1)


def test_object_on_a_context_that_was_not_accepted_ends_its_association_alone(
    node: Serve, others: Callable[[], None], tally: Tally
) -> None:
    """Sending it all the same is answered with an abort, and told as what it is."""
    log = Counted(node, "association_ended")
    with Stranger(node.port) as stranger:
        stranger.associate(contexts=[wire.context(1, CTImageStorage, [ExplicitVRLittleEndian])])
        stranger.say(b"".join(store("1.2.3.4", 1000)))
        assert not stranger.goes_on()
    others()
    assert log.wait("a presentation context that was not accepted")
    tally.add("door: object on a context not accepted", injected=1, fired=1, instances=1)


def test_flood_of_silent_connections_takes_no_place(node: Serve, others: Callable[[], None], tally: Tally) -> None:
    """Three hundred connections that say nothing get no thread, sixteen of them a handle, and those not for long; the
    honest come in all the while, and the log is a few lines."""
    log, threads, handles = Counted(node), _threads(node.pid), _handles(node.pid)
    with ExitStack() as held:
        for _ in range(300):
            held.enter_context(Stranger(node.port))
        assert _threads(node.pid) <= threads + 6
        assert _handles(node.pid) <= handles + 16 + 6
        others()
        assert len(log.wait("no association request within 2 s")) == 1
        wait_for(lambda: _handles(node.pid) <= handles + 6, SOON)
        others()
    assert len(log.wait("ask for no association")) == 1
    tally.add("door: flood of silent connections", injected=300, fired=300, instances=2)


def test_one_address_cannot_take_every_place(node: Serve, others: Callable[[], None], tally: Tally) -> None:
    """A machine that opens associations and releases none gets its five; another machine still comes in."""
    log = Counted(node)
    with ExitStack() as held:
        # So many that the first of them is not idle for too long before the last, on a machine that is busy.
        answers = [held.enter_context(Stranger(node.port, "127.0.0.63")).associate() for _ in range(12)]
        assert answers == [ACCEPTED] * 5 + [REJECTED] * 7
        others()
    assert len(log.wait("too many associations from this address")) == 1
    tally.add("door: association flood", injected=12, fired=7, instances=1)


def test_associations_over_the_limit_are_turned_away_for_now(
    node: Serve, others: Callable[[], None], tally: Tally
) -> None:
    """A full house rejects for the moment (PS3.8: transient, local limit exceeded), and is open again when one goes."""
    log = Counted(node)
    wait_for(lambda: _is_full_with_eight(node), 4 * SOON)
    wait_for(lambda: _is_served(others), SOON)
    assert log.wait("too many associations")
    tally.add("door: associations over the limit", injected=2, fired=2, instances=1)


def _is_full_with_eight(node: Serve) -> bool:
    """Open eight, ask twice more; False where somebody else was still there, or one of them idled away meanwhile."""
    with ExitStack() as held:
        strangers = [held.enter_context(Stranger(node.port, f"127.0.0.{70 + n // 4}")) for n in range(9)]
        answers = [stranger.associate() for stranger in strangers]
        with Stranger(node.port, HONEST) as late:
            return answers == [ACCEPTED] * 8 + [REJECTED] and late.answer() == (REJECTED, (2, 3, 2))


def _is_served(others: Callable[[], None]) -> bool:
    try:
        others()
    except Exception:  # noqa: BLE001 - whatever the sender makes of a full house
        return False
    return True


def _mid_object() -> bytes:
    command = wire.command(wire.store_fields("1.2.3.5"))
    return wire.p_data(wire.fragment(1, 3, command)) + wire.p_data(wire.fragment(1, 0, bytes(1000)))


@pytest.mark.parametrize(
    ("fault", "begin", "rest", "reason"),
    [
        ("trickles its request", b"", wire.associate(), "no association request within"),
        ("trickles a PDU", wire.associate(), wire.ECHO * 9, "slower than 50 kB/s"),
        ("trickles an object", wire.associate(), _mid_object() * 3, "slower than 50 kB/s"),
    ],
)
def test_byte_now_and_then_resets_no_timer(
    node: Serve,
    others: Callable[[], None],
    tally: Tally,
    fault: str,
    begin: bytes,
    rest: bytes,
    reason: str,
) -> None:
    """Whoever trickles is gone after the limit although bytes keep coming; nothing of it stays on the disk."""
    log = Counted(node, "association_ended" if begin else "association_refused")
    with Stranger(node.port, SLOW) as stranger:
        if begin:
            assert stranger.associate() == ACCEPTED
        with ThreadPoolExecutor() as pool:
            trickled = pool.submit(stranger.trickle, rest, every=0.15)
            others()
            assert IDLE * 0.9 < trickled.result() < SOON
    assert len(log.wait(reason)) == 1
    wait_for(lambda: not node.incoming(), SOON)
    tally.add(f"door: {fault}", injected=1, fired=1, instances=1)


@pytest.mark.parametrize(
    ("fault", "says", "reason"),
    [
        ("never releases", b"", "silent for 2 s"),
        ("falls silent in an object", _mid_object(), "silent in the midst of a message"),
        ("falls silent in a PDU", _mid_object()[:-7], "silent in the midst of a message"),
    ],
)
def test_silent_association_is_ended(
    node: Serve, others: Callable[[], None], tally: Tally, fault: str, says: bytes, reason: str
) -> None:
    """An association that says nothing more is aborted after the idle limit, with nothing left on the disk."""
    log = Counted(node, "association_ended")
    with Stranger(node.port, SLOW) as stranger:
        assert stranger.associate() == ACCEPTED
        stranger.say(says)
        with ThreadPoolExecutor() as pool:
            hung_up = pool.submit(stranger.until_hung_up)
            others()
            assert IDLE * 0.9 < hung_up.result() < SOON
    [line] = [line for line in log.wait(reason) if line["reason"] == reason]
    assert line["level"] == "warning"
    wait_for(lambda: not node.incoming(), SOON)
    tally.add(f"door: {fault}", injected=1, fired=1, instances=1)


@pytest.mark.long
def test_association_that_only_echoes_is_ended(node: Serve, tally: Tally) -> None:
    """Echoes hold an association ten times as long as silence, and then no longer."""
    log = Counted(node, "association_ended")
    with Stranger(node.port, SLOW) as stranger:
        stranger.associate()
        began = time.monotonic()
        while stranger.say(wire.ECHO) is None and stranger.goes_on():
            time.sleep(0.2)
        assert 10 * IDLE * 0.9 < time.monotonic() - began < 10 * IDLE + SOON
    assert log.wait("nothing but echoes")
    tally.add("door: echoes for ever", injected=1, fired=1)


def test_object_that_is_too_large_is_refused_and_never_in_memory(
    node: Serve, others: Callable[[], None], tally: Tally
) -> None:
    """A sender of 320 MB where 20 are allowed gets 0xA700 at the end of it, memory and disk stay flat, and its next
    object is looked at again."""
    log, before = Counted(node, "instance_refused"), _resident(node.pid)
    most = before
    with Stranger(node.port, seconds=60) as stranger:
        stranger.associate()
        for number, content in enumerate(store("1.2.3.6", 320_000_000)):
            stranger.say(content)
            if number % 500 == 0:
                most = max(most, _resident(node.pid))
                assert sum(map(_size, node.incoming())) <= 20_000_000
        assert stranger.status() == 0xA700
        stranger.say(b"".join(store("1.2.3.7", 1000, message=2)))
        assert stranger.status() != 0xA700
    others()
    assert most < before + 40
    assert log.wait("the object is larger than 20 MB")
    tally.add("door: object too large", injected=1, fired=1, instances=1)


@pytest.mark.long
def test_large_objects_that_are_taken_are_never_in_memory(tmp_path: Path, tally: Tally) -> None:
    """Three films of 320 MB, taken and kept at the same time, leave the memory as it was."""
    size, settings = 320_000_000, {"LISTENER__IDLE_SECONDS": "60", "WEB__ENABLED": "false"}
    with stub_serving(tmp_path, **settings) as node, ThreadPoolExecutor(3) as pool:
        assert _push(node, "1.2.3.19", 1_000_000) == 0x0000
        before = most = _resident(node.pid)
        sent = [pool.submit(_push, node, f"1.2.3.20.{number}", size) for number in range(3)]
        while not all(each.done() for each in sent):
            most = max(most, _resident(node.pid))
        assert [each.result() for each in sent] == [0x0000] * 3
        kept = [path for path in (node.state / "spool" / "sources").rglob("*") if path.is_file()]
        assert sum(path.stat().st_size >= size for path in kept) == 3
        assert most < before + 60
    tally.add("door: large objects at once", injected=3, fired=3, instances=4)


def _push(node: Serve, sop_instance: str, size: int) -> int:
    header = render(Radiograph(rows=64, cols=64)).dataset
    header.SOPClassUID, header.SOPInstanceUID = CR, sop_instance
    del header.PixelData
    start = encode(header, False, True) + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size)
    with Stranger(node.port, seconds=120) as sender:
        sender.associate()
        for content in store(sop_instance, size, start=start):
            sender.say(content)
        return sender.status()


def test_bytes_under_way_are_bounded_for_all_together(node: Serve, others: Callable[[], None], tally: Tally) -> None:
    """Four objects of 8 MB at once where 22 MB may be under way: those over it get 0xA700, memory stays flat, and the
    same objects are taken one after the other."""
    before = _resident(node.pid)
    with ExitStack() as held, ThreadPoolExecutor(4) as pool:
        senders = [held.enter_context(Stranger(node.port)) for _ in range(4)]
        assert [sender.associate() for sender in senders] == [ACCEPTED] * 4
        pieces = [list(store(f"1.2.3.8.{n}", 8_000_000)) for n in range(4)]
        # All but the last piece of each: the node has answered none and holds what it took of all.
        list(pool.map(lambda each: each[0].say(b"".join(each[1][:-1])), zip(senders, pieces, strict=True)))
        assert _resident(node.pid) < before + 40
        for sender, each in zip(senders, pieces, strict=True):
            sender.say(each[-1])
        answers = [sender.status() for sender in senders]
        assert 1 <= answers.count(0xA700) <= 2
        for sender, answer, each in zip(senders, answers, pieces, strict=True):
            if answer == 0xA700:
                sender.say(b"".join(each))
                assert sender.status() != 0xA700
    others()
    tally.add("door: too many bytes under way", injected=4, fired=answers.count(0xA700), instances=1)


def test_sender_that_waits_for_no_answer_is_held_back(node: Serve, others: Callable[[], None], tally: Tally) -> None:
    """Two hundred objects of 1 MB, sent without reading one answer: each is answered in turn, two at most lie on the
    disk, and no memory fills, because the node does not read on while one waits."""
    before, count, most = _resident(node.pid), 200, 0
    content = b"".join(b"".join(store(f"1.2.3.9.{n}", 1_000_000, message=n + 1)) for n in range(count))
    with Stranger(node.port, seconds=60) as hasty, ThreadPoolExecutor(1) as pool:
        hasty.associate()
        sent = pool.submit(hasty.say, content)
        answers = []
        for _ in range(count):
            answers.append(hasty.status())
            most = max(most, len(node.incoming()))
        sent.result()
    assert len(answers) == count
    assert -1 not in answers
    assert most <= 3
    assert _resident(node.pid) < before + 60
    others()
    tally.add("door: requests without waiting", injected=count, fired=count, instances=1)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("endless command", [wire.p_data(wire.fragment(1, 1, bytes(60_000)))] * 40),
        ("endless data set that is no object", None),
    ],
)
def test_what_is_no_object_is_bounded_in_memory(
    node: Serve, others: Callable[[], None], tally: Tally, fault: str, says: list[bytes] | None
) -> None:
    """A command set, or the data set of a message that is no C-STORE, is gathered in memory, up to a limit; then the
    association is aborted."""
    log, before = Counted(node, "association_ended"), _resident(node.pid)
    if says is None:
        fields = {0x0002: wire.COMMITMENT, 0x0100: wire.N_EVENT_REPORT, 0x0110: 1, 0x0800: 1, 0x1000: "1.2", 0x1002: 1}
        begin = wire.p_data(wire.fragment(5, 3, wire.command(fields)))
        says = [begin, *[wire.p_data(wire.fragment(5, 0, bytes(120_000)))] * 300]
    with Stranger(node.port) as stranger:
        stranger.associate()
        for content in says:
            stranger.say(content)
        assert not stranger.goes_on()
    assert log.wait("longer than any may be")
    assert _resident(node.pid) < before + 40
    others()
    tally.add(f"door: {fault}", injected=1, fired=1, instances=1)


def test_garbage_is_told_once(node: Serve, others: Callable[[], None], tally: Tally) -> None:
    """A port scanner and a web browser leave one line, with the address, and no place taken."""
    log = Counted(node)
    for said in (b"GET / HTTP/1.0\r\n\r\n", b"\x00" * 100, b"\x01\x00\xff\xff\xff\xff", wire.RELEASE, wire.ECHO):
        with Stranger(node.port) as scanner:
            scanner.say(said)
            assert not scanner.goes_on()
    others()
    [line] = log.wait("no association request")
    assert line["address"] == STRANGER
    tally.add("door: garbage", injected=5, fired=5, instances=1)


@contextmanager
def _crowd(port: int) -> Iterator[Callable[[str], None]]:
    """Strangers of all kinds, in a process of their own."""
    command = [sys.executable, "-m", "tests.faults.strangers", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None

        def tell(word: str) -> None:
            assert process.stdin is not None
            process.stdin.write(f"{word}\n")
            process.stdin.flush()

        try:
            yield tell
        finally:
            process.kill()


def _round(node: Serve, paths: list[Path]) -> list[float]:
    """Send each on an association of its own; give the seconds of each."""
    took = []
    for path in paths:
        began = time.perf_counter()
        _served(node, path)
        took.append(time.perf_counter() - began)
    return took


def _percentile(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


_CROWDED = {"the called AE title is not ours", "too many connections of this address ask for no association"}


def _refused(node: Serve) -> set[str]:
    return {str(line["reason"]) for line in node.events("association_refused")}


def test_others_are_served_as_fast_as_on_a_calm_day(
    tmp_path: Path, film: Callable[[], Path], tally: Tally, long: bool
) -> None:
    """While strangers of every kind are at the door, the 95th percentile of honest senders stays within twice that of
    a calm run beside it: the rounds take turns. The short form shows that they are served at all."""
    rounds, films = (10, 20) if long else (1, 10)
    calm: list[float] = []
    disturbed: list[float] = []
    settings = LIMITS | {"LISTENER__MAXIMUM_ASSOCIATIONS": "20", "LISTENER__MAXIMUM_PER_ADDRESS": "12"}
    with stub_serving(tmp_path, **settings) as node, _crowd(node.port) as tell:
        _round(node, [film() for _ in range(5)])
        for _ in range(rounds):
            paths = [[film() for _ in range(films)] for _ in range(2)]
            calm += _round(node, paths[0])
            tell("on")
            wait_for(lambda: _refused(node) >= _CROWDED, 30)
            time.sleep(0.5)  # the crowd gathers: nothing shows from outside that all of it is there
            disturbed += _round(node, paths[1])
            tell("off")
            time.sleep(0.5)
        reasons, handles = _refused(node), _handles(node.pid)
    print(f"p95 calm {_percentile(calm):.3f} s, disturbed {_percentile(disturbed):.3f} s; {sorted(reasons)}")
    assert handles < 200
    if long:
        assert _percentile(disturbed) < 2 * _percentile(calm)
    tally.add("door: a crowd of strangers", injected=rounds, fired=rounds, instances=len(calm) + len(disturbed))
