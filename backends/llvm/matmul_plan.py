"""The sizes that a matrix product is generated for and called with.

A *plan* holds what is compiled in (element type, register tile, cache blocks); a *problem* what each call
states (extents, strides, batch); a *part* is the piece of the result that one thread writes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Final

from ...plugin import orders
from .target import Target

_ALIGNMENT: Final = 64
_PAGE_BYTES: Final = 4096
_ELEMENT_BYTES: Final = {"float": 4, "double": 8}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything compiled into one matrix product module.

    The register tile has `rows` rows of `vectors` vectors of `lanes` elements; a packed block of B has at
    most `block_k` x `block_n` elements and stays in L2, a packed panel of A has `rows` x `block_k` and
    stays in L1.
    """

    element: str
    lanes: int
    rows: int
    vectors: int
    block_n: int
    block_k: int

    @property
    def element_bytes(self) -> int:
        """Bytes of one element."""
        return _ELEMENT_BYTES[self.element]

    @property
    def width(self) -> int:
        """Columns of the register tile."""
        return self.vectors * self.lanes

    @property
    def symbol(self) -> str:
        """Name of the exported function that takes any problem."""
        return f"matmul_{self.element}"

    @property
    def vector_symbol(self) -> str:
        """Name of the exported function for `Problem.is_vector_product`."""
        return f"matmul_vector_{self.element}"


def plan_for(target: Target, element: str, block_k: int = orders.MATMUL_BLOCK) -> Plan:
    """The plan for `element` (`float` or `double`) on `target`; another `block_k` gives another order.

    Tile: three vectors wide; eight rows use 24 of 32 registers as accumulators, four rows 12 of 16, which
    covers the latency of two fused multiply-adds per cycle. The packed block of B takes a third of L2,
    the rest is left to what streams through.
    """
    size = _ELEMENT_BYTES[element]
    lanes = target.lanes(size)
    rows, vectors = (8, 3) if target.vector_registers >= 32 else (4, 3)
    width = vectors * lanes
    block_n = max(target.caches.l2 * 35 // 100 // (block_k * size) // width, 1) * width
    return Plan(element, lanes, rows, vectors, block_n, block_k)


@dataclass(frozen=True, slots=True)
class Problem:
    """C[b, i, j] = sum over k of A[b, i, k] * B[b, k, j]; strides count elements and may be 0 or negative.

    C has unit stride along j, `c_row` along i.
    """

    m: int
    n: int
    k: int
    a_row: int
    a_k: int
    b_k: int
    b_column: int
    c_row: int
    batch: int = 1
    a_batch: int = 0
    b_batch: int = 0
    c_batch: int = 0

    @property
    def is_vector_product(self) -> bool:
        """One row of A times a B that lies in memory along k."""
        return self.m == 1 and self.b_k == 1 and self.b_column != 1


@dataclass(frozen=True, slots=True)
class Part:
    """The piece of the result that one call writes: half-open ranges of the batch, of rows and of columns."""

    batch_begin: int
    batch_end: int
    m_begin: int
    m_end: int
    n_begin: int
    n_end: int


def whole(problem: Problem) -> Part:
    """The part that is the whole result."""
    return Part(0, problem.batch, 0, problem.m, 0, problem.n)


@dataclass(frozen=True, slots=True)
class Packing:
    """Which operands are copied to panels first; the bits do not depend on it.

    B must be packed unless its columns have unit stride.
    """

    a: bool
    b: bool


def packing_for(plan: Plan, problem: Problem) -> Packing:
    """Pack what is read often enough, or from places far enough apart, to repay the copy."""
    if problem.is_vector_product:
        return Packing(a=False, b=False)
    unit_columns = problem.b_column == 1 or problem.n == 1
    # A tile walks down the rows of B: beyond a page per row, each step needs another entry of the TLB.
    near = problem.n * problem.k <= plan.block_n * plan.block_k and abs(problem.b_k) * plan.element_bytes < _PAGE_BYTES
    in_place = unit_columns and (near or problem.m < plan.rows)
    return Packing(a=problem.a_k != 1 and problem.n > plan.width, b=not in_place)


# Order of the fields in the native parameter block, all int64.
PARAMETERS: Final = (
    *(f.name for f in fields(Problem)),
    *(f.name for f in fields(Part)),
    "pack_a",
    "pack_b",
    "panel_offset_bytes",
)


def pack_parameters(plan: Plan, problem: Problem, part: Part, packing: Packing) -> bytes:
    """The native parameter block of one call."""
    values = [getattr(record, f.name) for record in (problem, part) for f in fields(record)]
    b_bytes = _packed_b_bytes(plan, problem) if packing.b else 0
    return struct.pack(f"={len(PARAMETERS)}q", *values, packing.a, packing.b, b_bytes)


def workspace_size(plan: Plan, problem: Problem, packing: Packing) -> int:
    """Bytes of 64-byte aligned workspace that each concurrent call needs."""
    b_bytes = _packed_b_bytes(plan, problem) if packing.b else 0
    a_bytes = plan.rows * min(problem.k, plan.block_k) * plan.element_bytes if packing.a else 0
    return b_bytes + _round_up(a_bytes, _ALIGNMENT)


def _packed_b_bytes(plan: Plan, problem: Problem) -> int:
    columns = min(_round_up(problem.n, plan.width), plan.block_n)
    return _round_up(columns * min(problem.k, plan.block_k) * plan.element_bytes, _ALIGNMENT)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def split(plan: Plan, problem: Problem, parts: int) -> list[Part]:
    """At most `parts` parts of about equal work that cover the result; the bits do not depend on the split.

    Cuts the batch where it is long enough, else the longer of rows and columns at whole register tiles.
    """
    everything = whole(problem)
    if parts <= 1 or not (problem.batch and problem.m and problem.n):
        return [everything]
    if problem.batch >= parts:
        cuts = _cuts(problem.batch, 1, parts)
        return [Part(lo, hi, 0, problem.m, 0, problem.n) for lo, hi in cuts]
    if problem.m > problem.n:
        return [Part(0, problem.batch, lo, hi, 0, problem.n) for lo, hi in _cuts(problem.m, plan.rows, parts)]
    return [Part(0, problem.batch, 0, problem.m, lo, hi) for lo, hi in _cuts(problem.n, plan.width, parts)]


def _cuts(extent: int, unit: int, parts: int) -> list[tuple[int, int]]:
    units = -(-extent // unit)
    edges = [min(units * part // parts * unit, extent) for part in range(parts + 1)]
    return [(lo, hi) for lo, hi in pairwise(edges) if lo < hi]
