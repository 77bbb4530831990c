"""What a collective must give on every rank: exact where the contract says so, else exact sums of fractions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np

from ....core.collectives.layout import cut
from ....core.dtypes import BOOL, COMPLEX, REAL, DType, dtype
from ....core.errors import ConformanceError
from ....core.op import OPS, Op
from ....opset.accuracy import Accumulated
from ....opset.declare import declaration_of
from ...oracle.allowance import accumulated
from ...oracle.canonical import canonical
from ...oracle.compare import Where, check_exact, check_layout
from ...oracle.formats import Host
from ..ops.determinism import bits_of

Attributes = Mapping[str, Any]
Combine = Callable[[Host, Host], Host]


def _signed(zero: Combine, other: Combine) -> Combine:
    """NumPy may return either of two zeros; the opset orders -0 below +0."""

    def combine(x: Host, y: Host) -> Host:
        if dtype(x.dtype).kind != REAL:
            return other(x, y)
        return np.where((x == 0) & (y == 0), zero(x, y), other(x, y)).astype(x.dtype)

    return combine


#: How two contributions are combined in their own dtype.
COMBINE: Final[dict[str, Combine]] = {
    "sum": np.add,
    "prod": np.multiply,
    "min": _signed(lambda x, y: -((-x) + (-y)), np.minimum),
    "max": _signed(np.add, np.maximum),
    "and": np.bitwise_and,
    "or": np.bitwise_or,
}
#: The same of truth values.
_TRUTH: Final = {"sum": "or", "max": "or", "or": "or", "prod": "and", "min": "and", "and": "and"}
_NARROW: Final = frozenset({"float16", "bfloat16"})


def reductions_of(t: DType) -> tuple[str, ...]:
    """Return the reductions that a dtype has."""
    if t.kind == COMPLEX:
        return ("sum", "prod")
    return ("sum", "prod", "min", "max") if t.kind == REAL else tuple(COMBINE)


def contributions(op: Op, operands: Sequence[Host], attributes: Attributes) -> list[Host]:
    """Return what is reduced, in the order of the numbers of the contributions."""
    axis = attributes.get("axis")
    if op.name != "all_reduce" or axis is None:
        return list(operands)
    return [row for x in operands for row in np.moveaxis(x, axis, 0)]


@dataclass(frozen=True)
class Expected:
    """What one rank must get.

    Attributes:
        want: exact values; of sums and products of floats, the nearest ones.
        check: holds a result, and returns its error as a share of what is allowed.
        unit: of that error.
    """

    want: Host
    check: Callable[[Host], float]
    unit: str


def expected(op: Op, operands: Sequence[Host], attributes: Attributes) -> list[Expected]:
    """Return what every rank must get."""
    t = dtype(operands[0].dtype)
    if "reduction" not in attributes:
        made = declaration_of(op).body(np, list(operands), None, **attributes)
        return [_bitwise(np.asarray(x), op, t) for x in made]
    reduction = attributes["reduction"]
    terms = contributions(op, operands, attributes)
    rounds = reduction in ("sum", "prod") and t.kind in (REAL, COMPLEX) and len(terms) > 1
    whole = _rounded(op, t, reduction, terms) if rounds else _exact(op, t, _folded(t, reduction, terms))
    return [whole(part) for part in _parts(op, terms[0], len(operands), attributes)]


def exactly(op: Op, t: DType, whole: Host, ranks: int, attributes: Attributes) -> list[Expected]:
    """Return what every rank must get of a reduction whose exact result is known."""
    made = _exact(op, t, whole)
    return [made(part) for part in _parts(op, whole, ranks, attributes)]


def canonical_bits(op: Op, operands: Sequence[Host], attributes: Attributes) -> list[Host]:
    """Return what the canonical order gives every rank: contribution 2i with 2i + 1, those pairs likewise."""
    t, reduction = dtype(operands[0].dtype), attributes["reduction"]
    terms = contributions(op, operands, attributes)
    widens = t.name in _NARROW and reduction in ("sum", "prod")
    combine = _step(t, reduction)
    given = [x.astype(np.float32) for x in terms] if widens else terms

    def of(first: int, span: int) -> Host:
        if span == 1:
            return given[first]
        half = span // 2
        left = of(first, half)
        return combine(left, of(first + half, half)) if first + half < len(given) else left

    span = 1
    while span < len(given):
        span *= 2
    with np.errstate(all="ignore"):
        whole = np.asarray(of(0, span)).astype(t.numpy)
    return [whole[part] for part in _parts(op, terms[0], len(operands), attributes)]


def hold_bits(got: Host, want: Host, kernel: str, what: str) -> None:
    """Demand the same bits, all NaNs being one.

    Raises:
        ConformanceError: they are others.
    """
    if got.shape == want.shape and bits_of(got) == bits_of(want):
        return
    pairs = zip(got.reshape(-1), want.reshape(-1), strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if bits_of(np.asarray(a)) != bits_of(np.asarray(b))), 0)
    shown = f"{got.reshape(-1)[at]!r} instead of {want.reshape(-1)[at]!r}" if got.size and want.size else got.shape
    raise ConformanceError(f"{kernel}: {what}: element {at} is {shown}", kernel=kernel)


def _step(t: DType, reduction: str) -> Combine:
    if t.kind == BOOL:
        return COMBINE[_TRUTH[reduction]]
    if t.kind == COMPLEX and reduction == "prod":  # NumPy's own product of complex numbers may contract
        return lambda x, y: np.asarray(canonical(OPS["multiply"], (x, y), {}))
    return COMBINE[reduction]


def _folded(t: DType, reduction: str, terms: Sequence[Host]) -> Host:
    combine, made = _step(t, reduction), terms[0]
    with np.errstate(all="ignore"):
        for x in terms[1:]:
            made = combine(made, x)
    return np.asarray(made)


def _parts(op: Op, term: Host, ranks: int, attributes: Attributes) -> list[tuple[slice, ...]]:
    """Return of every rank which part of the whole is its own."""
    if op.name == "all_reduce":
        return [()] * ranks
    axis = attributes["axis"] % term.ndim
    lengths = attributes.get("sizes") or cut(term.shape[axis], ranks)
    found, start = [], 0
    for n in lengths:
        found.append((slice(None),) * axis + (slice(start, start + n),))
        start += n
    return found


def _bitwise(want: Host, op: Op, t: DType) -> Expected:
    """Movement: every bit, NaN payloads included."""

    def check(got: Host) -> float:
        check_layout(got, want.shape, Where(op.name, t))
        a, b = (np.frombuffer(x.tobytes(), np.uint8).reshape(x.size, x.itemsize) for x in (got, want))
        wrong = (a != b).any(axis=1).nonzero()[0]
        if wrong.size:
            at = int(wrong[0])
            raise ConformanceError(
                f"{wrong.size} of {want.size} elements are wrong, the first at {at}: {got.reshape(-1)[at]} instead of "
                f"{want.reshape(-1)[at]}",
                op=op.name,
            )
        return 0.0

    return Expected(want, check, "exact")


def _exact(op: Op, t: DType, whole: Host) -> Callable[[tuple[slice, ...]], Expected]:
    def of(part: tuple[slice, ...]) -> Expected:
        want = np.asarray(whole[part])

        def check(got: Host) -> float:
            check_layout(got, want.shape, Where(op.name, t))
            check_exact(got, want, Where(op.name, t))
            return 0.0

        return Expected(want, check, "exact")

    return of


def _rounded(op: Op, t: DType, reduction: str, terms: Sequence[Host]) -> Callable[[tuple[slice, ...]], Expected]:
    """Sums and products of floats: exact fractions, and the contract's bound around them."""
    rule = declaration_of(op).accuracy
    if not isinstance(rule, Accumulated):
        raise ConformanceError(f"{op.name} has no bound for sums: a fault of the suite", op=op.name)
    rule = replace(rule, multiplicative=reduction == "prod")
    parts = [_fractions(x) for x in terms]
    re, im = parts[0]
    for a, b in parts[1:]:
        made = (re + a, im + b) if reduction == "sum" else (re * a - im * b, re * b + im * a)
        re, im = (np.asarray(x, object) for x in made)
    high = np.asarray(_numbers(re) + 1j * _numbers(im)) if t.kind == COMPLEX else _numbers(re)
    wider = [x.astype(np.complex128 if t.kind == COMPLEX else np.float64) for x in terms]
    magnitude = np.sum([np.abs(x) for x in wider], axis=0)
    allowed = np.asarray(accumulated(rule, t, high, np.asarray(magnitude), len(terms)))

    def of(part: tuple[slice, ...]) -> Expected:
        want, bound, (x, y) = high[part], allowed[part], (np.asarray(re[part]), np.asarray(im[part]))

        def check(got: Host) -> float:
            check_layout(got, want.shape, Where(op.name, t))
            finite = np.isfinite(got)
            if not finite.all():
                raise ConformanceError(f"{op.name}: {(~finite).sum()} elements are not finite", op=op.name)
            a, b = _fractions(got)
            error = np.hypot(_numbers(a - x), _numbers(b - y))  # exact differences, rounded after
            share = np.asarray(error / np.where(bound > 0, bound, 1.0)).reshape(-1)
            if share.size and share.max() > 1:
                at = int(share.argmax())
                raise ConformanceError(
                    f"{op.name}: element {at} is {got.reshape(-1)[at]!r} instead of {want.reshape(-1)[at]!r}: "
                    f"{share[at]:.3g} times what the contract allows",
                    op=op.name,
                )
            return float(share.max(initial=0.0))

        return Expected(want.astype(t.numpy), check, "of the bound")

    return of


def _fractions(x: Host) -> tuple[Host, Host]:
    """Return the real and imaginary parts of finite numbers as exact fractions."""

    def exactly(part: Host) -> Host:
        made = np.empty(part.shape, object)
        made.reshape(-1)[:] = [Fraction(float(v)) for v in part.reshape(-1)]
        return made

    if x.dtype.kind == "c":
        return exactly(x.real), exactly(x.imag)
    return exactly(x), exactly(np.zeros(x.shape))


def _numbers(x: Any) -> Host:
    return np.asarray(np.asarray(x, object).astype(np.float64))
