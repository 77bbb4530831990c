"""The scalar programs that give every elementwise op its canonical bits.

A *recipe* is a straight-line program over some two dozen base instructions. Each of them is
either exact integer arithmetic or one correctly rounded IEEE 754 operation, so a backend that
lowers these instructions computes the same bits as any other, at any vector width.

Recipes are written as Python functions over :class:`Value`; :func:`build` runs such a function
once and freezes what it did into a :class:`Program`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import ml_dtypes
import numpy as np

NUMPY_TYPES: Final[dict[str, np.dtype]] = {
    name: np.dtype(kind)
    for name, kind in {
        "bool": np.bool_,
        "int8": np.int8,
        "int16": np.int16,
        "int32": np.int32,
        "int64": np.int64,
        "uint8": np.uint8,
        "uint16": np.uint16,
        "uint32": np.uint32,
        "uint64": np.uint64,
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
        "float32": np.float32,
        "float64": np.float64,
    }.items()
}

ARITHMETIC_FLOATS: Final = ("float32", "float64")
STORAGE_FLOATS: Final = ("float16", "bfloat16")
FLOATS: Final = (*ARITHMETIC_FLOATS, *STORAGE_FLOATS)
SIGNED: Final = ("int8", "int16", "int32", "int64")
UNSIGNED: Final = ("uint8", "uint16", "uint32", "uint64")
INTEGERS: Final = (*SIGNED, *UNSIGNED)
WIDTH: Final[dict[str, int]] = {name: 1 if name == "bool" else t.itemsize * 8 for name, t in NUMPY_TYPES.items()}


class Code(StrEnum):
    """The base instructions. Floating ones round to nearest even and keep subnormals."""

    CONST = "const"  # immediate: the bit pattern
    # float32 and float64
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    FMA = "fma"  # a * b + c, rounded once
    DIV = "div"
    SQRT = "sqrt"
    RINT = "rint"  # nearest integer, ties to even; keeps the sign of zero
    # integers, modulo 2**width
    IADD = "iadd"
    ISUB = "isub"
    IMUL = "imul"  # low half
    IMULHI = "imulhi"  # high half; signedness of the type
    IDIV = "idiv"  # toward zero; the program must exclude divisor 0 and MIN / -1
    IREM = "irem"  # sign of the dividend; same exclusions
    SHL = "shl"  # amount in [0, width)
    SHR = "shr"  # arithmetic for signed, logical for unsigned; amount in [0, width)
    # integers and bool
    AND = "and"
    OR = "or"
    XOR = "xor"
    # comparisons give bool; False where an operand is NaN
    EQ = "eq"
    LT = "lt"
    LE = "le"
    SELECT = "select"  # (bool, a, b)
    BITCAST = "bitcast"  # between types of one width
    # Conversion rules: float to float and integer to float round to nearest even; integer to integer keeps
    # the low bits; bool gives 0 or 1; float to integer truncates, saturates, and maps NaN to 0.
    CONVERT = "convert"
    LOOKUP = "lookup"  # immediates: the table's bit patterns; argument: an index in range


@dataclass(frozen=True, slots=True)
class Instruction:
    """One base instruction; operands are value numbers, inputs first."""

    code: Code
    type: str
    args: tuple[int, ...] = ()
    immediates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A frozen straight-line scalar program.

    Value numbers count the inputs first, then the instructions: instruction *i* defines value
    ``len(inputs) + i``.

    Attributes:
        name: for people.
        inputs: dtype names.
        instructions: in an order that respects their dependences.
        result: the value number of the result; a recipe has no other.
        more: those of further results, which only programs of fused ops have.
    """

    name: str
    inputs: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    result: int
    more: tuple[int, ...] = ()

    @property
    def results(self) -> tuple[int, ...]:
        """The value numbers of all results."""
        return self.result, *self.more

    @property
    def result_type(self) -> str:
        """The dtype name of the first result."""
        return self.type_of(self.result)

    @property
    def result_types(self) -> tuple[str, ...]:
        """The dtype names of all results."""
        return tuple(self.type_of(r) for r in self.results)

    def type_of(self, number: int) -> str:
        """Return the dtype name of a value number."""
        n = len(self.inputs)
        return self.inputs[number] if number < n else self.instructions[number - n].type

    def __str__(self) -> str:
        lines = [f"%{i} = input : {t}" for i, t in enumerate(self.inputs)]
        for i, ins in enumerate(self.instructions, len(self.inputs)):
            shown = [f"%{a}" for a in ins.args] + [hex(v) for v in ins.immediates[:4]]
            if len(ins.immediates) > 4:
                shown.append(f"... {len(ins.immediates)} entries")
            lines.append(f"%{i} = {ins.code} {', '.join(shown)} : {ins.type}")
        return "\n".join([f"{self.name}:", *lines, f"return {', '.join(f'%{r}' for r in self.results)}"])


class RecipeError(TypeError):
    """A recipe that is not well typed; always a mistake in the recipe, never in user input."""


def pattern(value: float | int | bool, type: str) -> int:
    """Return the bit pattern of a Python number in a dtype, as an unsigned integer.

    Integers must be in range; floats are rounded to nearest even.

    >>> hex(pattern(1.0, "float32"))
    '0x3f800000'
    """
    if type == "bool":
        return int(bool(value))
    if type in INTEGERS:
        count = 1 << WIDTH[type]
        low, high = (-count // 2, count // 2 - 1) if type in SIGNED else (0, count - 1)
        if not isinstance(value, int) or not low <= value <= high:
            raise RecipeError(f"constant {value!r} does not fit {type} [{low}, {high}]")
        return value & ((1 << WIDTH[type]) - 1)
    if type == "float64":
        return int(struct.unpack("<Q", struct.pack("<d", value))[0])
    with np.errstate(over="ignore"):
        bits = np.asarray(value, NUMPY_TYPES[type])
    return int(bits.view(f"uint{WIDTH[type]}"))


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
