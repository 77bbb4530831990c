"""Every op that has a recipe, and the moves that are elementwise programs: copies and constants."""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from typing import Final

from ...plugin import (
    ARITHMETIC,
    CANONICAL,
    WORDS,
    Accepts,
    CallSpec,
    Kernel,
    Prepared,
    Program,
    Reason,
    Rejection,
    Walk,
    collapse,
    copy_program,
    ops_with_recipes,
    programs,
    recipe_of,
    word,
)
from . import elementwise
from .driver import KIND, driver_of
from .elementwise import THREADS, TURNS, Variant
from .launching import Arguments, Pointer, Step, blocks_for, launcher
from .nest import packed, parts
from .runtime import Extent

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise",)


def steps(program: Program, spec: CallSpec, strides: Sequence[Sequence[int]]) -> list[Step]:
    """Return the launches that carry a program over a call's output.

    Args:
        program: what is computed.
        spec: the call.
        strides: of the inputs, then of the output, in elements.
    """
    out = spec.outputs[0]
    if not out.size:
        return []
    nest = collapse(out.shape, strides)
    walks = nest.walks()
    aligned = all(s.aligned for s in (*spec.arrays, out))
    if len(nest.shape) == 1 and walks[-1] is Walk.CONTIGUOUS and Walk.STRIDED not in walks and aligned:
        variant = Variant(program, walks)
        (n,) = nest.shape
        arguments: Arguments = [struct.pack("<Q", n), *(Pointer(i) for i in range(len(strides)))]
        return [_step(variant, spec, blocks_for(n, THREADS * TURNS * variant.vector), arguments)]
    variant = Variant(program, rank=len(nest.shape))
    sizes = [max(programs.WIDTH[t] // 8, 1) for t in variant.dtypes]
    made = []
    for part, offsets in parts(nest):
        n = math.prod(part.shape)
        pointers = [Pointer(i, at * size) for i, (at, size) in enumerate(zip(offsets, sizes, strict=True))]
        made.append(_step(variant, spec, blocks_for(n, THREADS), [struct.pack("<I", n), packed(part), *pointers]))
    return made


def _step(variant: Variant, spec: CallSpec, blocks: Extent, arguments: Arguments) -> Step:
    loader = driver_of(spec).loader
    function = loader.function(_source(variant), PARTS, variant.name)
    return Step(function, blocks, (THREADS, 1, 1), arguments)


@functools.lru_cache(maxsize=4096)
def _source(variant: Variant) -> str:
    return elementwise.source(variant)


def prepared(program: Program, spec: CallSpec, strides: Sequence[Sequence[int]] | None = None) -> Prepared:
    """Return a program made ready for a call."""
    if strides is None:
        strides = [*(s.strides for s in spec.arrays), spec.outputs[0].strides]
    return Prepared(launcher(driver_of(spec).runtime, steps(program, spec, strides)))


def _by_recipe(op: str) -> Kernel:
    """Return the kernel that computes an op by its recipe."""

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        program = recipe_of(spec)
        return program if isinstance(program, Rejection) else prepared(program, spec)

    return Kernel(op, op, KIND, prepare, Accepts(dtypes=(ARITHMETIC,)), CANONICAL)


def _copy(spec: CallSpec) -> Prepared | Rejection:
    """Copy bits of the operand's width, by 16 bytes at a time; :mod:`.movement_kernels` has the other copies."""
    (x,) = spec.arrays
    if not (x.contiguous and x.aligned):
        return Rejection(Reason.LAYOUT, "the operand is not contiguous and aligned")
    return prepared(copy_program(word(spec.outputs[0].dtype)), spec)


def _full(spec: CallSpec) -> Prepared:
    """A copy from an operand that stands still."""
    (out,) = spec.outputs
    return prepared(copy_program(word(out.dtype)), spec, [(0,) * len(out.shape), out.strides])


KERNELS: Final = (
    *(_by_recipe(op) for op in ops_with_recipes()),
    Kernel("copy", "copy", KIND, _copy, Accepts(dtypes=(WORDS,)), CANONICAL),
    Kernel("full", "full", KIND, _full, Accepts(dtypes=(WORDS,)), CANONICAL),
)
