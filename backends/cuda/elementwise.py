"""Elementwise kernels from programs: one for operands that lie dense, one for any strides.

A thread of the dense kernel carries 16 bytes of the widest element at a time, several times over, so that enough loads
are in flight (a thread with one element reaches about half of the bandwidth: BabelStream; NVIDIA/cccl#1673).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import Program, Walk, programs
from . import emit

#: Threads of a block.
THREADS: Final = 256
#: Vectors that a thread of the dense kernel has in flight.
TURNS: Final = 4
_VECTOR_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Variant:
    """What the code of an elementwise kernel depends on.

    Attributes:
        program: what is computed.
        walks: how each operand moves along the only dimension, the result last; empty for any strides.
        rank: dimensions of the nest, where there are strides.
    """

    program: Program
    walks: tuple[Walk, ...] = ()
    rank: int = 0

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Dtypes of the operands, the result last."""
        return (*self.program.inputs, self.program.result_type)

    @property
    def vector(self) -> int:
        """Elements that a thread loads at once, where operands are dense."""
        return _VECTOR_BYTES // max(max(programs.WIDTH[t] // 8, 1) for t in self.dtypes)

    @property
    def name(self) -> str:
        """The entry's name."""
        return "elementwise_nest" if self.rank else "elementwise_dense"


def source(variant: Variant) -> str:
    """Return the kernel's CUDA C++, without what all kernels share."""
    body = _nest(variant) if variant.rank else _dense(variant)
    return "\n".join([emit.function("compute", variant.program), "", body])


def _kinds(variant: Variant) -> list[str]:
    return [emit.MEMORY[t] for t in variant.dtypes]


def _call(variant: Variant, loaded: Sequence[str]) -> str:
    given = (emit.from_memory(t, v) for t, v in zip(variant.program.inputs, loaded, strict=True))
    return emit.to_memory(variant.program.result_type, f"compute({', '.join(given)})")


def _dense(variant: Variant) -> str:
    *kinds, out = _kinds(variant)
    v, count = variant.vector, range(len(kinds))
    operand = {Walk.CONTIGUOUS: "Stream", Walk.SCALAR: "Single"}
    types = [f"{operand[walk]}<{k}>" for walk, k in zip(variant.walks, kinds, strict=False)]
    parameters = ", ".join(["u64 n", *(f"{t} in{o}" for o, t in enumerate(types)), f"{out}* out"])
    loads = "\n".join(f"            in{o}.load(x{o}[turn], i + (u64)turn * THREADS * VECTOR);" for o in count)
    registers = "\n".join(f"        {k} x{o}[TURNS][VECTOR];" for o, k in enumerate(kinds))
    return f"""\
constexpr int THREADS = {THREADS}, TURNS = {TURNS}, VECTOR = {v};

extern "C" __global__ void __launch_bounds__(THREADS) {variant.name}({parameters}) {{
    constexpr u64 BLOCK = (u64)THREADS * TURNS * VECTOR;
    for (u64 first = blockIdx.x * BLOCK; first < n; first += gridDim.x * BLOCK) {{
        if (first + BLOCK > n) {{
            for (u64 i = first + threadIdx.x; i < n; i += THREADS)
                out[i] = {_call(variant, [f"in{o}.at(i)" for o in count])};
            return;
        }}
        u64 i = first + threadIdx.x * VECTOR;
{registers}
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {{
{loads}
        }}
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {{
            {out} y[VECTOR];
#pragma unroll
            for (int k = 0; k < VECTOR; ++k)
                y[k] = {_call(variant, [f"x{o}[turn][k]" for o in count])};
            store<VECTOR>(out, i + (u64)turn * THREADS * VECTOR, y);
        }}
    }}
}}
OPMUX_ENTRY({variant.name})
"""


def _nest(variant: Variant) -> str:
    *kinds, out = _kinds(variant)
    operands = len(kinds) + 1
    pointers = [*(f"const {k}* in{o}" for o, k in enumerate(kinds)), f"{out}* out"]
    parameters = ", ".join(["u32 n", f"Nest<{variant.rank}, {operands}> nest", *pointers])
    loaded = [f"in{o}[at[{o}]]" for o in range(len(kinds))]
    return f"""\
constexpr int THREADS = {THREADS};

extern "C" __global__ void __launch_bounds__(THREADS) {variant.name}({parameters}) {{
    for (u32 i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS) {{
        i64 at[{operands}];
        offsets(nest, i, at);
        out[at[{operands - 1}]] = {_call(variant, loaded)};
    }}
}}
OPMUX_ENTRY({variant.name})
"""
