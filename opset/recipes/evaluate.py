"""The reference interpreter: runs a recipe's program over NumPy arrays, bit for bit as :class:`Code` says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .fused import fma, narrow_to_odd
from .program import FLOATS, INTEGERS, NUMPY_TYPES, STORAGE_FLOATS, WIDTH, Code, Instruction, Program

Array = NDArray[Any]

__all__ = ["evaluate", "evaluate_all", "fma"]

_FREED: Final = np.empty(0)
#: Elements that run through the whole program at a time: a few intermediates of this size stay in the cache.
_BLOCK: Final = 1 << 14


def _high_product(a: Array, b: Array) -> Array:
    width = a.dtype.itemsize * 8
    signed = a.dtype.kind == "i"
    if width < 64:
        wide = np.dtype(np.int64 if signed else np.uint64)
        return ((a.astype(wide) * b.astype(wide)) >> wide.type(width)).astype(a.dtype)
    ua, ub = a.astype(np.uint64), b.astype(np.uint64)
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = ua & mask, ua >> half, ub & mask, ub >> half
    middle = a1 * b0 + (a0 * b0 >> half)
    high = a1 * b1 + (middle >> half) + (((middle & mask) + a0 * b1) >> half)
    if signed:
        zero = np.uint64(0)
        high = high - np.where(a < 0, ub, zero) - np.where(b < 0, ua, zero)
    return np.asarray(high.astype(a.dtype))


def _integer_remainder(a: Array, b: Array) -> Array:
    return np.asarray(np.fmod(a, b))


def _integer_quotient(a: Array, b: Array) -> Array:
    return np.asarray((a - np.fmod(a, b)) // b)


def _to_integer(x: Array, to: str) -> Array:
    if x.dtype == NUMPY_TYPES["float16"] or x.dtype == NUMPY_TYPES["bfloat16"]:
        x = x.astype(np.float32)
    low, high = np.iinfo(NUMPY_TYPES[to]).min, np.iinfo(NUMPY_TYPES[to]).max
    # high + 1 is a power of two, hence exact in the float dtype; high itself need not be.
    above, below = x >= x.dtype.type(2.0 ** int(high).bit_length()), x <= x.dtype.type(low)
    inside = np.where(above | below | np.isnan(x), x.dtype.type(0), x).astype(NUMPY_TYPES[to])
    kind = NUMPY_TYPES[to].type
    return np.where(above, kind(high), np.where(below, kind(low), inside))


def _to_bfloat16(x: Array) -> Array:
    # ml_dtypes goes through float32; rounding to odd on the way keeps the last rounding the only one.
    if x.dtype.kind in "iu" and x.dtype.itemsize == 8:
        sign, size = np.where(x < 0, -1.0, 1.0), np.abs(x).astype(np.uint64)
        low = size & np.uint64(0xFFF)
        sticky = (size - low) | np.where(low != 0, np.uint64(0x1000), np.uint64(0))
        x = sign * np.where(size >> np.uint64(52) != 0, sticky, size).astype(np.float64)
    if x.dtype == np.float64 or (x.dtype.kind in "iu" and x.dtype.itemsize >= 4):
        x = narrow_to_odd(np.asarray(x.astype(np.float64)))
    return x.astype(NUMPY_TYPES["bfloat16"])


def _convert(x: Array, source: str, to: str) -> Array:
    if source in FLOATS and to in INTEGERS:
        return _to_integer(x, to)
    if to == "bfloat16":
        return _to_bfloat16(x)
    if source in STORAGE_FLOATS:
        x = x.astype(np.float32)
    return x.astype(NUMPY_TYPES[to])


_OPERATIONS: Final[dict[Code, Callable[..., Any]]] = {
    Code.ADD: np.add,
    Code.SUB: np.subtract,
    Code.MUL: np.multiply,
    Code.FMA: fma,
    Code.DIV: np.divide,
    Code.SQRT: np.sqrt,
    Code.RINT: np.rint,
    Code.IADD: np.add,
    Code.ISUB: np.subtract,
    Code.IMUL: np.multiply,
    Code.IMULHI: _high_product,
    Code.IDIV: _integer_quotient,
    Code.IREM: _integer_remainder,
    Code.SHL: np.left_shift,
    Code.SHR: np.right_shift,
    Code.AND: np.bitwise_and,
    Code.OR: np.bitwise_or,
    Code.XOR: np.bitwise_xor,
    Code.EQ: np.equal,
    Code.LT: np.less,
    Code.LE: np.less_equal,
    Code.SELECT: np.where,
}


def _from_patterns(patterns: tuple[int, ...], type: str) -> Array:
    if type == "bool":
        return np.array(patterns, np.bool_)
    return np.array(patterns, f"uint{WIDTH[type]}").view(NUMPY_TYPES[type])


def _step(program: Program, instruction: Instruction, values: list[Array]) -> Array:
    operands = [values[a] for a in instruction.args]
    match instruction.code:
        case Code.CONST:
            return _from_patterns(instruction.immediates, instruction.type)[0:1].reshape(())
        case Code.BITCAST:
            return operands[0].view(NUMPY_TYPES[instruction.type])
        case Code.CONVERT:
            return _convert(operands[0], program.type_of(instruction.args[0]), instruction.type)
        case Code.LOOKUP:
            return np.asarray(_from_patterns(instruction.immediates, instruction.type)[operands[0]])
        case code:
            return np.asarray(_OPERATIONS[code](*operands))


def _last_uses(program: Program) -> dict[int, list[int]]:
    last = {a: i for i, ins in enumerate(program.instructions) for a in ins.args}
    for result in program.results:
        last.pop(result, None)
    dead: dict[int, list[int]] = {}
    for value, i in last.items():
        dead.setdefault(i, []).append(value)
    return dead


def _run(program: Program, inputs: list[Array], dead: dict[int, list[int]]) -> list[Array]:
    values = inputs
    for i, instruction in enumerate(program.instructions):
        values.append(_step(program, instruction, values))
        for number in dead.get(i, ()):
            values[number] = _FREED
    return [values[r] for r in program.results]


def evaluate(program: Program, *arrays: Array) -> Array:
    """Run a program over arrays, elementwise, and return a new array of the result's dtype.

    Args:
        program: a recipe's program.
        arrays: one array per input, of exactly the input's dtype; shapes broadcast.

    Raises:
        TypeError: if the number of arrays or a dtype differs from the program's inputs.

    >>> from opmux.opset.recipes.writing import build
    >>> evaluate(build("double", ("float32",), lambda x: x + x), np.float32([1, 2.5]))
    array([2., 5.], dtype=float32)
    """
    return evaluate_all(program, *arrays)[0]


def evaluate_all(program: Program, *arrays: Array) -> tuple[Array, ...]:
    """Like :func:`evaluate`, for every result of a program that has several."""
    given = tuple(np.asarray(a) for a in arrays)
    if tuple(a.dtype for a in given) != tuple(NUMPY_TYPES[t] for t in program.inputs):
        shown = ", ".join(str(a.dtype) for a in given)
        raise TypeError(f"{program.name} takes ({', '.join(program.inputs)}); given ({shown})")
    shape = np.broadcast_shapes(*(a.shape for a in given))
    flat = [a.reshape(()) if a.size == 1 else np.broadcast_to(a, shape).reshape(-1) for a in given]
    size, dead = math.prod(shape), _last_uses(program)
    results = [np.empty(size, NUMPY_TYPES[t]) for t in program.result_types]
    with np.errstate(all="ignore"):
        for start in range(0, size, _BLOCK):
            part = slice(start, start + _BLOCK)
            made = _run(program, [a if a.ndim == 0 else a[part] for a in flat], dead)
            for result, values in zip(results, made, strict=True):
                result[part] = values
    return tuple(r.reshape(shape) for r in results)
