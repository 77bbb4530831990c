"""From a recipe's program to CUDA C++ over one element.

Every instruction of a recipe is exact or rounded once, and so is what is written for it here; the compiler is told not
to contract products and sums (:mod:`.nvrtc`). So the bits are those of every other backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...plugin import Code, Instruction, Program, programs

#: The type that holds a value in a register, by dtype.
REGISTER: Final = {
    "bool": "bool", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64",
    "float16": "u16", "bfloat16": "u16", "float32": "f32", "float64": "f64",
    "complex64": "c64", "complex128": "c128", "float8_e4m3fn": "u8", "float8_e5m2": "u8",
}  # fmt: skip
#: The type that holds it in memory.
MEMORY: Final = {**REGISTER, "bool": "u8"}
_INFIX: Final = {
    Code.ADD: "+", Code.SUB: "-", Code.MUL: "*", Code.DIV: "/", Code.IADD: "+", Code.ISUB: "-", Code.IMUL: "*",
    Code.IDIV: "/", Code.IREM: "%", Code.SHL: "<<", Code.SHR: ">>", Code.AND: "&", Code.OR: "|", Code.XOR: "^",
    Code.EQ: "==", Code.LT: "<", Code.LE: "<=",
}  # fmt: skip
_FLOATING: Final = (Code.ADD, Code.SUB, Code.MUL, Code.DIV)
_COMPARISONS: Final = (Code.EQ, Code.LT, Code.LE)
#: In C++ these overflow, or shift into the sign, only on unsigned types of full width without harm.
_MODULO: Final = (Code.IADD, Code.ISUB, Code.IMUL, Code.SHL, Code.AND, Code.OR, Code.XOR)


def from_memory(dtype: str, value: str) -> str:
    """Return the register value of what was loaded."""
    return f"({value} != 0)" if dtype == "bool" else value


def to_memory(dtype: str, value: str) -> str:
    """Return what is stored for a register value."""
    return f"(u8){value}" if dtype == "bool" else value


def function(name: str, program: Program) -> str:
    """Return a device function that carries out a program on register values; several results come as a struct.

    >>> from opmux.plugin import build_program
    >>> print(function("twice", build_program("twice", ("float32",), lambda x: x + x)))
    __device__ __forceinline__ f32 twice(f32 v0) {
        const f32 v1 = v0 + v0;
        return v1;
    }
    """
    n = len(program.inputs)
    parameters = ", ".join(f"{REGISTER[t]} v{i}" for i, t in enumerate(program.inputs))
    tables: list[str] = []
    lines = [
        f"    const {REGISTER[ins.type]} v{i} = {_expression(program, ins, name, tables)};"
        for i, ins in enumerate(program.instructions, n)
    ]
    kinds = [REGISTER[t] for t in program.result_types]
    made, result = kinds[0], f"v{program.result}"
    if program.more:
        made, result = f"{name}_results", f"{{{', '.join(f'v{r}' for r in program.results)}}}"
        tables.append(f"struct {made} {{ {' '.join(f'{k} r{i};' for i, k in enumerate(kinds))} }};")
    head = f"__device__ __forceinline__ {made} {name}({parameters}) {{"
    return "\n".join([*tables, head, *lines, f"    return {result};", "}"])


def assigned(name: str, types: Sequence[str], arguments: Sequence[str], targets: Sequence[str]) -> str:
    """Return statements that call a :func:`function` and store what it returns.

    Args:
        name: the function.
        types: dtypes of its results.
        arguments: register values.
        targets: where each result goes in memory.

    >>> assigned("compute", ["bool"], ["x"], ["out[i]"])
    'out[i] = (u8)compute(x);'
    """
    call = f"{name}({', '.join(arguments)})"
    if len(types) == 1:
        return f"{targets[0]} = {to_memory(types[0], call)};"
    stores = (f"{to} = {to_memory(t, f'results.r{i}')};" for i, (to, t) in enumerate(zip(targets, types, strict=True)))
    return f"auto results = {call}; {' '.join(stores)}"


def literal(dtype: str, pattern: int) -> str:
    """Return a constant with a bit pattern.

    >>> literal("float32", 0x7F800000), literal("int8", 0xFF), literal("bool", 1)
    ('bits_as<f32>(0x7f800000u)', '(i8)0xffu', 'true')
    """
    if dtype == "bool":
        return "true" if pattern else "false"
    wide = f"{pattern:#x}ull" if programs.WIDTH[dtype] == 64 else f"{pattern:#x}u"
    kind = REGISTER[dtype]
    return f"bits_as<{kind}>({wide})" if dtype in programs.ARITHMETIC_FLOATS else f"({kind}){wide}"


def _expression(program: Program, ins: Instruction, name: str, tables: list[str]) -> str:
    values = [f"v{a}" for a in ins.args]
    source = program.type_of(ins.args[0]) if ins.args else ins.type
    code, kind = ins.code, REGISTER[ins.type]
    if code is Code.CONST:
        return literal(ins.type, ins.immediates[0])
    if code in _FLOATING or code in _COMPARISONS:
        return f"{values[0]} {_INFIX[code]} {values[1]}"
    if code in _MODULO:
        wide = "u64" if programs.WIDTH[source] == 64 else "u32"
        if source == "bool":
            return f"(bool)({values[0]} {_INFIX[code]} {values[1]})"
        return f"({kind})(({wide}){values[0]} {_INFIX[code]} ({wide}){values[1]})"
    if code in (Code.IDIV, Code.IREM, Code.SHR):
        return f"({kind})({values[0]} {_INFIX[code]} {values[1]})"
    if code is Code.IMULHI:
        return _high_product(source, values)
    if code in (Code.FMA, Code.SQRT, Code.RINT):
        which = {Code.FMA: "fma", Code.SQRT: "sqrt", Code.RINT: "rint"}[code]
        return f"{which}{'f' if source == 'float32' else ''}({', '.join(values)})"
    if code is Code.SELECT:
        return f"{values[0]} ? {values[1]} : {values[2]}"
    if code is Code.BITCAST:
        return values[0] if REGISTER[source] == kind else f"bits_as<{kind}>({values[0]})"
    if code is Code.LOOKUP:
        return _lookup(ins, values[0], name, tables)
    return converted(values[0], source, ins.type)


def _high_product(dtype: str, values: Sequence[str]) -> str:
    width, signed = programs.WIDTH[dtype], dtype in programs.SIGNED
    if width >= 32:
        which = {(32, True): "__mulhi", (32, False): "__umulhi", (64, True): "__mul64hi", (64, False): "__umul64hi"}
        return f"{which[width, signed]}({', '.join(values)})"
    wide = "i32" if signed else "u32"
    return f"({REGISTER[dtype]})((({wide}){values[0]} * ({wide}){values[1]}) >> {width})"


def _lookup(ins: Instruction, index: str, name: str, tables: list[str]) -> str:
    table, kind = f"{name}_table{len(tables)}", REGISTER[ins.type]
    unsigned = "u64" if programs.WIDTH[ins.type] == 64 else "u32"
    suffix = "ull" if unsigned == "u64" else "u"
    entries = ", ".join(f"{v:#x}{suffix}" for v in ins.immediates)
    tables.append(f"__device__ const {unsigned} {table}[{len(ins.immediates)}] = {{{entries}}};")
    if ins.type in programs.ARITHMETIC_FLOATS:
        return f"bits_as<{kind}>({table}[{index}])"
    return f"({kind}){table}[{index}]"


def converted(value: str, source: str, to: str) -> str:
    """Return a register value of one dtype as one of another, by the rules at ``Code.CONVERT``."""
    if source == to:
        return value
    if source in _PART_OF or to in _PART_OF:
        return _complex_converted(value, source, to)
    if source in _SHORT:
        if to == "bool":
            return f"(({value} & {_SIZE_OF[source]}) != 0)"
        value, source = f"{_SHORT[source]}_to_f32({value})", "float32"
        if to == "float32":
            return value
    if to == "bool":
        return f"({value} != 0)"
    if to in _SHORT:
        return f"f32_to_{_SHORT[to]}({_narrowed(value, source, to)})"
    if source in programs.ARITHMETIC_FLOATS and to in programs.INTEGERS:
        return _saturated(value, source, to)
    return f"({REGISTER[to]}){value}"


#: Floats that are computed with in float32, as the conversions name them, and the bits beside the sign.
_SHORT: Final = {"float16": "f16", "bfloat16": "bf16", "float8_e4m3fn": "e4m3", "float8_e5m2": "e5m2"}
_SIZE_OF: Final = {"float16": "0x7FFFu", "bfloat16": "0x7FFFu", "float8_e4m3fn": "0x7Fu", "float8_e5m2": "0x7Fu"}
_PART_OF: Final = {"complex64": "float32", "complex128": "float64"}


def _complex_converted(value: str, source: str, to: str) -> str:
    if to == "bool":
        return f"({value}.re != 0 || {value}.im != 0)"
    part = _PART_OF[to]
    if source not in _PART_OF:
        return f"{REGISTER[to]}{{{converted(value, source, part)}, 0}}"
    parts = (converted(f"{value}.{which}", _PART_OF[source], part) for which in ("re", "im"))
    return f"{REGISTER[to]}{{{', '.join(parts)}}}"


def _narrowed(value: str, source: str, to: str) -> str:
    """Return a value as float32 such that rounding that to a narrow float rounds only once."""
    if source == "float32":
        return value
    if source == "float64":
        return f"f64_to_odd_f32({value})"
    # An integer that float32 rounds is beyond float16's range, before and after, and float8's.
    if programs.WIDTH[source] <= 16 or to != "bfloat16":
        return f"(f32){value}"
    if programs.WIDTH[source] == 32:
        return f"f64_to_odd_f32((f64){value})"
    return f"f64_to_odd_f32({REGISTER[source]}_to_odd_f64({value}))"


def _saturated(value: str, source: str, to: str) -> str:
    bits, signed, kind = programs.WIDTH[to], to in programs.SIGNED, REGISTER[to]
    low, end = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    via = ("i64" if signed else "u64") if bits == 64 else ("i32" if signed or bits < 32 else "u32")
    suffix = "f" if source == "float32" else ""
    mask = (1 << bits) - 1
    return (
        f"to_integer<{kind}, {via}>({value}, {float(low)!r}{suffix}, {float(end)!r}{suffix}, "
        f"{literal(to, low & mask)}, {literal(to, (end - 1) & mask)})"
    )
