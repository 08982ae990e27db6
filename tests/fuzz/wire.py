"""The upper layer byte by byte (PS3.8 9.3, PS3.7 E), for peers that no library would be.

Every function gives bytes. `associate` and `p_data` take what nobody should send: wrong lengths, any items, any ids.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.fuzz.elements import CR

APPLICATION = b"1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
CONTEXTS: Sequence[tuple[int, str, str]] = (
    (1, CR, ExplicitVRLittleEndian),
    (3, VERIFICATION, ImplicitVRLittleEndian),
    (5, COMMITMENT, ImplicitVRLittleEndian),
    (7, CR, "1.2.840.10008.1.2.1.99"),
    (9, CR, ImplicitVRLittleEndian),
)
"""Presentation contexts that a node accepts: id, abstract syntax, transfer syntax."""
C_STORE, C_STORE_ANSWER, C_ECHO, N_EVENT_REPORT, C_CANCEL, N_ACTION = 0x0001, 0x8001, 0x0030, 0x0100, 0x0FFF, 0x0130
RELEASE, RELEASE_ANSWER = struct.pack(">BBLL", 5, 0, 4, 0), struct.pack(">BBLL", 6, 0, 4, 0)
ABORT = struct.pack(">BBLL", 7, 0, 4, 0)
_PATIENCE = 10.0


def item(kind: int, value: bytes, *, length: int | None = None) -> bytes:
    """Give an item or sub-item (PS3.8 9.3.2); `length` says what it claims."""
    return struct.pack(">BBH", kind, 0, (len(value) if length is None else length) & 0xFFFF) + value


def pdu(kind: int, value: bytes, *, length: int | None = None) -> bytes:
    """Give a PDU of any type."""
    return struct.pack(">BBL", kind, 0, len(value) if length is None else length) + value


def context(number: int, abstract: str, transfer: Sequence[str]) -> bytes:
    """Give a proposed presentation context."""
    syntaxes = b"".join(item(0x40, each.encode()) for each in transfer)
    return item(0x20, struct.pack(">BBBB", number, 0, 0, 0) + item(0x30, abstract.encode()) + syntaxes)


def role(abstract: str, *, scp: bool) -> bytes:
    """Give a role selection (PS3.7 D.3.3.4)."""
    return item(0x54, struct.pack(">H", len(abstract)) + abstract.encode() + bytes([not scp, scp]))


USER = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3.4") + role(COMMITMENT, scp=True)


def associate(
    contexts: Iterable[bytes] | None = None, *, called: bytes = b"CXRNODE", user: bytes = USER, more: bytes = b""
) -> bytes:
    """Give an A-ASSOCIATE-RQ; `more` are further items."""
    chosen = [context(n, a, [t]) for n, a, t in CONTEXTS] if contexts is None else contexts
    head = struct.pack(">HH16s16s32s", 1, 0, called.ljust(16), b"FUZZ".ljust(16), b"")
    return pdu(1, head + item(0x10, APPLICATION) + b"".join(chosen) + item(0x50, user) + more)


def fragment(context_id: int, control: int, value: bytes, *, length: int | None = None) -> bytes:
    """Give a presentation data value; control 1 is of a command, 2 is the last (PS3.8 E.2)."""
    stated = len(value) + 2 if length is None else length
    return struct.pack(">LBB", stated & 0xFFFFFFFF, context_id & 0xFF, control) + value


def p_data(*fragments: bytes) -> bytes:
    """Give a P-DATA-TF of such fragments."""
    return pdu(4, b"".join(fragments))


def command(fields: Mapping[int, bytes | int | str], *, group: int = 0) -> bytes:
    """Give a command set (PS3.7 6.3): implicit little endian, its group length first."""
    body = b""
    for number, value in sorted(fields.items()):
        if isinstance(value, int):
            value = struct.pack("<H", value & 0xFFFF)
        elif isinstance(value, str):
            value = value.encode() + b"\0" * (len(value) % 2)
        body += struct.pack("<HHL", group, number, len(value)) + value
    return struct.pack("<HHLL", group, 0, 4, len(body)) + body


def store_fields(sop_instance: str, *, sop_class: str = CR, message: int = 1) -> dict[int, bytes | int | str]:
    """Give the command set of a C-STORE."""
    return {0x0002: sop_class, 0x0100: C_STORE, 0x0110: message, 0x0700: 0, 0x0800: 1, 0x1000: sop_instance}


def store(fields: Mapping[int, bytes | int | str], data_set: bytes, *, context_id: int = 1, size: int = 8000) -> bytes:
    """Give a C-STORE in one PDU for its command and one for each `size` bytes of its data set."""
    parts = [data_set[at : at + size] for at in range(0, len(data_set), size)] or [b""]
    pdus = [p_data(fragment(context_id, 3, command(fields)))]
    pdus += [p_data(fragment(context_id, 2 * (part is parts[-1]), part)) for part in parts]
    return b"".join(pdus)


ECHO = p_data(fragment(3, 3, command({0x0002: VERIFICATION, 0x0100: C_ECHO, 0x0110: 9, 0x0800: 0x0101})))


@dataclass(slots=True)
class Heard:
    """What a peer said until it fell silent: types of its PDUs, and SOP Instance UID and status of C-STORE answers."""

    pdus: list[int] = field(default_factory=list)
    stored: list[tuple[str, int]] = field(default_factory=list)
    echoed: int = 0
    closed: bool = False


def say(port: int, first: bytes, rest: bytes = b"", *, then: str = "shut", seconds: float = _PATIENCE) -> Heard:
    """Connect, send `first`, await a PDU, send the rest, and listen until the other side closes.

    `then`, after all is sent: "shut" sends no more and says so, "wait" says nothing, "reset" breaks the connection.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        heard = Heard()
        try:
            wire.sendall(first)
            received = _take(wire.recv(65536), heard) if first and rest else b""
            wire.sendall(rest)
            if then == "shut":
                wire.shutdown(socket.SHUT_WR)
            if then == "reset":
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return heard
            while more := wire.recv(65536):
                received = _take(received + more, heard)
            heard.closed = True
        except TimeoutError:
            raise
        except OSError:  # the other side has closed, in one of the ways in which a system says so
            heard.closed = True
        return heard


def _take(received: bytes, heard: Heard) -> bytes:
    """Hear the whole PDUs; give what is left."""
    while len(received) >= 6:
        kind, length = struct.unpack_from(">BxL", received)
        if len(received) < 6 + length:
            break
        heard.pdus.append(kind)
        if kind == 4:
            _hear(received[6 : 6 + length], heard)
        received = received[6 + length :]
    return received


def _hear(value: bytes, heard: Heard) -> None:
    """Read the command sets of a P-DATA-TF; the node's answers fit into one fragment each."""
    while value:
        (length,) = struct.unpack_from(">L", value)
        said = dict(elements_of(value[6 : 4 + length]))
        kind = struct.unpack("<H", said[0x0100])[0]
        if kind == C_STORE_ANSWER:
            uid = said.get(0x1000, b"").rstrip(b"\0 ").decode("latin-1")
            heard.stored.append((uid, struct.unpack("<H", said[0x0900])[0]))
        heard.echoed += kind == C_ECHO | 0x8000
        value = value[4 + length :]


def elements_of(value: bytes) -> Iterable[tuple[int, bytes]]:
    """Give the elements of a command set: number and value."""
    while value:
        _, number, length = struct.unpack_from("<HHL", value)
        yield number, value[8 : 8 + length]
        value = value[8 + length :]
