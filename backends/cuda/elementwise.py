"""Elementwise kernels from programs: one for operands that lie dense, one for rows that do, one for any strides.

A thread of the dense kernel carries 16 bytes of the widest element at a time, several times over, so that enough loads
are in flight (a thread with one element reaches about half of the bandwidth: BabelStream; NVIDIA/cccl#1673).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import Code, Program, Walk, dtypes
from . import emit, formulas
from .formulas import Formula

#: Threads of a block.
THREADS: Final = 256
#: Vectors of an operand that a thread of the dense kernel has in flight at most, and of all operands together.
TURNS: Final = 4
_FLIGHT: Final = 12
#: Places that a thread over rows knows at a time, each of which takes two registers, and elements that it has.
_PLACES: Final = 8
_ELEMENTS: Final = 16
#: Integers that a thread divides at a time: the assembler for sm_100 prepares all divisions before it does any, which
#: took 161 registers for 64 int8.
_QUOTIENTS: Final = 16
#: Instructions of a program that keeps a GPU busy with half the vectors, or with one of 8 bytes over rows: with more,
#: some spilled. An exponential has 43 for float32 and 53 for float64, a quotient one.
_LONG: Final = 16
_VECTOR_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Variant:
    """What the code of an elementwise kernel depends on.

    Attributes:
        program: what is computed.
        walks: how each operand moves along the innermost dimension, the results last; empty for any strides.
        rank: dimensions of the nest, where there are strides.
        width: elements of a row that lie side by side in every operand that moves, where there are rows.
    """

    program: Program | Formula
    walks: tuple[Walk, ...] = ()
    rank: int = 0
    width: int = 0

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Dtypes of the operands, the results last."""
        return (*self.program.inputs, *self.program.result_types)

    @property
    def turns(self) -> int:
        """Vectors of each operand that a thread has in flight: as many as registers have room for."""
        long = isinstance(self.program, Program) and len(self.program.instructions) > _LONG
        if self.width:
            wide = any(dtypes.dtype(t).itemsize >= 8 for t in self.dtypes)
            return 1 if long and wide else max(min(_PLACES // len(self.dtypes), _ELEMENTS // self.width), 1)
        streams = sum(walk is Walk.CONTIGUOUS for walk in self.walks[: len(self.program.inputs)])
        most = _QUOTIENTS // self.vector if _divides(self.program) else TURNS // 2 if long else TURNS
        return max(min(_FLIGHT // max(streams, 1), most, TURNS), 1)

    @property
    def vector(self) -> int:
        """Elements that a thread loads at once, where operands are dense."""
        return self.width or vector(self.dtypes)

    @property
    def name(self) -> str:
        """The entry's name."""
        return "elementwise_rows" if self.width else "elementwise_nest" if self.rank else "elementwise_dense"


def _divides(program: Program | Formula) -> bool:
    return isinstance(program, Program) and any(i.code in (Code.IDIV, Code.IREM) for i in program.instructions)


def vector(names: Sequence[str]) -> int:
    """Return how many elements of these dtypes a thread loads at once at most."""
    return _VECTOR_BYTES // max(dtypes.dtype(t).itemsize for t in names)


def source(variant: Variant) -> str:
    """Return the kernel's CUDA C++, without what all kernels share."""
    body = (_rows if variant.width else _nest if variant.rank else _dense)(variant)
    program = variant.program
    if isinstance(program, Formula):
        return "\n".join([formulas.function("compute", program), "", body])
    return "\n".join([emit.function("compute", program), "", body])


def _parameters(variant: Variant, inputs: Sequence[str]) -> str:
    """Return what a kernel takes beside its extent: its inputs, of these types, and its outputs."""
    outputs = [f"{emit.MEMORY[t]}*" for t in variant.program.result_types]
    given = [*(f"{t} in{i}" for i, t in enumerate(inputs)), *(f"{t} out{i}" for i, t in enumerate(outputs))]
    return ", ".join(given)


def _computed(variant: Variant, loaded: Sequence[str], stored: Sequence[str]) -> str:
    """Return the statements that compute one element of each result from what was loaded."""
    program = variant.program
    given = [emit.from_memory(t, v) for t, v in zip(program.inputs, loaded, strict=True)]
    return emit.assigned("compute", program.result_types, given, stored)


def _several(variant: Variant, places: Sequence[str]) -> str:
    """Return the statements that compute a vector of each result from those of a turn, and store it at its place."""
    program = variant.program
    kinds = [emit.MEMORY[t] for t in program.result_types]
    loaded = [f"x{o}[turn][k]" for o in range(len(program.inputs))]
    made = "\n".join(f"            {k} y{o}[VECTOR];" for o, k in enumerate(kinds))
    stores = "\n".join(f"            store<VECTOR>({place}, y{o});" for o, place in enumerate(places))
    return f"""\
{made}
#pragma unroll
            for (int k = 0; k < VECTOR; ++k) {{ {_computed(variant, loaded, [f"y{o}[k]" for o in range(len(kinds))])} }}
{stores}"""


_OPERAND: Final = {Walk.CONTIGUOUS: "Stream", Walk.SCALAR: "Single"}


def _dense(variant: Variant) -> str:
    program = variant.program
    kinds = [emit.MEMORY[t] for t in program.inputs]
    types = [f"{_OPERAND[walk]}<{k}>" for walk, k in zip(variant.walks, kinds, strict=False)]
    inputs, outputs = range(len(kinds)), range(len(program.result_types))
    registers = "\n".join(f"        {k} x{o}[TURNS][VECTOR];" for o, k in enumerate(kinds))
    loads = "\n".join(f"            in{o}.load(x{o}[turn], i + turn * STEP);" for o in inputs)
    several = _several(variant, [f"out{o}, i + turn * STEP" for o in outputs])
    one = _computed(variant, [f"in{o}.at(i)" for o in inputs], [f"out{o}[i]" for o in outputs])
    return f"""\
constexpr int THREADS = {THREADS}, TURNS = {variant.turns}, VECTOR = {variant.vector};

extern "C" __global__ void __launch_bounds__(THREADS) {variant.name}(u64 n, {_parameters(variant, types)}) {{
    constexpr u64 STEP = THREADS * VECTOR, BLOCK = STEP * TURNS;
    const u64 rest = n % VECTOR, whole = n - rest;
    for (u64 first = blockIdx.x * BLOCK; first < n; first += gridDim.x * BLOCK) {{
        u64 i = first + threadIdx.x * VECTOR;
{registers}
        if (first + BLOCK > whole) {{
            constexpr int turn = 0;
#pragma unroll 1
            for (; i < whole; i += STEP) {{
{loads}
{several}
            }}
            i = whole + threadIdx.x;
            if (threadIdx.x < rest) {{ {one} }}
            return;
        }}
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {{
{loads}
        }}
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {{
{several}
        }}
    }}
}}
OPMUX_ENTRY({variant.name})
"""


def _nest(variant: Variant) -> str:
    program = variant.program
    count, operands = len(program.inputs), len(variant.dtypes)
    inputs = [f"const {emit.MEMORY[t]}*" for t in program.inputs]
    loaded = [f"in{o}[at[{o}]]" for o in range(count)]
    stored = [f"out{o}[at[{count + o}]]" for o in range(operands - count)]
    return f"""\
constexpr int THREADS = {THREADS};

extern "C" __global__ void __launch_bounds__(THREADS) {variant.name}(
    u32 n, Nest<{variant.rank}, {operands}> nest, {_parameters(variant, inputs)}) {{
    for (u32 i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS) {{
        i64 at[{operands}];
        offsets(nest, i, at);
        {_computed(variant, loaded, stored)}
    }}
}}
OPMUX_ENTRY({variant.name})
"""


def _rows(variant: Variant) -> str:
    """A nest whose innermost steps are vectors: of a row, or of one element as often as needed."""
    program, count, operands = variant.program, len(variant.program.inputs), len(variant.dtypes)
    kinds = [emit.MEMORY[t] for t in program.inputs]
    registers = "\n".join(f"        {k} x{o}[TURNS][VECTOR];" for o, k in enumerate(kinds))
    loads = "\n".join(
        f"            {_OPERAND[walk]}<{k}>{{in{o} + at[turn][{o}]}}.load(x{o}[turn], 0);"
        for o, (k, walk) in enumerate(zip(kinds, variant.walks, strict=False))
    )
    several = _several(variant, [f"out{o} + at[turn][{count + o}], 0" for o in range(operands - count)])
    return f"""\
constexpr int THREADS = {THREADS}, TURNS = {variant.turns}, VECTOR = {variant.vector};

extern "C" __global__ void __launch_bounds__(THREADS) {variant.name}(
    u32 n, Nest<{variant.rank}, {operands}> nest, {_parameters(variant, [f"const {k}*" for k in kinds])}) {{
    for (u32 first = blockIdx.x * (THREADS * TURNS) + threadIdx.x; first < n; first += gridDim.x * (THREADS * TURNS)) {{
        i64 at[TURNS][{operands}];
{registers}
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {{
            if (first + turn * THREADS >= n) break;
            offsets(nest, first + turn * THREADS, at[turn]);
{loads}
        }}
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {{
            if (first + turn * THREADS >= n) break;
{several}
        }}
    }}
}}
OPMUX_ENTRY({variant.name})
"""
