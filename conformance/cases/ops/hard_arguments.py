"""Arguments at which elementwise functions are hard: near poles, zeros, limits and the ends of their range."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....core.dtypes import DType
from ...oracle.exact import mpmath_context
from ...oracle.formats import FORMATS, Host
from .. import values

Reals = NDArray[np.floating[Any]]
Operands = tuple[Host, ...]

_AROUND: Final = 24


def around(points: Iterable[float], t: DType, steps: int = _AROUND) -> Host:
    """Return every number of a dtype within so many steps of some points, of both signs."""
    with np.errstate(all="ignore"):
        centre = np.abs(values.rounded(np.asarray(list(points), np.float64), t))
    whole = np.dtype(f"i{t.itemsize}")
    line = centre[np.isfinite(centre.astype(np.float64))].view(whole).astype(np.int64)
    near = np.unique((line[:, None] + np.arange(-steps, steps + 1)).reshape(-1))
    top = int(np.array(np.inf).astype(t.numpy).view(whole))
    found = near[(near >= 0) & (near <= top)].astype(whole).view(t.numpy)
    return np.concatenate([found, -found])


def powers(t: DType, below: float = 1.0) -> Reals:
    """Return a number in every binade up to a bound, down to the smallest subnormal."""
    form = FORMATS[t.name]
    exponents = np.arange(form.lowest - form.precision + 1, min(math.frexp(below)[1], form.highest))
    return np.asarray(np.ldexp(values.generator("powers", t.name).uniform(1, 2, exponents.size), exponents))


def _joined(t: DType, *parts: Host | Reals) -> Operands:
    made = [
        values.rounded(np.asarray(p, np.float64), t)
        if p.dtype == np.float64 and t.name != "float64"
        else p.astype(t.numpy)
        for p in parts
    ]
    return (np.concatenate(made),)


def _both(x: Reals) -> Reals:
    return np.concatenate([x, -x])


@functools.cache
def near_multiples_of_half_pi(t: DType) -> tuple[float, ...]:
    """Return numbers of a dtype that are closest to multiples of pi/2, one for every few of its large exponents.

    The denominators of the convergents of ``2**e * 2/pi`` are the significands with the smallest remainders (Muller,
    Elementary Functions, 3rd ed., section 11.3.2).
    """
    form, mp, found = FORMATS[t.name], mpmath_context(), []
    with mp.workprec(2 * form.highest + 200):
        for e in [*range(0, form.highest - form.precision, 7), 797 if form.highest > 797 else 72]:
            rest = mp.mpf(2) ** e * 2 / mp.pi
            rest -= mp.floor(rest)
            before, denominator, line = 0, 1, [1]
            while rest and denominator < 1 << form.precision:
                line.append(denominator)
                rest = 1 / rest
                whole = int(mp.floor(rest))
                before, denominator, rest = denominator, whole * denominator + before, rest - whole
            found += [math.ldexp(d, e) for d in line[-2:]]
    return tuple(x for x in sorted(set(found)) if x < form.largest)


def _angles(t: DType) -> Operands:
    halves = np.concatenate([np.arange(1, 41), [355, 710, 1e3, 1e4, 103993, 1e6, 1e8]]) * (math.pi / 2)
    huge = [1e5, 1e10, 1e15, 1e22, 1e30, 1e300, FORMATS[t.name].largest, FORMATS[t.name].largest / 2]
    every = values.rounded(np.array(huge), t)
    near = np.array(near_multiples_of_half_pi(t))
    return _joined(t, around(halves, t, 6), around(every.astype(np.float64), t, 3), _both(powers(t, 1e6)), _both(near))


def _exponents(base: float) -> Callable[[DType], Operands]:
    def arguments(t: DType) -> Operands:
        form = FORMATS[t.name]
        ends = [math.log(form.largest, base), -math.log(2.0**form.lowest, base), -math.log(form.smallest, base)]
        quarters = (np.arange(-80, 81) + 0.5) * math.log(2) / math.log(base)
        return _joined(t, around(ends, t), around([1.0, math.log(2, base), 0.5], t), _both(quarters), _both(powers(t)))

    return arguments


def _near_one(t: DType) -> Operands:
    form = FORMATS[t.name]
    decades = [10.0**k for k in range(-300, 301, 7)]
    return _joined(
        t, np.abs(around([1.0, 2.0, 0.5, math.e, math.sqrt(0.5), math.sqrt(2), 10.0], t)), powers(t, form.largest / 2),
        np.abs(around([d for d in decades if form.smallest < d < form.largest], t, 2)),
    )  # fmt: skip


def _log1p(t: DType) -> Operands:
    close = -np.abs(around([1.0], t)).astype(np.float64)
    return _joined(t, _both(powers(t)), close[close > -1], around([0.5, 0.25, math.sqrt(2) - 1], t), powers(t, 1e30))


def _small(*ends: float) -> Callable[[DType], Operands]:
    def arguments(t: DType) -> Operands:
        return _joined(t, _both(powers(t, 64.0)), around(ends, t))

    return arguments


def _unit(t: DType) -> Operands:
    near = around([1.0, 0.5, math.sqrt(0.5)], t)
    with np.errstate(invalid="ignore"):
        return _joined(t, near[np.abs(near.astype(np.float64)) <= 1], _both(powers(t)))


def _above_one(t: DType) -> Operands:
    near = np.abs(around([1.0, 1.5, 2.0], t, 200)).astype(np.float64)
    return _joined(t, near[near >= 1], powers(t, FORMATS[t.name].largest / 2)[-400:])


def _tails(t: DType) -> Operands:
    ends = {"float16": (0.0, 5.0), "bfloat16": (0.0, 11.0), "float32": (0.0, 11.0), "float64": (0.0, 28.0)}[t.name]
    return _joined(t, _both(np.linspace(*ends, 400)), _both(powers(t)), around([0.84375, 1.25, 0.5, 2.0], t))


def _roots(t: DType) -> Operands:
    whole = np.arange(1, 200, dtype=np.float64)
    squares, cubes = (np.abs(around(whole**k, t, 1)) for k in (2, 3))
    return _joined(t, squares, cubes, powers(t, FORMATS[t.name].largest / 2))


def _signed_roots(t: DType) -> Operands:
    (x,) = _roots(t)
    return (np.concatenate([x, -x]),)


def _pairs(t: DType, x: Iterable[float] | Reals, y: Iterable[float] | Reals) -> Operands:
    """Return every pair."""
    first, second = np.meshgrid(np.asarray(list(x), np.float64), np.asarray(list(y), np.float64))
    return values.rounded(first.ravel(), t), values.rounded(second.ravel(), t)


def _together(*parts: Operands) -> Operands:
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _powers_of(t: DType) -> Operands:
    form = FORMATS[t.name]
    near = np.abs(around([1.0], t, 12)).astype(np.float64)
    top = math.log(form.largest) / form.epsilon
    exponents = [1, 2, 3, 0.5, -0.5, 1 / 3, -1, 7, 1e3, 1e5, top / 20, top, -top]
    whole = [-3.0, -2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 10.0, np.inf, -np.inf, np.nan]
    ends = [math.log2(form.largest), math.log2(form.smallest), -math.log2(form.largest)]
    edge = around(ends, t, 10)
    two = np.full(edge.shape, 2.0).astype(t.numpy)
    odd = [2.0 ** (form.precision - 1) + 1, 2.0**form.precision, 2.0**form.precision + 2, 0.0, -0.0, 5.0, -5.0, 4.0]
    return _together(
        _pairs(t, near, exponents),
        _pairs(t, whole, [*whole, -1.5, 5.0, -5.0, 1e30]),
        (two, edge),
        _pairs(t, [-1.0, -1.0 - form.epsilon, -2.0, -0.0, 0.0, -np.inf], odd),
        _pairs(t, powers(t, form.largest / 2)[::40], [0.5, -0.5, 0.1, 1.9]),
    )


def _quotients(t: DType) -> Operands:
    form = FORMATS[t.name]
    rng = values.generator("quotients", t.name)
    x = values.stratified(t, 400, "x").astype(np.float64)
    y = values.stratified(t, 400, "y").astype(np.float64)
    n = min(x.size, y.size)
    divisor = values.rounded(rng.uniform(1, 2, 200), t).astype(np.float64)
    product = values.rounded(divisor * rng.integers(1, 1 << (form.precision - 2), 200), t)
    step = np.nextafter(product, np.array(0).astype(t.numpy))
    wide = values.rounded(divisor, t)
    signs = values.rounded(rng.choice([-1.0, 1.0], 200), t)
    huge = [form.largest, form.largest / 3, 1e22, 2.0**form.precision + 2]
    return _together(
        (values.rounded(x[:n], t), values.rounded(y[:n], t)),
        ((product * signs).astype(t.numpy), wide),
        ((step * signs).astype(t.numpy), wide),
        _pairs(t, [*huge, *(-h for h in huge)], [0.1, -0.1, 3.0, 1 / 3, form.smallest, 2.0**form.lowest, -7.0]),
    )


def _lengths(t: DType) -> Operands:
    form = FORMATS[t.name]
    size = [form.largest, form.largest / 2, math.sqrt(form.largest) * 2, 2.0**form.lowest, form.smallest, 3.0, 0.0]
    ratio = [1.0, 0.75, form.epsilon, math.sqrt(form.epsilon), 1e-3]
    x, y = _pairs(t, size, ratio)
    return _together((x, (x.astype(np.float64) * y.astype(np.float64)).astype(t.numpy)), _pairs(t, size, size))


def _fused(t: DType) -> Operands:
    """Products that overflow or vanish beside a term that brings the sum back."""
    form = FORMATS[t.name]
    big, least = form.largest, 2.0**form.lowest
    rows = [
        (big, 2.0, -big), (-big, 2.0, big), (big, 1 + form.epsilon, -big), (least, least, 1.0), (least, least, -0.0),
        (-least, least, 0.0), (least, form.epsilon, -form.smallest), (form.smallest, 0.5, 0.0),
        (form.smallest, 0.5, -0.0), (form.smallest, 0.5, form.smallest),
        (1 + form.epsilon, 1 - form.epsilon, -1.0), (big, big, -np.inf),
        (1 + form.epsilon, 1 + form.epsilon, -(1 + 2 * form.epsilon)), (3.0, 1 / 3, -1.0), (least, 0.5, least * 0.5),
    ]  # fmt: skip
    wide = np.array(rows * 3, np.float64)
    return tuple(values.rounded(np.ascontiguousarray(wide[:, i]), t) for i in range(3))


#: Operands by op.
ARGUMENTS: Final[dict[str, Callable[[DType], Operands]]] = {
    **dict.fromkeys(("sin", "cos", "tan"), _angles),
    **dict.fromkeys(("exp", "expm1", "sinh", "cosh"), _exponents(math.e)),
    "exp2": _exponents(2.0),
    **dict.fromkeys(("log", "log2", "log10"), _near_one),
    "log1p": _log1p,
    "tanh": _small(0.5, 0.625, 9.0, 19.0, 22.0),
    "asinh": _small(0.5, 1.0, 2.0),
    "atan": _small(1.0, 0.4375, 2.4375),
    **dict.fromkeys(("asin", "acos", "atanh"), _unit),
    "acosh": _above_one,
    **dict.fromkeys(("erf", "erfc"), _tails),
    **dict.fromkeys(("sqrt", "rsqrt"), _roots),
    "cbrt": _signed_roots,
    "pow": _powers_of,
    **dict.fromkeys(("divide", "remainder", "floor_divide", "atan2"), _quotients),
    "hypot": _lengths,
    "fma": _fused,
}
