"""Reductions over any set of axes, in the canonical order of ``opset.orders``, as CUDA C++.

The order is laid on threads so that no addition waits for memory longer than it must. Four kernels do so, which differ
in how the terms lie:

- ``reduce_rows``: terms side by side. A thread holds as many neighbouring lanes as fit 16 bytes, so a block of 1024
  terms is the work of 4 to 32 threads of a warp, by dtype, whose loads lie side by side too; a warp has one to eight
  blocks at once. Rows that begin between two multiples of 16 bytes turn their lanes instead of loading less.
- ``reduce_strided``: terms anywhere. A thread holds two lanes, a warp one block.
- ``reduce_columns``: results side by side. Neighbouring threads hold neighbouring results, and the 64 lanes of each are
  shared by 8 to 64 threads, in registers: every load is of neighbouring results, and none is of one thread alone.
- ``reduce_few``: at most 32 terms, or 16 where values have 16 bytes; a thread per result.

The tree over blocks is one of neighbours, so an aligned power of two of blocks is a branch of it: threads of
a warp fold theirs by shuffles, the warps of a block through shared memory, and where a row is the work of several
blocks, ``reduce_tree`` folds their values in another launch. How much work goes where depends on sizes alone, and
the bits do not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ...plugin import Nest, merge, orders
from .folds import FEW, Fold

WARP: Final = 32
WARPS: Final = 8
#: Threads of a block, in every kernel.
THREADS: Final = WARP * WARPS
#: Blocks that a multiprocessor holds at least: two where a thread may take 128 registers.
BLOCKS: Final = 2
#: Blocks that keep every multiprocessor of a large GPU busy: 132 with four each on an H200.
ENOUGH: Final = 512
#: Terms that one thread takes alone, where its own lie side by side.
FEW_IN_ROW: Final = 16
#: Values of earlier launches that a warp folds at once.
TREE_SPAN: Final = 128
_MOST_TURNS: Final = 4
_MOST_TURNS_OF_COLUMNS: Final = 8
_NEAR: Final = 2**31


class Form(StrEnum):
    """How terms and results lie; the value is the entry's name."""

    ROWS = "reduce_rows"
    STRIDED = "reduce_strided"
    COLUMNS = "reduce_columns"
    FEW = "reduce_few"
    TREE = "reduce_tree"


@dataclass(frozen=True, slots=True)
class Plan:
    """A reduction's loops, outermost first.

    Attributes:
        kept: the kept dimensions in row-major order, which is the order of results in memory; the input's strides, or
            those of each input where they do not lie alike.
        reduced: the reduced dimensions in the order of terms; strides likewise.
    """

    kept: Nest
    reduced: Nest

    @property
    def rows(self) -> int:
        """Number of results."""
        return math.prod(self.kept.shape)

    @property
    def terms(self) -> int:
        """Number of terms of each result."""
        return math.prod(self.reduced.shape)

    def form(self, most_few: int = FEW, width: int = 1) -> Form:
        """Return the kernel that suits these strides.

        Args:
            most_few: terms that a thread may take alone.
            width: terms side by side that a thread takes, which must begin alike in all inputs that move.
        """
        in_row = len(self.reduced.shape) == 1 and _side_by_side(self.reduced) and self._begin_alike(width)
        if self.terms <= min(FEW_IN_ROW if in_row else FEW, most_few):
            return Form.FEW
        if in_row:
            return Form.ROWS
        return Form.COLUMNS if self.kept.shape[-1] > 1 and _side_by_side(self.kept) else Form.STRIDED

    def moving(self, form: Form) -> tuple[bool, ...]:
        """Return which inputs move along what a kernel takes side by side; the others stay."""
        return tuple(s[-1] == 1 for s in (self.kept if form is Form.COLUMNS else self.reduced).strides)

    def _begin_alike(self, width: int) -> bool:
        begins = zip(self.kept.strides, self.reduced.strides, strict=True)
        return len({tuple(s % width for s in kept) for kept, reduced in begins if reduced[-1] == 1}) == 1


