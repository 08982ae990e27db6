"""Hides the grammar of a bundle's JSON configuration.

Promises that reading a configuration runs nothing, and that a refusal names file and line. MONAI's own parser evaluates
strings that begin with `$` as Python and fills in other files where a string begins with `%`. Here a string
`@network_def#channels#0` stands for that place in the same file, `$` is arithmetic on such places (arithmetic.py),
and all else is refused where it is met: what is not needed to build the network is never looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrnode.errors import NeedsOperator
from cxrnode.inference.arithmetic import NotArithmetic, calculate

LARGEST = 1_000_000
"""Bytes. A configuration is a page of text; anything larger is not one."""
DEEPEST = 32
MOST = 10_000
"""Values that a resolved value may hold."""
SPECIAL_KEYS = ("_target_", "_desc_")
"""Of MONAI's special keys those that neither run nor skip anything."""

Steps = tuple[str | int, ...]
"""The way to a place: keys of objects and indices of lists, from the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A JSON object, and the text it was read from."""

    file: str
    text: str
    content: Mapping[str, Any]

    def place(self, steps: Steps) -> str:
        """Name a place for people: file and line."""
        return f"{self.file}, line {_line(self.text, steps)}"

    @contextmanager
    def part(self, *steps: str) -> Iterator[Any]:
        """Give a part. What is raised inside because the part makes no sense becomes NeedsOperator, with its line."""
        try:
            yield _found(self.content, steps)
        except KeyError as cause:
            raise refusal(f"{cause} is missing", self.place(steps)) from cause
        except (TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError) as cause:
            raise refusal(f"it cannot be used: {cause}", self.place(steps)) from cause


def read_configuration(path: Path) -> Configuration:
    """Read a JSON object. Raises NeedsOperator where the file is missing, too large, or not a JSON object."""
    name = "/".join(path.parts[-3:])
    if not path.is_file():  # a pipe would be waited for, a device has no end
        raise refusal(_missing(path), name)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise refusal("the file is too large for a configuration", name)
        text = raw.decode("utf-8")
        content = json.loads(text)
    except json.JSONDecodeError as cause:
        raise refusal("the file cannot be read as JSON", f"{name}, line {cause.lineno}") from cause
    except (OSError, ValueError, RecursionError) as cause:
        raise refusal("the file cannot be read as JSON", name) from cause
    if not isinstance(content, dict):
        raise refusal("the file holds no JSON object", name)
    return Configuration(file=name, text=text, content=content)


def _missing(path: Path) -> str:
    if any(path.with_suffix(suffix).exists() for suffix in (".yaml", ".yml")):
        return "the bundle's configuration is YAML; write it as JSON, which MONAI reads as well"
    return "the bundle lacks a file"


def resolve(configuration: Configuration, key: str) -> Any:
    """Give the value at `key` with every reference and every sum in it replaced.

    Raises NeedsOperator, with file and line, for an expression that is more than arithmetic (`$`), macros (`%`),
    MONAI's keys that steer execution, an object inside another that is to be built, and references that lead nowhere,
    in a circle, or to more than MOST values.
    """
    return _Resolution(configuration).at(key)


