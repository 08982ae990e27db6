"""Sums in a bundle's configuration: `$@size // 2`, `$[24] * 3`, `$@widths + [256]`.

Hides Python's grammar. Promises that nothing is called, named or reached into: what is not a number, a list of numbers,
a reference or a sum of those is refused, and so is a sum that would grow beyond reason.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

LONGEST = 200
"""Characters of an expression."""
LARGEST = 1e9
MOST = 1000
"""Elements of a list, with those of the lists in it."""

_REFERENCE = re.compile(r"@(\w+(?:(?:#|::)\w+)*)")
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class NotArithmetic(Exception):
    """An expression is more than a sum; the message says what was met."""


def calculate(text: str, refer: Callable[[str], Any]) -> Any:
    """Give the value of an expression without its `$`: a number, a truth, None, or a list of such.

    `refer` gives the value of a reference, from its key without the `@`. Raises NotArithmetic.
    """
    if len(text) > LONGEST:
        raise NotArithmetic("it is too long")
    references: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        name = f"reference_{len(references)}"
        references[name] = found[1]
        return name

    try:
        tree = ast.parse(_REFERENCE.sub(named, text).strip(), mode="eval")
        return _value(tree.body, lambda name: refer(references[name]), frozenset(references))
    except (SyntaxError, RecursionError, MemoryError) as cause:
        raise NotArithmetic("it is no expression") from cause
    except (ArithmeticError, TypeError, ValueError) as cause:
        raise NotArithmetic("it cannot be calculated") from cause


def _value(node: ast.expr, refer: Callable[[str], Any], known: frozenset[str]) -> Any:
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, int | float)):
        return _bounded(node.value)
    if isinstance(node, ast.Name) and node.id in known:
        return _bounded(refer(node.id))
    if isinstance(node, ast.List | ast.Tuple):
        return _bounded([_value(part, refer, known) for part in node.elts])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, refer, known)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = (_value(side, refer, known) for side in (node.left, node.right))
        return _bounded(_combined(_OPERATORS[type(node.op)], left, right))
    raise NotArithmetic(f"it has a {type(node).__name__}")


def _combined(combine: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    lists = [side for side in (left, right) if isinstance(side, list)]
    numbers = [side for side in (left, right) if not isinstance(side, list)]
    if len(lists) == 1 and sum(abs(number) for number in numbers) * len(lists[0]) > MOST:
        raise NotArithmetic("it makes too long a list")
    return combine(left, right)


def _bounded(value: Any) -> Any:
    if isinstance(value, list):
        if _count(value) > MOST:
            raise NotArithmetic("it makes too long a list")
        return [_bounded(part) for part in value]
    if value is None or (isinstance(value, int | float) and math.isfinite(value) and abs(value) <= LARGEST):
        return value
    raise NotArithmetic("it is more than numbers and lists of them")


def _count(value: Any) -> int:
    return sum(1 + _count(part) for part in value) if isinstance(value, list) else 0