def _side_by_side(nest: Nest) -> bool:
    """Return whether all inputs move by one element along the innermost dimension, or stay, but not all of them."""
    last = {s[-1] for s in nest.strides}
    return 1 in last and last <= {0, 1}


def plan(shape: Sequence[int], strides: Sequence[int], axes: Sequence[int], ordered: bool = True) -> Plan:
    """Split an input's dimensions into kept and reduced ones.

    Args:
        shape: of the input.
        strides: of the input, in elements.
        axes: the reduced ones, not negative.
        ordered: whether terms must come in row-major order; others go as they lie in memory.

    >>> plan((4, 60), (60, 1), (1,)).form(), plan((60, 4), (4, 1), (0,)).form()
    (<Form.ROWS: 'reduce_rows'>, <Form.COLUMNS: 'reduce_columns'>)
    """
    return plan_of(shape, [strides], axes, ordered)


def plan_of(shape: Sequence[int], strides: Sequence[Sequence[int]], axes: Sequence[int], ordered: bool = True) -> Plan:
    """Return the same for several inputs, each with strides of its own.

    >>> plan_of((4, 60), ((60, 1), (1, 0)), (1,)).form(), plan_of((60, 4), ((4, 1), (0, 1)), (0,)).form()
    (<Form.ROWS: 'reduce_rows'>, <Form.COLUMNS: 'reduce_columns'>)
    """
    keep = [d for d in range(len(shape)) if d not in axes]
    gone = [d for d in range(len(shape)) if d in axes]
    if not ordered:
        gone.sort(key=lambda d: -max(abs(s[d]) for s in strides))
    kept = merge([shape[d] for d in keep], [[s[d] for d in keep] for s in strides])
    reduced = merge([shape[d] for d in gone], [[s[d] for d in gone] for s in strides])
    none = Nest((1,), tuple((1,) for _ in strides))
    if 0 in reduced.shape:
        reduced = Nest((0,), none.strides)
    return Plan(kept if kept.shape else none, reduced if reduced.shape else none)


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code of a reduction depends on.

    Attributes:
        fold: what is done to the terms.
        form: which kernel.
        kept_rank: dimensions of the kept nest.
        reduced_rank: dimensions of the reduced nest, where the kernel walks one.
        far: whether there are more terms than 32 bits count.
        partial: whether values go on to another launch.
        few: most terms of ``reduce_few``.
        across: threads side by side in ``reduce_columns``.
        width: neighbouring results per thread there.
        walks: how many inputs have strides of their own; those that lie alike are one.
    """

    fold: Fold
    form: Form
    kept_rank: int = 1
    reduced_rank: int = 1
    far: bool = False
    partial: bool = False
    few: int = 0
    across: int = 0
    width: int = 0
    walks: int = 1

    def kept(self) -> str:
        """The C++ type that finds rows."""
        many = f"s<{self.kept_rank}, {self.walks}>" if self.walks > 1 else f"<{self.kept_rank}>"
        return f"reduction::Near{many}"

    def walk(self) -> str:
        """The C++ type that finds terms."""
        if self.walks > 1:
            return f"reduction::Nears<{self.reduced_rank}, {self.walks}>"
        if self.reduced_rank == 1:
            return "reduction::Line"
        return f"reduction::{'Far' if self.far else 'Near'}<{self.reduced_rank}>"


def source(variant: Variant) -> str:
    """Return the kernel's CUDA C++, without what all kernels share."""
    partial = str(variant.partial).lower()
    walk, kept = f"{variant.walk()} walk", f"{variant.kept()} kept"
    of_rows = ["u32 count", "reduction::Spread spread", "u64 n", kept]
    strided = f"Strided<Fold, {variant.walk()}>"
    parameters, call = {
        Form.ROWS: (of_rows, f"rows<Fold, Dense<Fold>, {partial}>(count, spread, Dense<Fold>{{n}}"),
        Form.TREE: (of_rows, f"rows<Fold, Partial<Fold>, {partial}>(count, spread, Partial<Fold>{{n}}"),
        Form.STRIDED: ([*of_rows, walk], f"rows<Fold, {strided}, {partial}>(count, spread, {strided}{{n, walk}}"),
        Form.FEW: (["u32 count", "u32 n", kept, walk], f"few<Fold, {variant.few}>(count, n, walk"),
        Form.COLUMNS: (
            ["u32 width", "u64 n", "u32 turns", "u32 tiles", kept, walk],
            f"columns<Fold, {variant.across}, {variant.width}, {partial}>(width, n, turns, tiles, walk",
        ),
    }[variant.form]
    sources = variant.fold.operands() if variant.form is not Form.TREE else ("Fold::Value",)
    given = ", ".join(f"const {t}* in{i}" for i, t in enumerate(sources))
    names = ", ".join(f"in{i}" for i in range(len(sources)))
    terms = names if variant.form is Form.TREE else f"Fold::In{{{names}}}"
    targets, out = variant.fold.targets()
    return f"""\
{variant.fold.source_text()}
extern "C" __global__ void __launch_bounds__({THREADS}, {BLOCKS}) {variant.form.value}(
    {", ".join(parameters)}, {given}, {", ".join(targets)}
) {{
    using namespace reduction;
    {call}, kept, {terms}, {out});
}}
OPMUX_ENTRY({variant.form.value})
"""


