"""Special cases: the sentences of the declarations, ``exp(-inf) -> +0``, read as calls and results."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....core.dtypes import BY_NAME, REAL, STORAGE, DType, bool_, element_limits
from ....core.errors import ConformanceError
from ....core.op import Op, Role
from ....opset.declare import declaration_of
from ...oracle.compare import Where, check_exact, check_layout, check_ulp
from ...oracle.expect import Operands, infer, with_optional
from ...oracle.formats import Host, precise
from .sample import operand_dtypes

#: Every element of a line of this length holds the case, so that full vectors and tails both meet it.
_REPEATS: Final = 37

_CALL: Final = re.compile(r"(?P<op>\w+)(?:\((?P<given>.*)\)| of (?P<nothing>nothing)) -> (?P<result>.+)")
_PI: Final = {"pi": 1.0, "pi/2": 0.5, "pi/4": 0.25, "3pi/4": 0.75}
#: Ops of one operand whose sentence lists the elements of one line of it.
_LINES: Final = frozenset({"softmax", "log_softmax", "logsumexp", "max_pool"})

Value = Any  # a number, a boolean, a dtype, or nested lists of them


@dataclass(frozen=True, slots=True)
class Special:
    """One sentence applied to a dtype.

    Attributes:
        sentence: as declared.
        operands, attributes: the call.
        check: raises ConformanceError for another result.
    """

    sentence: str
    operands: Operands
    attributes: dict[str, Any]
    check: Callable[[Host], float]


def token(text: str) -> Value:
    """Return the value of a word: a number, NaN, an infinity, a multiple of pi, a boolean, a dtype, or a list of them.

    >>> token("[-inf, -0]")
    [-inf, -0.0]
    """
    text = text.strip()
    if text.startswith("["):
        return [token(t) for t in _split(text[1:-1])]
    if text in BY_NAME:
        return BY_NAME[text]
    if text in ("True", "False"):
        return text == "True"
    unsigned = text.lstrip("+-")
    if unsigned in _PI:
        size = _PI[unsigned] * np.longdouble("3.14159265358979323846264338327950288")
        return -size if text.startswith("-") else size
    if re.fullmatch(r"-?[1-9]\d*|0", text):
        return int(text)
    return float(text)


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    parts, depth = [""], 0
    for c in text:
        depth += (c == "[") - (c == "]")
        if c == "," and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return [p for p in parts if p.strip()]


def specials(op: Op, t: DType) -> list[Special]:
    """Return the special cases of an op that a dtype has: those whose values it holds.

    Raises:
        ConformanceError: for a sentence that cannot be read.
    """
    return [made for s in declaration_of(op).specials if (made := _applied(op, t, s)) is not None]


def _applied(op: Op, t: DType, sentence: str) -> Special | None:
    match = _CALL.fullmatch(sentence)
    if match is None or match["op"] != op.name:
        raise ConformanceError(
            f"{op.name}: the special case {sentence!r} is no sentence like 'exp(-inf) -> +0'", op=op.name
        )
    given = [] if match["nothing"] else [token(g) for g in _split(match["given"])]
    wanted = token(match["result"])
    named = [v for v in given if isinstance(v, DType)]
    attributes: dict[str, Any] = {"dtype": named[0]} if named else {}
    given = [v for v in given if not isinstance(v, DType)]
    operands = _operands(op, t, given, nothing=bool(match["nothing"]))
    if operands is None:
        return None
    attributes |= _needed(op, operands)
    operands = with_optional(op, operands)
    result = infer(op, operands, attributes).outputs[0]
    if not _holds(result.dtype, wanted) or (t.kind != REAL and _is_floating(wanted)):
        return None

    def check(got: Host) -> float:
        where = Where(op.name, result.dtype, operands)
        check_layout(got, result.shape, where)
        return _compare(op, got, wanted, where)

    return Special(sentence, operands, attributes, check)


def _operands(op: Op, t: DType, given: list[Value], *, nothing: bool) -> Operands | None:
    """Return the operands, or None where the dtype has no such values."""
    if nothing:
        return (np.empty((0,), t.numpy),)
    if op.name in _LINES:
        return (_line(given, t),) if _holds(t, given) else None
    types = operand_dtypes(op, t) if "elementwise" in op.facts else (t,) * len(given)
    if not all(_holds(x, v) for x, v in zip(types, given, strict=False)):
        return None
    lists = any(isinstance(v, list) for v in given)
    made = [_cast(v, x) for x, v in zip(types, given, strict=False)]
    return tuple(made if lists else [np.full(_REPEATS, m) for m in made])


def _line(given: list[Value], t: DType) -> Host:
    return _cast([[given]], t)


def _cast(value: Value, t: DType) -> Host:
    with np.errstate(all="ignore"):
        return np.array(value, _carrier(t)).astype(t.numpy)


def _carrier(t: DType) -> type | np.dtype[Any]:
    return np.dtype(np.float64) if t.kind in (REAL, STORAGE) else t.numpy


def _needed(op: Op, operands: Operands) -> dict[str, Any]:
    """Attributes without which the op cannot be called."""
    first = operands[0] if operands else None
    rank = 0 if first is None else first.ndim
    chosen = {"axis": rank - 1, "kernel": 2}
    return {
        p.name: chosen[p.name] for p in op.parameters if p.role is Role.ATTRIBUTE and p.required and p.name in chosen
    }


def _flat(value: Value) -> list[Value]:
    return [v for part in value for v in _flat(part)] if isinstance(value, list) else [value]


def _is_floating(value: Value) -> bool:
    return any(isinstance(v, float | np.floating) for v in _flat(value))


def _holds(t: DType, value: Value) -> bool:
    """Return whether a dtype can be meant: floats are for floating dtypes, integers for all that hold them."""
    for v in _flat(value):
        if isinstance(v, bool):
            if t is not bool_:
                return False
        elif t is bool_ or (t.kind not in (REAL, STORAGE) and isinstance(v, float | np.floating)):
            return False
        elif t.kind.endswith("integer"):
            low, high = element_limits(t)
            if not low <= v <= high:
                return False
        elif t.kind == REAL and isinstance(v, int) and float(_cast(v, t)) != v:
            return False
        elif t.kind == STORAGE and np.isnan(_cast(v, t)) and not np.isnan(v):
            return False  # float8_e4m3fn has no infinity
        elif t.kind not in (REAL, STORAGE) and not t.kind.endswith("integer"):
            return False
    return True


def _compare(op: Op, got: Host, wanted: Value, where: Where) -> float:
    """Exact, but for multiples of pi, which no format holds: those within the op's bound."""
    if isinstance(wanted, np.longdouble):
        bound = declaration_of(op).accuracy.bound(where.dtype.name)  # type: ignore[union-attr]
        return check_ulp(got, precise(np.full(got.shape, wanted)), bound, where)
    want = _cast(wanted, where.dtype)
    return check_exact(got, np.broadcast_to(want, got.shape), where)
