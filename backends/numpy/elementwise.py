"""Elementwise ops: one row per ufunc that gives what the opset asks for, and the recipes for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ...plugin import (
    Accepts,
    CallSpec,
    Kernel,
    Prepared,
    Reason,
    Rejection,
    combine_of,
    evaluate,
    ops_with_recipes,
    recipe,
    recipe_of,
)
from . import costs
from .costs import ufunc_cost
from .rows import BOOL, COMPLEXES, FLOATS, INTEGERS, NARROW, Host, kernel, launcher

NUMBERS: Final = INTEGERS | FLOATS | COMPLEXES
ANY: Final = NUMBERS | BOOL
HALF: Final = frozenset({"float16"})
DOUBLE: Final = frozenset({"float64"})

#: Ops for which NumPy's ufunc meets the contract, special values and integer edge cases included, with the dtypes for
#: which it does.
UFUNCS: Final[dict[str, tuple[Callable[..., Any], frozenset[str]]]] = {
    "add": (np.add, NUMBERS),
    "subtract": (np.subtract, NUMBERS),
    "multiply": (np.multiply, NUMBERS),
    "divide": (np.divide, FLOATS | COMPLEXES),
    "floor_divide": (np.floor_divide, INTEGERS),
    "remainder": (np.remainder, INTEGERS),
    "negative": (np.negative, NUMBERS),
    "conj": (np.conjugate, NUMBERS),
    "abs": (np.abs, INTEGERS | FLOATS),
    "sign": (np.sign, INTEGERS),
    "copysign": (np.copysign, FLOATS),
    "nextafter": (np.nextafter, FLOATS - HALF),  # of -0 and +0 NumPy's float16 gives -0, not the second
    "sqrt": (np.sqrt, FLOATS),
    "cbrt": (np.cbrt, FLOATS - DOUBLE),  # 2.3 ULP were seen where NumPy calls the C library
    "hypot": (np.hypot, FLOATS),
    "exp": (np.exp, FLOATS),
    "exp2": (np.exp2, FLOATS),
    "expm1": (np.expm1, FLOATS),
    "log": (np.log, FLOATS - {"float32"}),
    "log2": (np.log2, FLOATS),
    "log10": (np.log10, FLOATS - {"float32"} - DOUBLE),  # 1.5 ULP in float64 were seen there
    "log1p": (np.log1p, FLOATS),
    "sin": (np.sin, FLOATS - DOUBLE),
    "cos": (np.cos, FLOATS - DOUBLE),
    "tan": (np.tan, FLOATS),
    "asin": (np.arcsin, FLOATS),
    "acos": (np.arccos, FLOATS),
    "atan": (np.arctan, FLOATS),
    "atan2": (np.arctan2, FLOATS),
    "sinh": (np.sinh, FLOATS),
    "cosh": (np.cosh, FLOATS),
    "tanh": (np.tanh, FLOATS),
    "asinh": (np.arcsinh, FLOATS),
    "acosh": (np.arccosh, FLOATS),
    "atanh": (np.arctanh, FLOATS),
    "floor": (np.floor, FLOATS),
    "ceil": (np.ceil, FLOATS),
    "trunc": (np.trunc, FLOATS),
    "round": (np.rint, FLOATS),
    "equal": (np.equal, ANY),
    "not_equal": (np.not_equal, ANY),
    "less": (np.less, INTEGERS | FLOATS),
    "less_equal": (np.less_equal, INTEGERS | FLOATS),
    "greater": (np.greater, INTEGERS | FLOATS),
    "greater_equal": (np.greater_equal, INTEGERS | FLOATS),
    "isnan": (np.isnan, FLOATS | COMPLEXES),
    "isinf": (np.isinf, FLOATS | COMPLEXES),
    "isfinite": (np.isfinite, FLOATS | COMPLEXES),
    "signbit": (np.signbit, FLOATS),
    "bitwise_and": (np.bitwise_and, INTEGERS | BOOL),
    "bitwise_or": (np.bitwise_or, INTEGERS | BOOL),
    "bitwise_xor": (np.bitwise_xor, INTEGERS | BOOL),
    "bitwise_invert": (np.invert, INTEGERS | BOOL),
    "bitwise_left_shift": (np.left_shift, INTEGERS),
    "bitwise_right_shift": (np.right_shift, INTEGERS),
}


def _ufunc(op: str, ufunc: Callable[..., Any], allowed: frozenset[str]) -> Kernel:
    def bind(spec: CallSpec) -> Callable[..., None]:
        def compute(out: Host, *operands: Host) -> None:
            ufunc(*operands, out=out)

        return compute

    return kernel(op, bind, (allowed,), cost=ufunc_cost(op))


def _extreme(reduction: str) -> Callable[[CallSpec], Callable[..., None]]:
    def bind(spec: CallSpec) -> Callable[..., None]:
        combine = combine_of(reduction, spec.outputs[0].dtype)
        return lambda out, x, y: combine(x, y, out)

    return bind


def _pow(out: Host, x: Host, y: Host) -> None:
    """NumPy takes the square root for an exponent of 1/2 that repeats: -0 and NaN of -0 and -inf, not +0 and +inf."""
    halves = y == 0.5 if 0 in y.strides or not y.ndim else None
    if halves is None or not halves.any():
        np.power(x, y, out=out)
        return
    zero, lowest = halves & (x == 0), halves & (x == -np.inf)  # before out is written, which may be an operand
    np.power(x, y, out=out)
    np.copyto(out, out.dtype.type(0), where=zero)
    np.copyto(out, out.dtype.type(np.inf), where=lowest)


def _where(out: Host, condition: Host, x: Host, y: Host) -> None:
    if any(np.may_share_memory(out, given) for given in (condition, x)):  # out= may be an operand
        out[...] = np.where(condition, x, y)
        return
    np.copyto(out, y)
    np.copyto(out, x, where=condition)


def _by_recipe(op: str) -> Kernel:
    """Return the kernel that interprets an op's recipe: complete and canonical, many passes over the data."""

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        inputs = tuple(s.dtype.name for s in spec.arrays)
        if not COMPLEXES.isdisjoint(inputs):
            return Rejection(Reason.DTYPE, f"recipes are of real numbers, not of {', '.join(inputs)}")
        program = recipe_of(spec)
        if isinstance(program, Rejection):
            return program

        def compute(out: Host, *operands: Host) -> None:
            out[...] = evaluate(program, *operands)

        return launcher(compute)

    return Kernel(f"{op}.recipe", op, "cpu", prepare, Accepts(), cost=costs.RECIPE)


