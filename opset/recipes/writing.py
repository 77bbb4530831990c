"""Writing recipes: a Python function over :class:`Value`, which :func:`build` runs once and freezes into a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .program import (
    ARITHMETIC_FLOATS,
    FLOATS,
    INTEGERS,
    NUMPY_TYPES,
    STORAGE_FLOATS,
    UNSIGNED,
    WIDTH,
    Code,
    Instruction,
    Program,
    RecipeError,
    pattern,
)


class Builder:
    """Collects the instructions of one recipe, sharing equal ones."""

    def __init__(self, inputs: tuple[str, ...]) -> None:
        self.inputs = inputs
        self.instructions: list[Instruction] = []
        self._known: dict[Instruction, int] = {}

    def emit(self, code: Code, type: str, *args: Value, immediates: tuple[int, ...] = ()) -> Value:
        """Append an instruction, or return the value of an equal one."""
        for a in args:
            if a.builder is not self:
                raise RecipeError(f"{code}: an operand belongs to another recipe")
        key = Instruction(code, type, tuple(a.number for a in args), immediates)
        number = self._known.get(key)
        if number is None:
            number = len(self.inputs) + len(self.instructions)
            self.instructions.append(key)
            self._known[key] = number
        return Value(self, number, type)

    def inline(self, program: Program, *given: Value) -> Value:
        """Append all of a program and return its first result."""
        values = list(given)
        for ins in program.instructions:
            values.append(self.emit(ins.code, ins.type, *(values[a] for a in ins.args), immediates=ins.immediates))
        return values[program.result]

    def freeze(self, name: str, result: Value, *more: Value) -> Program:
        """Drop what no result needs and return the program."""
        n = len(self.inputs)
        live: set[int] = set()
        stack = [result.number, *(v.number for v in more)]
        while stack:
            number = stack.pop()
            if number in live:
                continue
            live.add(number)
            if number >= n:
                stack.extend(self.instructions[number - n].args)
        renumber = {i: i for i in range(n)}
        kept: list[Instruction] = []
        for i, ins in enumerate(self.instructions, n):
            if i in live:
                renumber[i] = n + len(kept)
                kept.append(Instruction(ins.code, ins.type, tuple(renumber[a] for a in ins.args), ins.immediates))
        others = tuple(renumber[v.number] for v in more)
        return Program(name, self.inputs, tuple(kept), renumber[result.number], others)


Number = float | int | bool
_FLOAT_OR_INT: Final = {
    "add": (Code.ADD, Code.IADD),
    "sub": (Code.SUB, Code.ISUB),
    "mul": (Code.MUL, Code.IMUL),
}


class Value:
    """A value inside a recipe. Python numbers beside it take its dtype."""

    __slots__ = ("builder", "number", "type")

    def __init__(self, builder: Builder, number: int, type: str) -> None:
        self.builder = builder
        self.number = number
        self.type = type

    def const(self, value: Number, type: str | None = None) -> Value:
        """Return a constant of this value's dtype, or of the dtype given."""
        kind = type or self.type
        return self.builder.emit(Code.CONST, kind, immediates=(pattern(value, kind),))

    def bits(self, raw: int, type: str | None = None) -> Value:
        """Return the constant that has this bit pattern."""
        kind = type or self.type
        if not 0 <= raw < 1 << WIDTH[kind]:
            raise RecipeError(f"bit pattern {raw:#x} does not fit {kind}")
        return self.builder.emit(Code.CONST, kind, immediates=(raw,))

    def _same(self, other: Value | Number) -> Value:
        value = other if isinstance(other, Value) else self.const(other)
        if value.type != self.type:
            raise RecipeError(f"operands have dtypes {self.type} and {value.type}; convert one of them")
        return value

    def _arith(self, which: str, a: Value, b: Value) -> Value:
        floating, integral = _FLOAT_OR_INT[which]
        if self.type in ARITHMETIC_FLOATS:
            return self.builder.emit(floating, self.type, a, b)
        if self.type in INTEGERS:
            return self.builder.emit(integral, self.type, a, b)
        raise RecipeError(f"{which} is not defined on {self.type}; convert to float32 first")

    def __add__(self, other: Value | Number) -> Value:
        return self._arith("add", self, self._same(other))

    def __radd__(self, other: Number) -> Value:
        return self._arith("add", self._same(other), self)

    def __sub__(self, other: Value | Number) -> Value:
        return self._arith("sub", self, self._same(other))

    def __rsub__(self, other: Number) -> Value:
        return self._arith("sub", self._same(other), self)

    def __mul__(self, other: Value | Number) -> Value:
        return self._arith("mul", self, self._same(other))

    def __rmul__(self, other: Number) -> Value:
        return self._arith("mul", self._same(other), self)

    def __truediv__(self, other: Value | Number) -> Value:
        return self._float(Code.DIV, self, self._same(other))

    def __rtruediv__(self, other: Number) -> Value:
        return self._float(Code.DIV, self._same(other), self)

    def _float(self, code: Code, *args: Value) -> Value:
        if self.type not in ARITHMETIC_FLOATS:
            raise RecipeError(f"{code} is not defined on {self.type}; convert to float32 first")
        return self.builder.emit(code, self.type, *args)

    def _integer(self, code: Code, *args: Value, boolean: bool = False) -> Value:
        if self.type not in INTEGERS and not (boolean and self.type == "bool"):
            raise RecipeError(f"{code} is not defined on {self.type}")
        return self.builder.emit(code, self.type, *args)

    def __neg__(self) -> Value:
        """Flip the sign: the sign bit of a float (NaN and zero too), two's complement of an integer."""
        if self.type in FLOATS:
            u = f"uint{WIDTH[self.type]}"
            return bitcast(bitcast(self, u) ^ (1 << WIDTH[self.type] - 1), self.type)
        return self._same(0) - self

    def __abs__(self) -> Value:
        if self.type in FLOATS:
            u = f"uint{WIDTH[self.type]}"
            return bitcast(bitcast(self, u) & ((1 << WIDTH[self.type] - 1) - 1), self.type)
        return self if self.type in UNSIGNED else select(self < 0, -self, self)

    def __and__(self, other: Value | Number) -> Value:
        return self._integer(Code.AND, self, self._same(other), boolean=True)

    def __or__(self, other: Value | Number) -> Value:
        return self._integer(Code.OR, self, self._same(other), boolean=True)

    def __xor__(self, other: Value | Number) -> Value:
        return self._integer(Code.XOR, self, self._same(other), boolean=True)

    def __invert__(self) -> Value:
        if self.type == "bool":
            return self ^ True
        return self ^ self.bits((1 << WIDTH[self.type]) - 1)

    def __lshift__(self, other: Value | Number) -> Value:
        return self._integer(Code.SHL, self, self._same(other))

    def __rshift__(self, other: Value | Number) -> Value:
        return self._integer(Code.SHR, self, self._same(other))

    def __lt__(self, other: Value | Number) -> Value:
        return self._compare(Code.LT, self, self._same(other))

    def __le__(self, other: Value | Number) -> Value:
        return self._compare(Code.LE, self, self._same(other))

    def __gt__(self, other: Value | Number) -> Value:
        return self._compare(Code.LT, self._same(other), self)

    def __ge__(self, other: Value | Number) -> Value:
        return self._compare(Code.LE, self._same(other), self)

    def _compare(self, code: Code, a: Value, b: Value) -> Value:
        if self.type in STORAGE_FLOATS:
            raise RecipeError(f"{code} is not defined on {self.type}; convert to float32 first")
        return self.builder.emit(code, "bool", a, b)

    def __bool__(self) -> bool:
        raise RecipeError("a recipe has no branches: use select(condition, a, b)")


