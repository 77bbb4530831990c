"""What each kind of case computes: its operands, its meaning in float64, and how far a result may be from that.

The reference is NumPy in float64 and never a peer's worker. Bounds are loose enough for any sound implementation, and
tight enough that a wrong one cannot pass: they stop a wrong number from being reported as a fast one, and are no
accuracy test; that is what the conformance suite is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from .case import Attribute, Case, Limit, Style
from .errors import UnknownNameError, WrongResultError

Values = NDArray[Any]
Operands = tuple[Values, ...]
Draw = Callable[[Case, np.random.Generator], Operands]
#: In float64, from operands as the op sees them.
Reference = Callable[..., Values]
#: ``scale(case, reference, *operands)``: what an error is measured against, times the machine epsilon of the result.
Scale = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One computation.

    Attributes:
        draw: makes operands as they lie in memory.
        reference: ``reference(case, *operands)`` in float64.
        scale: bound of the error in units of the machine epsilon of the result's dtype; 0 where it must be exact.
        flops: operations per element of the first operand, or a function of the case.
    """

    draw: Draw
    reference: Reference
    scale: Scale
    flops: float | Callable[[Case], float] = 1.0


#: Numbers that are drawn at most; more of them repeat these. A prime, so that no two rows of a matrix are the same. To
#: draw all for every peer would take longer than to measure.
_MOST_DRAWN: Final = 4_194_301
#: Elements that are checked at a time: their temporaries stay in a cache.
_CHECKED: Final = 1 << 17


def _repeated(count: Callable[[int], Values], shape: tuple[int, ...]) -> Values:
    """Return as many numbers as a shape has, of those that are drawn."""
    size = math.prod(shape)
    return np.resize(count(min(size, _MOST_DRAWN)), shape) if size > _MOST_DRAWN else count(size).reshape(shape)


def _uniform(low: float, high: float) -> Draw:
    def draw(case: Case, rng: np.random.Generator) -> Operands:
        return tuple(_repeated(lambda n: rng.uniform(low, high, n).astype(case.dtype), s) for s in case.shapes)

    return draw


def _normal_stored(case: Case, rng: np.random.Generator) -> Operands:
    """Normal numbers, or all of int8; an operand named in ``transposed`` is stored with its last two axes swapped."""
    made = []
    for name, shape in zip("ab", case.shapes, strict=True):
        stored = (*shape[:-2], shape[-1], shape[-2]) if name in str(case.get("transposed", "")) else shape
        if case.dtype == "int8":
            made.append(_repeated(lambda n: rng.integers(-128, 128, n, np.int8), stored))
        else:
            made.append(_repeated(lambda n: rng.standard_normal(n).astype(case.dtype), stored))
    return tuple(made)


def _with_condition(case: Case, rng: np.random.Generator) -> Operands:
    condition, *rest = case.shapes
    return rng.random(condition) < 0.5, *(rng.uniform(-1, 1, s).astype(case.dtype) for s in rest)


def _distinct(case: Case, rng: np.random.Generator) -> Operands:
    """Whole numbers that are all different, so that there is one right index."""
    return tuple(rng.permutation(math.prod(s)).reshape(s).astype(case.dtype) for s in case.shapes)


def _ulps(count: float, floor: float = 0.0) -> Scale:
    def scale(case: Case, reference: Values, *operands: Values) -> Values:
        return count * (np.abs(reference) + floor)

    return scale


def _exact(case: Case, reference: Values, *operands: Values) -> float:
    return 0.0


def _rounded_terms(case: Case, reference: Values, a: Values, b: Values, c: Values) -> Values:
    return np.asarray(2.0 * (np.abs(a * b) + np.abs(c)))


def _sum_scale(case: Case, reference: Values, x: Values) -> Values:
    """4 sqrt(n) times the sum, of positive terms: probabilistic rounding error analysis, Higham and Mary 2019."""
    return 4.0 * math.sqrt(x.size / max(np.size(reference), 1)) * np.abs(reference)


