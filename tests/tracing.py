"""What `strace -f -yy` wrote, as calls: begun, ended, with the files that they name and the bytes that they wrote.

Hides strace's notation and the calls that it splits because another thread ran in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LINE = re.compile(r"^(?P<pid>\d+) +(?P<rest>.*)$")
_RESUMED = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
_WHOLE = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_PATH = re.compile(r"(?<=<)(/[^<>]*)(?=>)|(?<=\")(/[^\"]*)(?=\")")
_PDATA, _RSP = b"\x04\x00", b"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x80"
"""P-DATA-TF (PS3.8 9.3.5), and Command Field (0000,0100) = 0x8001, C-STORE-RSP (PS3.7 9.3.1.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One system call. `began` and `ended` are line numbers of the trace; `paths` the files that it names."""

    name: str
    began: int
    ended: int
    arguments: str
    paths: tuple[str, ...]
    result: int

    @property
    def bytes(self) -> bytes:
        """The first string among its arguments, as bytes."""
        quoted = re.search(r'"((?:[^"\\]|\\.)*)"', self.arguments)
        return quoted[1].encode("latin-1").decode("unicode_escape").encode("latin-1") if quoted else b""


def calls_of(trace: str) -> list[Call]:
    """Read the output of `strace -f -yy`, putting calls together that another thread interrupted; failed ones left out.

    A call counts as done where it returned and as begun where it was entered, so an order that holds here holds.
    """
    return [call for call in _calls(trace.splitlines()) if call.result >= 0]


def _calls(lines: Sequence[str]) -> Iterator[Call]:
    unfinished: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        if not match:
            continue
        pid, rest, began = match["pid"], match["rest"], number
        if rest.endswith("<unfinished ...>"):
            name = rest.split("(", 1)[0]
            unfinished[pid, name] = (number, rest.removesuffix("<unfinished ...>").rstrip())
            continue
        if resumed := _RESUMED.match(rest):
            began, start = unfinished.pop((pid, resumed["name"]), (number, f"{resumed['name']}("))
            rest = start + resumed["rest"]
        if whole := _WHOLE.match(rest):
            yield _call(whole, began, number)


def _call(whole: re.Match[str], began: int, ended: int) -> Call:
    paths = tuple(first or second for first, second in _PATH.findall(whole["arguments"]))
    return Call(
        name=whole["name"],
        began=began,
        ended=ended,
        arguments=whole["arguments"],
        paths=paths,
        result=int(whole["result"]),
    )


def is_store_response(call: Call, port: int) -> bool:
    """Tell whether a call sends a C-STORE response from this port."""
    ours = f"127.0.0.1:{port}->" in call.arguments
    return call.name in {"sendto", "sendmsg"} and ours and call.bytes.startswith(_PDATA) and _RSP in call.bytes
