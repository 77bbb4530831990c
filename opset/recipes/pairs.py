"""Complex elementwise ops on pairs of real arrays, for devices that have no complex arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...core.arrays.array import Array
from ...core.dtypes import COMPLEX
from ...core.errors import UnsupportedError

Pair = tuple[Array, Array]


def _multiply(ox: Any, a: Pair, b: Pair) -> Array:
    return _joined(ox, a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0])


def _divide(ox: Any, a: Pair, b: Pair) -> Array:
    """Divide by Smith's method (Communications of the ACM 5, 1962, algorithm 116), which does not overflow early."""
    swap = ox.less(ox.abs(b[0]), ox.abs(b[1]))
    large, small = ox.where(swap, b[1], b[0]), ox.where(swap, b[0], b[1])
    first, second = ox.where(swap, a[1], a[0]), ox.where(swap, a[0], a[1])
    ratio = ox.where(ox.equal(small, 0.0), small, small / large)  # 0 / 0 must not spoil a division by zero
    denominator = large + small * ratio
    real = (first + second * ratio) / denominator
    imaginary = (second - first * ratio) / denominator
    return _joined(ox, real, ox.where(swap, -imaginary, imaginary))


def _joined(ox: Any, real: Array, imaginary: Array) -> Array:
    made: Array = ox.complex(real, imaginary)
    return made


def _each(op: str) -> Callable[..., Array]:
    """Apply an op to the real and to the imaginary parts."""

    def run(ox: Any, *pairs: Pair) -> Array:
        real, imaginary = (getattr(ox, op)(*parts) for parts in zip(*pairs, strict=True))
        return _joined(ox, real, imaginary)

    return run


def _test(op: str, join: str) -> Callable[..., Array]:
    """Apply a test to both parts and join the answers."""

    def run(ox: Any, *pairs: Pair) -> Array:
        real, imaginary = (getattr(ox, op)(*parts) for parts in zip(*pairs, strict=True))
        answer: Array = getattr(ox, join)(real, imaginary)
        return answer

    return run


_PAIRS: Final[dict[str, Callable[..., Array]]] = {
    "add": _each("add"),
    "subtract": _each("subtract"),
    "negative": _each("negative"),
    "multiply": _multiply,
    "divide": _divide,
    "equal": _test("equal", "bitwise_and"),
    "not_equal": _test("not_equal", "bitwise_or"),
    "isnan": _test("isnan", "bitwise_or"),
    "isinf": _test("isinf", "bitwise_or"),
    "isfinite": _test("isfinite", "bitwise_and"),
}


def run_on_pairs(ox: Any, name: str, operands: tuple[Array, ...]) -> Array:
    """Return what an op gives for complex operands, by ``real``, ``imag``, ``complex`` and ops on real dtypes.

    Raises:
        UnsupportedError: for an op that has no such form.
    """
    if name == "where":
        parts = [[x if x.dtype.kind != COMPLEX else part(x) for x in operands] for part in (ox.real, ox.imag)]
        return _joined(ox, ox.where(*parts[0]), ox.where(*parts[1]))
    run = _PAIRS.get(name)
    if run is None:
        raise UnsupportedError(f"{name} on complex numbers is not made of other ops", op=name, dtype=operands[-1].dtype)
    return run(ox, *((ox.real(x), ox.imag(x)) for x in operands))