@dataclass(frozen=True, slots=True)
class Spread:
    """How the work on rows is spread over threads; ``Spread`` of reductions.cuh.

    Attributes:
        teams, warps: of a warp and of a block, that share a row; powers of two.
        turns: how often a block goes on.
        tiles: blocks that share a row.
        rows: rows of a block.
    """

    teams: int
    warps: int
    turns: int
    tiles: int
    rows: int

    def words(self) -> tuple[int, int, int, int]:
        """Return the members as the kernel takes them."""
        return self.teams.bit_length() - 1, self.warps.bit_length() - 1, self.turns, self.tiles


def spread(rows: int, terms: int, span: int, teams: int) -> Spread:
    """Spread rows over threads, by sizes alone.

    Args:
        rows: how many.
        terms: of each.
        span: terms that a team takes at once.
        teams: of a warp.

    >>> spread(1, 2**20, 1024, 2)
    Spread(teams=2, warps=8, turns=1, tiles=64, rows=1)
    >>> spread(1000, 100, 1024, 2)
    Spread(teams=1, warps=1, turns=1, tiles=1, rows=16)
    """
    spans = max(-(-terms // span), 1)
    each = min(power_of_two(spans), teams)
    groups = -(-spans // each)
    warps = min(power_of_two(groups), WARPS)
    tiles = -(-groups // warps)
    turns = _turns(rows * tiles, tiles, _MOST_TURNS)
    return Spread(each, warps, turns, -(-tiles // turns), WARPS // warps * (teams // each))


def columns_spread(stripes: int, blocks: int) -> tuple[int, int]:
    """Return how many blocks of terms one block of threads takes, and how many of those share a column."""
    turns = _turns(stripes * blocks, blocks, _MOST_TURNS_OF_COLUMNS)
    return turns, -(-blocks // turns)


def _turns(blocks: int, tiles: int, most: int) -> int:
    """Take as many turns as leave enough blocks, and no more than there is work for."""
    turns = 1
    while turns < min(most, tiles) and blocks // (2 * turns) >= ENOUGH:
        turns *= 2
    return turns


def power_of_two(n: int) -> int:
    """Return the least power of two that is not below a positive number.

    >>> power_of_two(1), power_of_two(5)
    (1, 8)
    """
    return 1 << (n - 1).bit_length()


def far(reduced: Nest) -> bool:
    """Return whether a nest has more elements than the kernels count with 32 bits."""
    return math.prod(reduced.shape) >= _NEAR


def blocks_of(terms: int) -> int:
    """Return the number of canonical blocks, at least one."""
    return max(-(-terms // orders.BLOCK), 1)
