"""From a recipe's program to LLVM IR over one vector of elements (or one element, at width 1).

Registers hold bool as `i1`, float16 and bfloat16 as their bits in `i16`, all else as itself; memory
holds bool as `i8`. No fast-math flag is ever set, and `llvm.fma` is the only contraction, so the bits
do not depend on the width.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from ...plugin import Code, Instruction, Program, programs
from .convert import Converter, native_half
from .ir import Function
from .jit import CompileOptions
from .target import Target
from .vectors import Tables, every, suffix, vector

#: How to compile what is generated here. It names its vectors, unrolls itself and hoists what it can, so LLVM's
#: own passes would find little, take twice as long, and add their faults to the code generator's.
OPTIONS: Final = CompileOptions(speed_level=0, vectorize=False, unroll=False)

_REGISTER: Final = {"bool": "i1", "float16": "i16", "bfloat16": "i16", "float32": "float", "float64": "double"}

_SAME_TYPE: Final = {
    Code.ADD: "fadd",
    Code.SUB: "fsub",
    Code.MUL: "fmul",
    Code.DIV: "fdiv",
    Code.IADD: "add",
    Code.ISUB: "sub",
    Code.IMUL: "mul",
    Code.SHL: "shl",
    Code.AND: "and",
    Code.OR: "or",
    Code.XOR: "xor",
}
_BITWISE: Final = (Code.AND, Code.OR, Code.XOR)
_INTRINSIC: Final = {Code.FMA: "fma", Code.SQRT: "sqrt", Code.RINT: "roundeven"}
_COMPARISON: Final = {Code.EQ: ("oeq", "eq", "eq"), Code.LT: ("olt", "slt", "ult"), Code.LE: ("ole", "sle", "ule")}


def register(dtype: str) -> str:
    """The IR type that a value of the dtype has inside a function."""
    return _REGISTER.get(dtype) or f"i{programs.WIDTH[dtype]}"


def memory(dtype: str) -> str:
    """The IR type that it has in memory."""
    return "i8" if dtype == "bool" else register(dtype)


def literal(dtype: str, pattern: int) -> str:
    """A constant of the dtype with this bit pattern, as IR text without its type."""
    if dtype == "bool":
        return "true" if pattern else "false"
    if dtype == "float64":
        return f"0x{pattern:016X}"
    if dtype != "float32":
        return str(pattern)
    exponent, fraction = pattern >> 23 & 0xFF, pattern & 0x7FFFFF
    if exponent == 0xFF:  # IR spells float32 constants as the float64 of equal value; NaN keeps its payload.
        return f"0x{(pattern >> 31 << 63) | (0x7FF << 52) | (fraction << 29):016X}"
    (value,) = struct.unpack("<f", struct.pack("<I", pattern))
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def has_masks(target: Target) -> bool:
    """Whether loads and stores under a mask cost no more than plain ones, for elements of every width."""
    return target.vector_bytes == 64


def first_lanes(f: Function, count: str, width: int) -> str:
    """Mask of the first `count` lanes (none below 1): made in a scalar register, then one move to a mask register."""
    kept = f.call("i64", "llvm.smax.i64", [("i64", f.minimum(count, width)), ("i64", 0)])
    bits = f.value(f"xor i64 {f.value(f'shl i64 -1, {kept}')}, -1")
    if width == 64:  # a shift by all 64 bits has no value of its own
        bits = f.value(f"select i1 {f.compare(kept, '==', 64)}, i64 -1, i64 {bits}")
    else:
        bits = f.value(f"trunc i64 {bits} to i{width}")
    return f.value(f"bitcast i{width} {bits} to <{width} x i1>")


class Lowering:
    """Appends programs to a function, `width` elements at a time.

    Args:
        tables: where constant tables go.
        function: where instructions go.
        width: elements per vector.
        target: the machine, for the instructions that only some have.
    """

    def __init__(self, tables: Tables, function: Function, width: int, target: Target) -> None:
        self.tables = tables
        self.function = function
        self.width = width
        self.convert = Converter(function, width, half=native_half(target.features))

    def type(self, dtype: str) -> str:
        """The IR type of a register that holds `width` elements."""
        return vector(register(dtype), self.width)

    def constant(self, dtype: str, pattern: int) -> str:
        """A constant in every lane, without its type."""
        return every(register(dtype), literal(dtype, pattern), self.width)

    def from_memory(self, dtype: str, loaded: str) -> str:
        """Turn what was loaded into a register value."""
        if dtype != "bool":
            return loaded
        return self.function.value(f"icmp ne {vector('i8', self.width)} {loaded}, {every('i8', '0', self.width)}")

    def to_memory(self, dtype: str, value: str) -> str:
        """Turn a register value into what is stored."""
        if dtype != "bool":
            return value
        return self.function.value(f"zext {vector('i1', self.width)} {value} to {vector('i8', self.width)}")

    def load(self, dtype: str, address: str) -> str:
        """Load `width` neighbours."""
        kind = vector(memory(dtype), self.width)
        return self.from_memory(dtype, self.function.load(kind, address, self._align(dtype)))

    def store(self, dtype: str, value: str, address: str) -> None:
        """Store `width` neighbours."""
        kind = vector(memory(dtype), self.width)
        self.function.store(kind, self.to_memory(dtype, value), address, self._align(dtype))

    def load_masked(self, dtype: str, address: str, mask: str, filler: int = 0) -> str:
        """Load where the mask holds; the other lanes get the value with the bit pattern `filler`."""
        kind, name = vector(memory(dtype), self.width), f"@llvm.masked.load.{suffix(memory(dtype), self.width)}.p0"
        text = str(filler) if dtype == "bool" else literal(dtype, filler)
        other = every(memory(dtype), text, self.width)
        given = f"ptr align {self._align(dtype)} {address}, <{self.width} x i1> {mask}, {kind} {other}"
        return self.from_memory(dtype, self.function.value(f"call {kind} {name}({given})"))

    def store_masked(self, dtype: str, value: str, address: str, mask: str) -> None:
        """Store where the mask holds."""
        kind, name = vector(memory(dtype), self.width), f"@llvm.masked.store.{suffix(memory(dtype), self.width)}.p0"
        given = f"{kind} {self.to_memory(dtype, value)}, ptr align {self._align(dtype)} {address}"
        self.function.emit(f"call void {name}({given}, <{self.width} x i1> {mask})")

    @staticmethod
    def _align(dtype: str) -> int:
        return max(programs.WIDTH[dtype] // 8, 1)

    def broadcast(self, dtype: str, value: str) -> str:
        """Copy one element to every lane."""
        if self.width == 1:
            return value
        kind = self.type(dtype)
        first = self.function.value(f"insertelement {kind} poison, {register(dtype)} {value}, i32 0")
        return self.function.value(f"shufflevector {kind} {first}, {kind} poison, <{self.width} x i32> zeroinitializer")

    def run(self, program: Program, inputs: Sequence[str]) -> str:
        """Append a program; inputs and result are register values."""
        values = list(inputs)
        for instruction in program.instructions:
            operands = [values[a] for a in instruction.args]
            source = program.type_of(instruction.args[0]) if instruction.args else instruction.type
            if instruction.code is Code.SELECT:
                source = instruction.type
                operands[1:] = [
                    self._arm(program, a, v) for a, v in zip(instruction.args[1:], operands[1:], strict=True)
                ]
            values.append(self._emit(instruction, source, operands))
        return values[program.result]

    def _arm(self, program: Program, number: int, value: str) -> str:
        """One of select's alternatives, fenced where it comes from a bitwise instruction."""
        n, dtype = len(program.inputs), program.type_of(number)
        while number >= n and program.instructions[number - n].code is Code.BITCAST:
            number = program.instructions[number - n].args[0]
        bitwise = number >= n and program.instructions[number - n].code in _BITWISE
        return self.fenced(dtype, value) if bitwise else value

    def fenced(self, dtype: str, value: str) -> str:
        """The same value, behind a fence that no other instruction is merged across; it costs nothing.

        LLVM 22 selects wrong code for AVX-512 where a `select` takes a combination of bitwise instructions and
        one of that combination's own operands (`vpternlogd` under a mask gets an immediate for another order
        of operands). test_lower.py holds a program that shows it.
        """
        if self.width == 1 or programs.WIDTH[dtype] < 32:
            return value
        f, own, floating = self.function, self.type(dtype), "float" if programs.WIDTH[dtype] == 32 else "double"
        kind = vector(floating, self.width)
        if own != kind:
            value = f.value(f"bitcast {own} {value} to {kind}")
        name = f"llvm.arithmetic.fence.{suffix(floating, self.width)}"
        value = f.value(f"call {kind} @{name}({kind} {value})")
        return value if own == kind else f.value(f"bitcast {kind} {value} to {own}")

    def _emit(self, instruction: Instruction, source: str, operands: list[str]) -> str:
        code, kind, value = instruction.code, self.type(source), self.function.value
        if code in _SAME_TYPE:
            return value(f"{_SAME_TYPE[code]} {kind} {', '.join(operands)}")
        if code in _INTRINSIC:
            given = ", ".join(f"{kind} {v}" for v in operands)
            return value(f"call {kind} @llvm.{_INTRINSIC[code]}.{suffix(register(source), self.width)}({given})")
        if code in _COMPARISON:
            floating, signed, unsigned = _COMPARISON[code]
            if source in programs.FLOATS:
                return value(f"fcmp {floating} {kind} {operands[0]}, {operands[1]}")
            return value(
                f"icmp {signed if source in programs.SIGNED else unsigned} {kind} {operands[0]}, {operands[1]}"
            )
        return self._OTHERS[code](self, instruction, source, operands)

    def _constant(self, instruction: Instruction, source: str, operands: list[str]) -> str:
        return self.constant(instruction.type, instruction.immediates[0])

    def _select(self, instruction: Instruction, source: str, operands: list[str]) -> str:
        condition, a, b = operands
        kind = self.type(instruction.type)
        return self.function.value(f"select {vector('i1', self.width)} {condition}, {kind} {a}, {kind} {b}")

    def _bitcast(self, instruction: Instruction, source: str, operands: list[str]) -> str:
        if register(source) == register(instruction.type):
            return operands[0]
        return self.function.value(f"bitcast {self.type(source)} {operands[0]} to {self.type(instruction.type)}")

    def _convert(self, instruction: Instruction, source: str, operands: list[str]) -> str:
        return self.convert(operands[0], source, instruction.type)

    def _shift_right(self, instruction: Instruction, source: str, operands: list[str]) -> str:
        which = "ashr" if source in programs.SIGNED else "lshr"
        return self.function.value(f"{which} {self.type(source)} {operands[0]}, {operands[1]}")

    def _divide(self, instruction: Instruction, source: str, operands: list[str]) -> str:
        quotient = self._quotient(source, *operands)
        if instruction.code is Code.IDIV:
            return quotient
        kind = self.type(source)
        product = self.function.value(f"mul {kind} {quotient}, {operands[1]}")
        return self.function.value(f"sub {kind} {operands[0]}, {product}")

    def _quotient(self, dtype: str, a: str, b: str) -> str:
        kind, signed = self.type(dtype), dtype in programs.SIGNED
        if programs.WIDTH[dtype] == 64 or self.width == 1:
            return self.function.value(f"{'sdiv' if signed else 'udiv'} {kind} {a}, {b}")
        # No CPU divides vectors of integers. A quotient that is no integer is off the next one by more than
        # its 2**-width part, so a float with more significand bits than the integer never rounds up to it.
        wide = vector("double" if programs.WIDTH[dtype] == 32 else "float", self.width)
        to, back = ("sitofp", "fptosi") if signed else ("uitofp", "fptoui")
        fa = self.function.value(f"{to} {kind} {a} to {wide}")
        fb = self.function.value(f"{to} {kind} {b} to {wide}")
        ratio = self.function.value(f"fdiv {wide} {fa}, {fb}")
        return self.function.value(f"{back} {wide} {ratio} to {kind}")

    def _high_product(self, instruction: Instruction, source: str, operands: list[str]) -> str:
        bits, signed, value = programs.WIDTH[source], source in programs.SIGNED, self.function.value
        if bits == 64 and self.width > 1:
            return self._high_product_of_words(signed, *operands)
        kind, wide = self.type(source), vector(f"i{2 * bits}", self.width)
        a, b = (value(f"{'sext' if signed else 'zext'} {kind} {v} to {wide}") for v in operands)
        product = value(f"mul {wide} {a}, {b}")
        high = value(f"lshr {wide} {product}, {every(f'i{2 * bits}', str(bits), self.width)}")
        return value(f"trunc {wide} {high} to {kind}")

    def _high_product_of_words(self, signed: bool, a: str, b: str) -> str:
        """Vectors have no 128-bit products: four products of 32-bit halves instead."""
        kind = vector("i64", self.width)
        mask, half = every("i64", str(0xFFFFFFFF), self.width), every("i64", "32", self.width)

        def op(which: str, x: str, y: str) -> str:
            return self.function.value(f"{which} {kind} {x}, {y}")

        a0, a1, b0, b1 = op("and", a, mask), op("lshr", a, half), op("and", b, mask), op("lshr", b, half)
        middle = op("add", op("mul", a1, b0), op("lshr", op("mul", a0, b0), half))
        other = op("add", op("and", middle, mask), op("mul", a0, b1))
        high = op("add", op("mul", a1, b1), op("add", op("lshr", middle, half), op("lshr", other, half)))
        if not signed:
            return high
        sign = every("i64", "63", self.width)
        excess = op("add", op("and", op("ashr", a, sign), b), op("and", op("ashr", b, sign), a))
        return op("sub", high, excess)

    def _lookup(self, instruction: Instruction, source: str, operands: list[str]) -> str:
        bits, value, width = max(programs.WIDTH[instruction.type], 8), self.function.value, self.width
        table = self.tables.name(bits, instruction.immediates)
        index, index_type = operands[0], self.type(source)
        if programs.WIDTH[source] < 32:
            index = value(f"zext {index_type} {index} to {vector('i32', width)}")
            index_type = vector("i32", width)
        addresses = value(f"getelementptr inbounds i{bits}, ptr {table}, {index_type} {index}")
        kind = vector(f"i{bits}", width)
        if width == 1:
            found = self.function.load(kind, addresses, bits // 8)
        else:
            name = f"@llvm.masked.gather.{suffix(f'i{bits}', width)}.{suffix('ptr', width)}"
            given = f"<{width} x ptr> align {bits // 8} {addresses}, <{width} x i1> splat (i1 true), {kind} poison"
            found = value(f"call {kind} {name}({given})")
        if instruction.type in programs.INTEGERS or instruction.type in programs.STORAGE_FLOATS:
            return found
        if instruction.type == "bool":
            return self.from_memory("bool", found)
        return value(f"bitcast {kind} {found} to {self.type(instruction.type)}")

    _OTHERS: Final[dict[Code, Callable[[Lowering, Instruction, str, list[str]], str]]] = {
        Code.CONST: _constant,
        Code.SELECT: _select,
        Code.BITCAST: _bitcast,
        Code.CONVERT: _convert,
        Code.SHR: _shift_right,
        Code.IDIV: _divide,
        Code.IREM: _divide,
        Code.IMULHI: _high_product,
        Code.LOOKUP: _lookup,
    }
