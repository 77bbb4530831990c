"""Reading special cases: the sentences of declarations as values that a test can use.

``exp(-inf) -> +0``: an op, its operands, its result. ``+0`` and ``-0`` are floating zeros, ``0`` fits integers too;
brackets make arrays; ``pi/2`` and its like stand for the true value, which a result is near to; a dtype's name is an
attribute.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..core.dtypes import BOOL, BY_NAME, COMPLEX, REAL, STORAGE, DType, element_limits
from ..core.op import Op

Given = bool | int | float | DType | list["Given"]

_SENTENCE: Final = re.compile(r"(?P<op>\w+)\((?P<operands>.*)\) -> (?P<result>.+)")
_OF_NOTHING: Final = re.compile(r"(?P<op>\w+) of nothing -> (?P<result>.+)")
_ANGLE: Final = re.compile(r"(?P<sign>[+-]?)(?P<times>\d*)pi(?:/(?P<over>\d+))?")
_TOKEN: Final = re.compile(r"\s*([\[\],]|[^\[\],\s]+)")
_NAMED: Final[dict[str, Given]] = {
    "True": True, "False": False, "nan": math.nan, "+inf": math.inf, "-inf": -math.inf, "+0": 0.0, "-0": -0.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Special:
    """One special case.

    Attributes:
        sentence: as declared; it is a test's id.
        op: the op's name.
        operands: in order; a list is an array's values.
        result: likewise.
        near: whether the result is the true value, to which the op's contract applies, and not the very bits.
    """

    sentence: str
    op: str
    operands: tuple[Given, ...]
    result: Given
    near: bool

    def fits(self, t: DType, op: Op) -> bool:
        """Return whether the case says something of operands of a dtype."""
        group = range(len(self.operands)) if op.promotes is None else op.promotes
        values = [v for i in group if i < len(self.operands) for v in _scalars(self.operands[i])]
        answers = [v for v in _scalars(self.result) if type(v) is not bool]
        if t.kind == BOOL:
            return all(type(v) is bool for v in values) and not answers
        if any(type(v) is bool for v in values):
            return False
        if t.kind in (REAL, COMPLEX, STORAGE):
            return True
        low, high = element_limits(t)
        return all(type(v) is int and low <= v <= high for v in (*values, *answers))


def _scalars(given: Given) -> Iterator[bool | int | float]:
    if isinstance(given, list):
        for x in given:
            yield from _scalars(x)
    elif not isinstance(given, DType):
        yield given


def _value(token: str) -> Given:
    if token in _NAMED:
        return _NAMED[token]
    if token in BY_NAME:
        return BY_NAME[token]
    angle = _ANGLE.fullmatch(token)
    if angle is not None:
        size = int(angle["times"] or 1) * math.pi / int(angle["over"] or 1)
        return -size if angle["sign"] == "-" else size
    return int(token) if re.fullmatch(r"[+-]?\d+", token) else float(token)


def _sequence(tokens: list[str]) -> list[Given]:
    """Read values up to the closing bracket, or the end."""
    found: list[Given] = []
    while tokens:
        token = tokens.pop(0)
        if token == "]":
            break
        if token == "[":
            found.append(_sequence(tokens))
        elif token != ",":
            found.append(_value(token))
    return found


def parse(sentence: str) -> Special:
    """Read one sentence.

    Raises:
        ValueError: for a sentence of another form.

    >>> parse("atan2(-0, -1) -> -pi").operands
    (-0.0, -1)
    >>> parse("max([nan, 1]) -> nan").operands
    ([nan, 1],)
    """
    nothing = _OF_NOTHING.fullmatch(sentence)
    found = nothing or _SENTENCE.fullmatch(sentence)
    if found is None:
        raise ValueError(f"special case {sentence!r} is not of the form 'op(operands) -> result'")
    operands: list[Given] = [[]] if nothing else _sequence(_TOKEN.findall(found["operands"]))
    (result,) = _sequence(_TOKEN.findall(found["result"]))
    return Special(sentence, found["op"], tuple(operands), result, "pi" in found["result"])