@dataclass(slots=True)
class _Resolution:
    """One value being resolved. `left`: how many more it may hold, so that references cannot multiply."""

    root: Configuration
    left: int = MOST

    def at(self, key: str) -> Any:
        steps = self._steps(key, ())
        return self._value(_found(self.root.content, steps), steps, DEEPEST, outermost=True)

    def _value(self, value: Any, at: Steps, depth: int, *, outermost: bool = False) -> Any:
        self.left -= 1
        if depth == 0 or self.left < 0:
            raise self._refusal("references lead in a circle, too deep, or to too much", "", at)
        if isinstance(value, str):
            return self._text(value, at, depth)
        if isinstance(value, Mapping):
            self._refuse_special_keys(value, at, outermost=outermost)
            return {key: self._value(inner, (*at, key), depth - 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._value(inner, (*at, index), depth - 1) for index, inner in enumerate(value)]
        return value

    def _text(self, text: str, at: Steps, depth: int) -> Any:
        if text.startswith("%"):
            raise self._refusal("the configuration takes text from elsewhere", text, at)
        if text.startswith("@"):
            return self._referred(text[1:], at, depth)
        if not text.startswith("$"):
            return text
        try:
            return calculate(text[1:], lambda key: self._referred(key, at, depth))
        except NotArithmetic as cause:
            raise self._refusal(f"the configuration holds an expression that is code: {cause}", text, at) from cause

    def _referred(self, key: str, at: Steps, depth: int) -> Any:
        steps = self._steps(key, at)
        return self._value(_found(self.root.content, steps), steps, depth - 1)

    def _refuse_special_keys(self, value: Mapping[str, Any], at: Steps, *, outermost: bool) -> None:
        for key in value:
            if key.startswith("_") and key not in SPECIAL_KEYS:
                raise self._refusal("the configuration has a key that steers execution", key, (*at, key))
        if "_target_" in value and not outermost:
            what = "the network is put together from other objects"
            raise self._refusal(what, str(value["_target_"]), (*at, "_target_"))

    def _steps(self, key: str, at: Steps) -> Steps:
        """Follow `a#0#b` from the root; MONAI writes `::` for `#` as well. `at` is where the reference stands."""
        place: Any = self.root.content
        steps: list[str | int] = []
        for step in key.replace("::", "#").split("#"):
            try:
                steps.append(int(step) if isinstance(place, list) else step)
                place = place[steps[-1]]
            except (KeyError, IndexError, ValueError, TypeError) as cause:
                raise self._refusal("a reference leads nowhere", key, at) from cause
        return tuple(steps)

    def _refusal(self, happened: str, text: str, at: Steps) -> NeedsOperator:
        shown = text if len(text) <= 80 else f"{text[:80]}..."
        return refusal(happened, f"{self.root.place(at)}: {shown}" if shown else self.root.place(at))


def _found(place: Any, steps: Steps) -> Any:
    for step in steps:
        place = place[step]
    return place


def refusal(happened: str, subject: str) -> NeedsOperator:
    """Make the error for a bundle that cannot be used as it is; what would steer a terminal is not in it."""
    return NeedsOperator(
        printable(happened),
        operation="read bundle",
        subject=printable(subject),
        hint="docs/operations.md, Bringing a model",
    )


def printable(text: str) -> str:
    """Give text with a question mark for each character that would not be seen."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def reason(cause: Exception) -> str:
    """Give another library's error in one line."""
    first = next(iter(str(cause).splitlines()), "")
    return f"{type(cause).__name__}: {first[:200]}"


def _line(text: str, steps: Steps) -> int:
    """Give the line on which a place of a JSON text begins, its key where it has one; or what would hold the place."""
    begins = value = _skip(text, 0)
    for step in steps:
        found = {key: place for key, *place in _parts(text, value)} if text[value] in "{[" else {}
        begins, value = found.get(step, (begins, value))
    return text.count("\n", 0, begins) + 1


def _parts(text: str, at: int) -> Iterator[tuple[str | int, int, int]]:
    """Walk an object or a list of sound JSON: key or index, where that begins, where its value begins."""
    decoder, named = json.JSONDecoder(), text[at] == "{"
    at, count = _skip(text, at + 1), 0
    while text[at] not in "}]":
        key, value = (count, at)
        if named:
            key, end = decoder.raw_decode(text, at)
            value = _skip(text, _skip(text, end) + 1)
        yield key, at, value
        _, end = decoder.raw_decode(text, value)
        at, count = _skip(text, end), count + 1
        at = _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    """Pass over white space."""
    while at < len(text) and text[at] in " \t\n\r":
        at += 1
    return at
