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
    Nest,
    Prepared,
    Program,
    Reason,
    Rejection,
    Walk,
    collapse,
    copy_program,
    dtypes,
    ops_with_recipes,
    recipe_of,
    word,
)
from . import elementwise, formulas
from .device.driver import KIND, driver_of
from .device.launching import Arguments, Pointer, Step, blocks_for, launcher
from .device.runtime import Extent
from .elementwise import THREADS, Variant
from .formulas import COMPLEX, EXPRESSIONS, FORMATS, Formula
from .nest import packed, parts

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise",)
_BOOL: Final = frozenset({"bool"})


def steps(
    program: Program | Formula,
    spec: CallSpec,
    strides: Sequence[Sequence[int]],
    shape: Sequence[int] | None = None,
    arrays: Sequence[int] | None = None,
) -> list[Step]:
    """Return the launches that carry a program over a call's output.

    Args:
        program: what is computed.
        spec: the call.
        strides: of the program's inputs, then of its results, in elements.
        shape: what it is carried over; that of the output where None.
        arrays: which array of the call each of them is; in order where None.
    """
    shape = spec.outputs[0].shape if shape is None else shape
    arrays = range(len(strides)) if arrays is None else arrays
    if not math.prod(shape):
        return []
    nest = collapse(shape, strides)
    walks = nest.walks()
    aligned = all(s.aligned for s in (*spec.arrays, *spec.outputs))
    written = set(walks[len(program.inputs) :])
    if len(nest.shape) == 1 and written == {Walk.CONTIGUOUS} and Walk.STRIDED not in walks and aligned:
        variant = Variant(program, walks)
        (n,) = nest.shape
        arguments: Arguments = [struct.pack("<Q", n), *map(Pointer, arrays)]
        return [_step(variant, spec, blocks_for(n, THREADS * variant.turns * variant.vector), arguments)]
    variant = Variant(program, rank=len(nest.shape))
    sizes = [dtypes.dtype(t).itemsize for t in variant.dtypes]
    width = _width(nest, walks, elementwise.vector(variant.dtypes)) if aligned and written == {Walk.CONTIGUOUS} else 1
    if width > 1:
        variant = Variant(program, walks, len(nest.shape), width)
        nest = Nest((*nest.shape[:-1], nest.shape[-1] // width), tuple((*s[:-1], s[-1] * width) for s in nest.strides))
    made = []
    for part, offsets in parts(nest):
        n = math.prod(part.shape)
        pointers = [Pointer(i, at * size) for i, at, size in zip(arrays, offsets, sizes, strict=True)]
        blocks = blocks_for(n, THREADS * variant.turns) if variant.width else blocks_for(n, THREADS)
        made.append(_step(variant, spec, blocks, [struct.pack("<I", n), packed(part), *pointers]))
    return made


def _width(nest: Nest, walks: Sequence[Walk], most: int) -> int:
    """Return how many elements of a row every operand that moves along it has side by side, at whole vectors.

    >>> from opmux.plugin import collapse
    >>> nest = collapse((3, 8), [(8, 1), (0, 1), (10, 1)])
    >>> _width(nest, nest.walks(), 4)
    2
    """
    if Walk.STRIDED in walks:
        return 1
    steps = [nest.shape[-1]]
    for strides, walk in zip(nest.strides, walks, strict=True):
        steps += strides[:-1] if walk is Walk.CONTIGUOUS else ()
    return math.gcd(most, *steps)


def _step(variant: Variant, spec: CallSpec, blocks: Extent, arguments: Arguments) -> Step:
    loader = driver_of(spec).loader
    function = loader.function(_source(variant), (*formulas.parts(variant.dtypes), *PARTS), variant.name)
    return Step(function, blocks, (THREADS, 1, 1), arguments)


@functools.lru_cache(maxsize=4096)
def _source(variant: Variant) -> str:
    return elementwise.source(variant)


def prepared(program: Program | Formula, spec: CallSpec, strides: Sequence[Sequence[int]] | None = None) -> Prepared:
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


def _of_complex(op: str) -> Kernel:
    """Return the kernel of an op on complex numbers."""

    def prepare(spec: CallSpec) -> Prepared:
        inputs = tuple(s.dtype.name for s in spec.arrays)
        return prepared(Formula(inputs, spec.outputs[0].dtype.name, EXPRESSIONS[op]), spec)

    accepted = (_BOOL, COMPLEX) if op == "where" else (COMPLEX,)
    return Kernel(f"{op}.complex", op, KIND, prepare, Accepts(dtypes=accepted), CANONICAL)


def _cast_format(spec: CallSpec) -> Prepared | Rejection:
    """Convert from or to what recipes do not compute with."""
    source, to = spec.arrays[0].dtype.name, spec.outputs[0].dtype.name
    if source not in FORMATS and to not in FORMATS:
        return Rejection(Reason.DTYPE, "there is a recipe for it")
    return prepared(formulas.cast(source, to), spec)


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
    *(_of_complex(op) for op in EXPRESSIONS),
    Kernel("cast.formats", "cast", KIND, _cast_format, Accepts(dtypes=(ARITHMETIC | FORMATS,)), CANONICAL),
    Kernel("copy", "copy", KIND, _copy, Accepts(dtypes=(WORDS,)), CANONICAL),
    Kernel("full", "full", KIND, _full, Accepts(dtypes=(WORDS,)), CANONICAL),
)