def _through_float64(ufunc: Callable[..., Any]) -> Callable[[CallSpec], Callable[..., None]]:
    """NumPy's own float32 logarithms are off by up to 3.9 ULP with AVX-512, more than the contract allows."""

    def compute(out: Host, x: Host) -> None:
        ufunc(x, out=out, dtype=np.float64, casting="unsafe")

    return lambda spec: compute


def _of_far_angles(op: str, ufunc: Callable[..., Any]) -> Callable[[CallSpec], Callable[..., None]]:
    """NumPy reduces a large float64 angle with an absolute error of some 2**-94, which near a multiple of pi/2 is all.

    39,000 ULP were seen there. Where a result is that small, the recipe computes it.
    """

    def bind(spec: CallSpec) -> Callable[..., None]:
        program = recipe(op, ("float64",))

        def compute(out: Host, x: Host) -> None:
            given = x.copy() if np.may_share_memory(out, x) else x  # out= may be the operand
            ufunc(given, out=out)
            if program is None or np.fmax.reduce(np.abs(given), axis=None, initial=0.0) <= _NEAR_ANGLES:
                return
            doubtful = (np.abs(out) < _DOUBTFUL) & (np.abs(given) > _NEAR_ANGLES)
            if doubtful.any():
                out[doubtful] = evaluate(program, given[doubtful])

        return compute

    return bind


#: Angles up to here were within half an ULP and a little.
_NEAR_ANGLES: Final = 2.0**20
#: Above this an error of 2**-94 is far below a quarter of an ULP.
_DOUBTFUL: Final = 2.0**-32


def _real(out: Host, x: Host) -> None:
    out[...] = x.real


def _imag(out: Host, x: Host) -> None:
    out[...] = x.imag


def _complex(out: Host, x: Host, y: Host) -> None:
    out.real, out.imag = x, y


_SINGLE: Final = (frozenset({"float32"}),)
_DOUBLE: Final = (DOUBLE,)
_SPECIAL: Final = (
    kernel("maximum", _extreme("max"), (INTEGERS | FLOATS,), cost=costs.EXTREME),
    kernel("minimum", _extreme("min"), (INTEGERS | FLOATS,), cost=costs.EXTREME),
    kernel("pow", lambda spec: _pow, (FLOATS,), cost=ufunc_cost("pow")),
    kernel("where", lambda spec: _where, (BOOL, ANY), cost=costs.WHERE),
    kernel("log", _through_float64(np.log), _SINGLE, name="log.float64", cost=ufunc_cost("log")),
    kernel("log10", _through_float64(np.log10), _SINGLE, name="log10.float64", cost=ufunc_cost("log10")),
    kernel("sin", _of_far_angles("sin", np.sin), _DOUBLE, name="sin.float64", cost=ufunc_cost("sin")),
    kernel("cos", _of_far_angles("cos", np.cos), _DOUBLE, name="cos.float64", cost=ufunc_cost("cos")),
    kernel("real", lambda spec: _real, (COMPLEXES,)),
    kernel("imag", lambda spec: _imag, (COMPLEXES,)),
    kernel("complex", lambda spec: _complex, (FLOATS - NARROW,)),
)

KERNELS: Final[tuple[Kernel, ...]] = (
    *(_ufunc(op, ufunc, allowed) for op, (ufunc, allowed) in UFUNCS.items()),
    *_SPECIAL,
    *(_by_recipe(op) for op in ops_with_recipes() if op not in ("cast", "bitcast")),
)
