"""Every op that has a recipe, and the moves that are elementwise programs: copies and constants."""

from __future__ import annotations

import functools
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
    Rejection,
    Walk,
    collapse,
    copy_program,
    ops_with_recipes,
    recipe_of,
    word,
)
from . import costs, elementwise
from .jit import Module, compile_ir
from .launching import BoundCode, bind, prepared
from .lower import OPTIONS
from .target import Target, host_target


@functools.lru_cache(maxsize=4096)
def _rows(program: Program, layouts: tuple[Walk, ...], target: Target) -> Module:
    return compile_ir(elementwise.rows_code(program, layouts, target), (elementwise.ROWS,), OPTIONS)


@functools.lru_cache(maxsize=1024)
def _loops(loops: elementwise.Loops) -> Module:
    return compile_ir(elementwise.loops_code(loops), (elementwise.ENTRY,), OPTIONS)


@functools.lru_cache(maxsize=1024)
def _short(variant: elementwise.Variant, target: Target) -> Module:
    return compile_ir(elementwise.short_code(variant, target), (elementwise.ENTRY,), OPTIONS)


def bound_program(program: Program, shape: Sequence[int], strides: Sequence[Sequence[int]]) -> BoundCode:
    """A program over a shape; strides are the inputs', then the output's, in elements."""
    return bound_nest(program, collapse(shape, strides), host_target())


def bound_nest(program: Program, nest: Nest, target: Target, begin: int = 0, end: int | None = None) -> BoundCode:
    """A program over the range [begin, end) of a nest's outermost dimension."""
    variant = elementwise.variant(program, nest)
    if variant.short:
        parameters = elementwise.parameters(nest, 0, begin, end)
        return bind(_short(variant, target), elementwise.ENTRY, parameters)
    rows = _rows(program, variant.layouts, target)
    parameters = elementwise.parameters(nest, rows.address(elementwise.ROWS), begin, end)
    return bind(_loops(variant.loops()), elementwise.ENTRY, parameters, rows)


def _run(program: Program, spec: CallSpec) -> Prepared:
    out = spec.outputs[0]
    code = bound_program(program, out.shape, (*(s.strides for s in spec.arrays), out.strides))
    return prepared(code, len(spec.arrays))


def _by_recipe(op: str) -> Kernel:
    """Return the kernel that computes an op by its recipe."""

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        program = recipe_of(spec)
        return program if isinstance(program, Rejection) else _run(program, spec)

    return Kernel(op, op, "cpu", prepare, Accepts(dtypes=(ARITHMETIC,)), CANONICAL, costs.recipe_cost(op))


def _copy(spec: CallSpec) -> Prepared:
    """Copy bits of the operand's width, whatever they mean."""
    return _run(copy_program(word(spec.outputs[0].dtype)), spec)


def _full(spec: CallSpec) -> Prepared:
    """A copy from an operand that stands still."""
    (out,) = spec.outputs
    code = bound_program(copy_program(word(out.dtype)), out.shape, ((0,) * len(out.shape), out.strides))
    return prepared(code, 1)


KERNELS: Final = (
    *(_by_recipe(op) for op in ops_with_recipes()),
    Kernel("copy", "copy", "cpu", _copy, Accepts(dtypes=(WORDS,)), CANONICAL, costs.MOVE),
    Kernel("full", "full", "cpu", _full, Accepts(dtypes=(WORDS,)), CANONICAL, costs.MOVE),
)
