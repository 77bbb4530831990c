"""The scalar programs that give every elementwise op its canonical bits.

A *recipe* is a straight-line program over some two dozen base instructions. Each of them is
either exact integer arithmetic or one correctly rounded IEEE 754 operation, so a backend that
lowers these instructions computes the same bits as any other, at any vector width.

How recipes are written is in :mod:`opmux.opset.recipes.writing`.
"""

from __future__ import annotations

import struct
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