def eq(a: Value, b: Value | Number) -> Value:
    """Return whether two values are equal (False for NaN, True for +0 and -0)."""
    return a._compare(Code.EQ, a, a._same(b))


def fma(a: Value, b: Value | Number, c: Value | Number) -> Value:
    """Return ``a * b + c`` rounded once."""
    return a._float(Code.FMA, a, a._same(b), a._same(c))


def sqrt(a: Value) -> Value:
    """Return the correctly rounded square root."""
    return a._float(Code.SQRT, a)


def rint(a: Value) -> Value:
    """Round to the nearest integer, ties to even."""
    return a._float(Code.RINT, a)


def mulhi(a: Value, b: Value | Number) -> Value:
    """Return the high half of an integer product."""
    return a._integer(Code.IMULHI, a, a._same(b))


def idiv(a: Value, b: Value | Number) -> Value:
    """Divide integers toward zero; the divisor must not be 0, nor -1 when the dividend is the minimum."""
    return a._integer(Code.IDIV, a, a._same(b))


def irem(a: Value, b: Value | Number) -> Value:
    """Return the remainder of :func:`idiv`."""
    return a._integer(Code.IREM, a, a._same(b))


def select(condition: Value, a: Value | Number, b: Value | Number) -> Value:
    """Return *a* where the condition holds, else *b*; one of them must be a :class:`Value`."""
    if isinstance(a, Value):
        b = a._same(b)
    elif isinstance(b, Value):
        a = b._same(a)
    else:
        raise RecipeError("select needs at least one Value to know the dtype")
    if condition.type != "bool":
        raise RecipeError(f"select's condition has dtype {condition.type}, not bool")
    return a.builder.emit(Code.SELECT, a.type, condition, a, b)