def _matmul_scale(case: Case, reference: Values, a: Values, b: Values) -> Values:
    """4 sqrt(k) times |a_i| |b_j| (Cauchy and Schwarz), from the same analysis.

    Results of 16 bits are accumulated in 32 and rounded once, or once per part of the inner axis: the result, and four
    times its usual size for parts that cancel.
    """
    rows = np.linalg.norm(a, axis=-1)[..., :, None]
    columns = np.linalg.norm(b, axis=-2)[..., None, :]
    if result_dtype(case).itemsize == 2:
        return np.asarray(np.abs(reference) + 4.0 * rows * columns / math.sqrt(a.shape[-1]))
    return np.asarray(4.0 * math.sqrt(a.shape[-1]) * rows * columns)


def _matmul_flops(case: Case) -> float:
    *batch, m, k = case.shapes[0]
    return 2.0 * math.prod(batch) * m * k * case.shapes[1][-1]


def _gelu(case: Case, x: Values) -> Values:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def _softmax(case: Case, x: Values) -> Values:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _layer_norm(case: Case, x: Values, weight: Values, bias: Values) -> Values:
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias)


def _chain(case: Case, x: Values, a: Values, b: Values) -> Values:
    for _ in range(CHAIN_PAIRS):
        x = x * a + b
    return x


def _along_axis(function: Callable[..., Any]) -> Reference:
    return lambda case, x: np.asarray(function(x, axis=case.get("axis")))


#: A chain is so many products, each followed by a sum.
CHAIN_PAIRS: Final = 5

KINDS: Final[dict[str, Kind]] = {
    "exp": Kind(_uniform(-20, 20), lambda case, x: np.exp(x), _ulps(8)),
    "tanh": Kind(_uniform(-4, 4), lambda case, x: np.tanh(x), _ulps(8)),
    "sin": Kind(_uniform(-30, 30), lambda case, x: np.sin(x), _ulps(8, floor=0.01)),
    "log": Kind(_uniform(0.01, 100), lambda case, x: np.log(x), _ulps(8, floor=0.01)),
    "add": Kind(_uniform(-1, 1), lambda case, a, b: a + b, _ulps(1)),
    "multiply": Kind(_uniform(-1, 1), lambda case, a, b: a * b, _ulps(1)),
    "muladd": Kind(_uniform(-1, 1), lambda case, a, b, c: a * b + c, _rounded_terms, 2.0),
    "gelu": Kind(_uniform(-4, 4), _gelu, _ulps(32, floor=1.0), 8.0),
    "where": Kind(_with_condition, lambda case, c, a, b: np.asarray(np.where(c, a, b)), _exact),
    "cast": Kind(_uniform(-1, 1), lambda case, x: x, _ulps(1)),
    "sum": Kind(_uniform(0, 1), _along_axis(np.sum), _sum_scale),
    "mean": Kind(_uniform(0, 1), _along_axis(np.mean), _sum_scale),
    "max": Kind(_uniform(-1, 1), _along_axis(np.max), _exact),
    "argmax": Kind(_distinct, _along_axis(np.argmax), _exact),
    "softmax": Kind(_uniform(-8, 8), _softmax, _ulps(128), 4.0),
    "layer_norm": Kind(_uniform(-2, 2), _layer_norm, _ulps(32, floor=1.0), 8.0),
    "matmul": Kind(_normal_stored, lambda case, a, b: np.matmul(a, b), _matmul_scale, _matmul_flops),
    "chain": Kind(_uniform(0.1, 0.9), _chain, _ulps(32, floor=1.0), 2.0 * CHAIN_PAIRS),
}


def make_case(
    kind: str,
    dtype: str,
    *shapes: tuple[int, ...],
    limit: Limit = None,
    style: Style = "eager",
    **attributes: Attribute,
) -> Case:
    """Return a case with its flops and its bytes filled in."""
    case = Case(kind, dtype, shapes, tuple(attributes.items()), style, 0.0, 0.0, limit)
    flops = kind_of(case).flops
    counted = flops(case) if callable(flops) else flops * math.prod(shapes[0])
    size = np.dtype(dtype).itemsize
    moved = sum(math.prod(s) * (1 if kind == "where" and i == 0 else size) for i, s in enumerate(shapes))
    moved += math.prod(result_shape(case)) * result_dtype(case).itemsize
    return Case(kind, dtype, shapes, case.attributes, style, counted, float(moved), limit)


