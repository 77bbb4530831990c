"""Running a recipe through the opset, so that a device with the core ops alone has every elementwise op.

Unsigned values inside of a recipe are carried in the signed dtype of the same width: the core profiles of floats hold
only signed integers. Addition, multiplication, bit operations and equality do not tell the difference; the others are
made here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ...core.arrays import metadata, views
from ...core.arrays.array import Array
from ...core.arrays.transfer import upload
from ...core.devices.device import Device
from ...core.dtypes import BY_NAME, COMPLEX
from ...core.errors import UnsupportedError
from .pairs import run_on_pairs
from .program import FLOATS, SIGNED, UNSIGNED, WIDTH, Code, Instruction, Program, pattern
from .registry import program

_ANY_SIGN: Final = {
    Code.IADD: "add",
    Code.ISUB: "subtract",
    Code.IMUL: "multiply",
    Code.SHL: "bitwise_left_shift",
    Code.AND: "bitwise_and",
    Code.OR: "bitwise_or",
    Code.XOR: "bitwise_xor",
    Code.EQ: "equal",
    Code.SELECT: "where",
    Code.ADD: "add",
    Code.SUB: "subtract",
    Code.MUL: "multiply",
    Code.FMA: "fma",
    Code.DIV: "divide",
    Code.SQRT: "sqrt",
    Code.RINT: "round",
}


def carrier(t: str) -> str:
    """Return the dtype that carries values of a recipe's dtype: the signed one for unsigned integers."""
    return t[1:] if t in UNSIGNED else t


@functools.lru_cache(maxsize=4096)
def _constant(patterns: tuple[int, ...], t: str, device: Device, scalar: bool) -> Array:
    if t == "bool":
        values = np.array(patterns, np.bool_)
    else:
        values = np.array(patterns, f"uint{WIDTH[t]}").view(BY_NAME[carrier(t)].numpy)
    return upload(values.reshape(()) if scalar else values, device, BY_NAME[carrier(t)])