def bitcast(a: Value, type: str) -> Value:
    """Reinterpret the bits as another dtype of the same width."""
    if WIDTH[a.type] != WIDTH[type]:
        raise RecipeError(f"bitcast from {a.type} to {type} changes the width")
    return a if a.type == type else a.builder.emit(Code.BITCAST, type, a)


def convert(a: Value, type: str) -> Value:
    """Convert the value by the rules at :class:`Code`; to bool means ``a != 0``."""
    if a.type == type:
        return a
    if type == "bool":
        wide = convert(a, "float32") if a.type in STORAGE_FLOATS else a
        return ~eq(wide, 0)
    return a.builder.emit(Code.CONVERT, type, a)


def lookup(table: tuple[Number, ...], index: Value, type: str) -> Value:
    """Return ``table[index]`` from a constant table of the dtype given; the index must be in range."""
    if index.type not in INTEGERS:
        raise RecipeError(f"a table index has an integer dtype, not {index.type}")
    return index.builder.emit(Code.LOOKUP, type, index, immediates=tuple(pattern(v, type) for v in table))


def lookup_bits(table: tuple[int, ...], index: Value, type: str) -> Value:
    """Like :func:`lookup`, with the table given as bit patterns."""
    return index.builder.emit(Code.LOOKUP, type, index, immediates=table)


def horner(x: Value, coefficients: tuple[Number, ...]) -> Value:
    """Evaluate a polynomial with fused multiply-adds, highest power first."""
    total = x.const(coefficients[0])
    for c in coefficients[1:]:
        total = fma(total, x, c)
    return total


def build(name: str, inputs: tuple[str, ...], body: Callable[..., Value]) -> Program:
    """Run a recipe's function on fresh inputs and freeze the program it describes.

    >>> print(build("double", ("float32",), lambda x: x + x))
    double:
    %0 = input : float32
    %1 = add %0, %0 : float32
    return %1
    """
    for t in inputs:
        if t not in NUMPY_TYPES:
            raise RecipeError(f"{name}: unknown dtype {t!r}; known: {', '.join(NUMPY_TYPES)}")
    builder = Builder(inputs)
    return builder.freeze(name, body(*(Value(builder, i, t) for i, t in enumerate(inputs))))