def kind_of(case: Case) -> Kind:
    """Return what a case computes.

    Raises:
        UnknownNameError: for a kind that does not exist.
    """
    if case.kind not in KINDS:
        raise UnknownNameError(f"no kind {case.kind!r} of case; there are {', '.join(KINDS)}")
    return KINDS[case.kind]


def result_dtype(case: Case) -> np.dtype[Any]:
    """Return the dtype of a case's result."""
    if case.kind == "argmax":
        return np.dtype(np.int64)
    return np.dtype(str(case.get("to", case.dtype)))


def result_shape(case: Case) -> tuple[int, ...]:
    """Return the shape of a case's result."""
    if case.kind == "matmul":
        a, b = case.shapes
        return *np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]
    if case.kind in ("sum", "mean", "max", "argmax"):
        axis = case.get("axis")
        return () if axis is None else tuple(n for i, n in enumerate(case.shapes[0]) if i != axis)
    return np.broadcast_shapes(*case.shapes)


def draw(case: Case, seed: int) -> Operands:
    """Return a case's operands as they lie in memory; the same in every process."""
    return kind_of(case).draw(case, np.random.default_rng(seed))


def as_given(case: Case, stored: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return operands as the op sees them: those stored transposed as views; for arrays of any library."""
    transposed = str(case.get("transposed", ""))
    return tuple(x.mT if name in transposed else x for name, x in zip("abc", stored, strict=False))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a case's result must be near to.

    Attributes:
        values: in float64.
        bound: the largest allowed error, per element or for all.
    """

    case: Case
    values: Values
    bound: Any

    def check(self, result: Values) -> float:
        """Return the largest error as a fraction of its bound (0 where exactness is demanded and met).

        Raises:
            WrongResultError: beyond the bound, for NaN where there is none, for a wrong shape or dtype.
        """
        name = self.case.name
        if result.shape != self.values.shape or result.dtype != result_dtype(self.case):
            raise WrongResultError(
                f"{name}: the result is {result.dtype}{list(result.shape)}, "
                f"expected {result_dtype(self.case)}{list(self.values.shape)}"
            )
        parts = [slice(i, i + _CHECKED) for i in range(0, result.size, _CHECKED)]
        flat, values, bounds = result.reshape(-1), self.values.reshape(-1), np.asarray(self.bound)
        bounds = (
            bounds.reshape(-1) if bounds.shape == result.shape else np.broadcast_to(bounds, result.shape).reshape(-1)
        )
        wrong, first, worst = 0, 0, 0.0
        for part in parts:
            error = np.abs(flat[part].astype(np.float64) - values[part])
            beyond = ~(error <= bounds[part])  # true for NaN
            if beyond.any():
                first = first if wrong else part.start + int(np.argmax(beyond))
                wrong += int(beyond.sum())
            with np.errstate(divide="ignore", invalid="ignore"):
                worst = max(worst, float(np.nanmax(np.where(error > 0, error / bounds[part], 0.0), initial=0.0)))
        if wrong:
            where = tuple(map(int, np.unravel_index(first, result.shape)))
            raise WrongResultError(
                f"{name}: {wrong} of {result.size} elements are wrong, the first at {where}: {flat[first]!r} for "
                f"{values[first]!r}, allowed error {bounds[first]:.3g}"
            )
        return worst


def expected(case: Case, stored: Operands) -> Expected:
    """Return what the result must be, computed in float64 from the operands as stored."""
    kind = kind_of(case)
    wide = [x if x.dtype == bool else x.astype(np.float64) for x in as_given(case, stored)]
    values = np.asarray(kind.reference(case, *wide))
    dtype = result_dtype(case)
    epsilon = 0.0 if dtype.kind in "iub" else float(ml_dtypes.finfo(dtype).eps)
    return Expected(case, values, epsilon * kind.scale(case, values, *wide))