class _Machine:
    """Carries out one program's instructions as calls of the opset."""

    def __init__(self, ox: Any, name: str, run: Program, device: Device) -> None:
        self.ox = ox
        self.name = name
        self.program = run
        self.device = device

    def call(self, op: str, *operands: Array) -> Array:
        """Call an opset function; one that is being decomposed cannot be made of itself."""
        if op == self.name and all(x.dtype.name == t for x, t in zip(operands, self.program.inputs, strict=False)):
            raise UnsupportedError(
                f"{op} on {operands[0].dtype} is what decompositions are made of; a device must bring a kernel for it",
                op=op,
                dtype=operands[0].dtype,
            )
        result: Array = getattr(self.ox, op)(*operands)
        return result

    def constant(self, t: str, *patterns: int) -> Array:
        """Return a constant by its bit patterns: a 0-d array of one, a table of several."""
        return _constant(patterns, t, self.device, len(patterns) == 1)

    def top_bit(self, t: str) -> Array:
        return self.constant(t, 1 << WIDTH[t] - 1)

    def step(self, instruction: Instruction, args: tuple[Array, ...]) -> Array:
        code, t = instruction.code, instruction.type
        of = self.program.type_of(instruction.args[0]) if instruction.args else t
        match code:
            case Code.CONST:
                return self.constant(t, *instruction.immediates)
            case Code.LOOKUP:
                table = _constant(instruction.immediates, t, self.device, False)
                return self.call("gather", table, args[0])
            case Code.BITCAST:
                return args[0] if carrier(of) == carrier(t) else self.ox.bitcast(args[0], BY_NAME[carrier(t)])
            case Code.CONVERT:
                return self.convert(args[0], of, t)
            case Code.LT | Code.LE:
                return self.order(code, of, *args)
            case Code.SHR:
                return self.shift_right(t, *args)
            case Code.IMULHI:
                return self.high_product(t, *args)
            case Code.IDIV:
                return self.quotient(t, *args)
            case Code.IREM:
                return self.call("subtract", args[0], self.call("multiply", self.quotient(t, *args), args[1]))
            case _:
                return self.call(_ANY_SIGN[code], *args)

    def order(self, code: Code, t: str, a: Array, b: Array) -> Array:
        equal = self.call("equal", a, b) if code is Code.LE else None
        if t in UNSIGNED:
            a, b = (self.call("bitwise_xor", x, self.top_bit(t)) for x in (a, b))
        below = self.call("less", a, b)
        return below if equal is None else self.call("bitwise_or", below, equal)

    def shift_right(self, t: str, a: Array, amount: Array) -> Array:
        shifted = self.call("bitwise_right_shift", a, amount)
        if t in SIGNED:
            return shifted
        # Clear the copies of the top bit: there are as many as places, and one more.
        one, ones = self.constant(t, 1), self.constant(t, (1 << WIDTH[t]) - 1)
        copies = self.call("bitwise_left_shift", self.call("bitwise_right_shift", self.top_bit(t), amount), one)
        return self.call("bitwise_and", shifted, self.call("bitwise_xor", copies, ones))

    def halves(self, t: str, a: Array) -> tuple[Array, Array]:
        """Return the low and the high half of an unsigned value's bits."""
        half = WIDTH[t] // 2
        mask = self.constant(t, (1 << half) - 1)
        high = self.call("bitwise_right_shift", a, self.constant(t, half))
        return self.call("bitwise_and", a, mask), self.call("bitwise_and", high, mask)

    def high_product(self, t: str, a: Array, b: Array) -> Array:
        """Multiply by halves (Knuth, The Art of Computer Programming, volume 2, section 4.3.1, algorithm M)."""
        u = t if t in UNSIGNED else "u" + t
        a0, a1 = self.halves(u, a)
        b0, b1 = self.halves(u, b)
        add, multiply = functools.partial(self.call, "add"), functools.partial(self.call, "multiply")
        _, carry = self.halves(u, multiply(a0, b0))
        low, high = self.halves(u, add(multiply(a1, b0), carry))
        _, rest = self.halves(u, add(multiply(a0, b1), low))
        product = add(add(multiply(a1, b1), high), rest)
        if t in SIGNED:
            zero = self.constant(t, 0)
            for x, y in ((a, b), (b, a)):
                product = self.call("subtract", product, self.call("where", self.call("less", x, zero), y, zero))
        return product

    def quotient(self, t: str, a: Array, b: Array) -> Array:
        """Divide toward zero; ``floor_divide`` goes below where the signs differ and something is left over."""
        if t in UNSIGNED:
            whole, divisor = (self.ox.bitcast(x, BY_NAME[t]) for x in (a, b))
            return self.ox.bitcast(self.call("floor_divide", whole, divisor), BY_NAME[carrier(t)])
        floor = self.call("floor_divide", a, b)
        rest = self.call("subtract", a, self.call("multiply", floor, b))
        zero = self.constant(t, 0)
        opposite = self.call("less", self.call("bitwise_xor", a, b), zero)
        exact = self.call("equal", rest, zero)
        inexact = self.call("bitwise_xor", exact, self.constant("bool", 1))
        above = self.call("add", floor, self.constant(t, 1))
        return self.call("where", self.call("bitwise_and", opposite, inexact), above, floor)

    def convert(self, x: Array, of: str, t: str) -> Array:
        cast: Callable[[Array, Any], Array] = self.ox.cast
        if of in UNSIGNED and t in FLOATS:
            # Both halves and the power of two are exact, so that the addition is the only rounding.
            low, high = (cast(part, BY_NAME[t]) for part in self.halves(of, x))
            return self.call("fma", high, self.constant(t, pattern(2.0 ** (WIDTH[of] // 2), t)), low)
        if of in FLOATS and t in UNSIGNED:
            return self.ox.bitcast(cast(x, BY_NAME[t]), BY_NAME[carrier(t)])
        made = cast(x, BY_NAME[carrier(t)])
        if of in UNSIGNED and WIDTH.get(t, 0) > WIDTH[of]:
            return self.call("bitwise_and", made, self.constant(t, (1 << WIDTH[of]) - 1))
        return made


def run_recipe(ox: Any, name: str, operands: tuple[Array, ...]) -> Array:
    """Return what an elementwise op gives for operands of one dtype, by its recipe and the core ops alone.

    Args:
        ox: the opset.
        name: the op.
        operands: promoted already; they broadcast.

    Raises:
        UnsupportedError: for an op and dtype that decompositions are made of.
    """
    if any(x.dtype.kind == COMPLEX for x in operands):
        return run_on_pairs(ox, name, operands)
    found = program(name, tuple(x.dtype.name for x in operands))
    if found is None:
        raise UnsupportedError(f"{name} has no recipe for {operands[-1].dtype}", op=name, dtype=operands[-1].dtype)
    machine = _Machine(ox, name, found, operands[0].device)
    values = [ox.bitcast(x, BY_NAME[carrier(x.dtype.name)]) if x.dtype.name in UNSIGNED else x for x in operands]
    for instruction in found.instructions:
        values.append(machine.step(instruction, tuple(values[a] for a in instruction.args)))
    result = values[found.result]
    if found.result_type in UNSIGNED:
        result = ox.bitcast(result, BY_NAME[found.result_type])
    shape = views.broadcast_shapes(*(x.shape for x in operands), where=name)
    if result.shape != shape or any(result is x for x in operands):
        return ox.copy(metadata.broadcast_to(result, shape))  # a constant, or an operand unchanged
    return result
