"""Matrix products with few rows or few columns, at the speed of memory: how they are cut, and the text of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ....plugin import dtypes
from .epilogue import sink
from .matmul import ELEMENTS, VECTOR_BYTES, Problem, entry, flag, parts_dtype

#: Dtypes of operands and of results.
DTYPES: Final[dict[str, frozenset[str]]] = {
    "float32": frozenset({"float32"}),
    "float64": frozenset({"float64"}),
    "float16": frozenset({"float16", "float32"}),
    "bfloat16": frozenset({"bfloat16", "float32"}),
}
#: Rows or columns that are few, by the operands' dtype: as many as registers hold the sums of, two blocks to a
#: multiprocessor. More of float16 and bfloat16 are not too few for tensor cores.
MOST: Final = {"float32": 8, "float64": 4, "float16": 4, "bfloat16": 4}
_WARPS: Final = 8
#: Lines of a warp whose lanes go along the terms, and terms at a time where they go across: loads under way at once.
_EACH: Final = 4
#: Vectors that a lane should have at least, so that what is done once for all of them costs little.
_LEAST: Final = 2
#: Blocks that a multiprocessor needs for its part of the bandwidth: 8 warps with 4 loads of 512 bytes have 16 KiB under
#: way, and 4.3 TB/s over 132 multiprocessors are 23 KB in 700 nanoseconds, which memory is declared to answer in.
_BLOCKS: Final = 1.5
#: Bytes that come in the time of a launch, 2 microseconds at 4.3 TB/s.
_LAUNCH: Final = 8.6e6
_SHARES: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Cut:
    """How a problem is cut.

    Attributes:
        count: rows or columns that are few, as the code has it: a power of two.
        groups: of warps that take terms by turns.
        tiles: blocks that share the lines of the other operand.
        shares: parts of the terms that are summed apart and added after.
        share: terms of each but the last.
    """

    count: int
    groups: int
    tiles: int
    shares: int
    share: int


def few_rows(problem: Problem, operand: str) -> bool | None:
    """Return whether the rows are few, or else the columns; None where neither are, of operands of a dtype.

    >>> from opmux.plugin import Nest
    >>> few_rows(Problem(3, 512, 64, (64, 1), (512, 1), Nest((1,), ((0,), (0,), (0,)))), "float32")
    True
    """
    if min(problem.rows, problem.columns) > MOST[operand]:
        return None
    return problem.rows <= problem.columns


def cut_for(problem: Problem, rows: bool, along: bool, itemsize: int, multiprocessors: int) -> Cut:
    """Return how many blocks, and groups in them, let memory come as fast as it can.

    Args:
        problem: what is computed.
        rows: whether its rows are few.
        along: whether the terms of the other operand lie side by side.
        itemsize: bytes of an element of the operands.
        multiprocessors: of the GPU.
    """
    few, many = (problem.rows, problem.columns) if rows else (problem.columns, problem.rows)
    count = 1 << (few - 1).bit_length()
    vector = VECTOR_BYTES // itemsize
    wanted = int(_BLOCKS * multiprocessors)
    groups, step = (1, 32 * vector) if along else (_WARPS, _EACH)

    def tiles() -> int:
        return -(-many // _lines(along, groups, vector))

    while (
        along and groups < _WARPS and tiles() * problem.count < wanted and problem.depth >= 2 * groups * step * _LEAST
    ):
        groups *= 2
    blocks, nbytes = tiles() * problem.count, problem.count * many * problem.depth * itemsize
    outputs = 4 * problem.count * problem.rows * problem.columns

    def time(shares: int) -> float:
        slowed = max(wanted / (blocks * shares), 1)
        return nbytes * slowed + (_LAUNCH + (2 * shares + 1) * outputs if shares > 1 else 0)

    turn = groups * step
    possible = [n for n in _SHARES if n == 1 or problem.depth >= n * turn * _LEAST]
    shares = min(possible, key=time)
    share = -(-problem.depth // (shares * turn)) * turn
    return Cut(count, groups, tiles(), -(-problem.depth // share), share)


def _lines(along: bool, groups: int, vector: int) -> int:
    """Return how many lines of the other operand a block has, of which one access takes so many elements."""
    return _WARPS // groups * _EACH if along else 32 * vector


@dataclass(frozen=True, slots=True)
class Variant:
    """What the code of a kernel depends on.

    Attributes:
        operand, result: dtypes.
        rows: whether it is the rows that are few.
        along: whether lanes go along the terms of the other operand, and not across them.
        count, groups: as of :class:`Cut`.
        dense: whether terms of the few are read as vectors.
        rank: dimensions of the batch.
        partial: whether values are written for :func:`~.matmul.adding` instead of results.
    """

    operand: str
    result: str
    rows: bool
    along: bool
    count: int
    groups: int
    dense: bool
    rank: int
    partial: bool

    @property
    def name(self) -> str:
        """The entry's name."""
        return f"matmul_skinny_{'along' if self.along else 'across'}_{self.count}"

    @property
    def lines(self) -> int:
        """Lines of the other operand that a block has."""
        return _lines(self.along, self.groups, vector_of(self.operand))

    @property
    def shared(self) -> int:
        """Bytes of shared memory: the sums of all groups."""
        return self.groups * self.lines * self.count * ELEMENTS[self.operand][1]


#: Threads of a block.
THREADS: Final = 32 * _WARPS


def vector_of(operand: str) -> int:
    """Return how many elements of an operand come in one access."""
    return VECTOR_BYTES // dtypes.BY_NAME[operand].itemsize


def terms_of(operand: str, along: bool) -> int:
    """Return how many terms of the few are needed at a time."""
    return vector_of(operand) if along else _EACH


def source(v: Variant) -> str:
    """Return a kernel's CUDA C++, without what all kernels share."""
    out = ELEMENTS[parts_dtype(v.result) if v.partial else v.result][0]
    shape = f"{_EACH}, {_WARPS // v.groups}, {v.groups}" if v.along else f"{_EACH}, {v.groups}"
    function = "multiply_along_terms" if v.along else "multiply_across_terms"
    return f"""\
typedef {ELEMENTS[v.operand][0]} In;
typedef {out} Out;
{entry(v.name, f"{THREADS}, 2", "In", v.rank, sink(None))}
    constexpr bool ROWS = {flag(v.rows)}, DENSE = {flag(v.dense)};
    {function}<In, {v.count}, ROWS, DENSE, {shape}, Out>(p, place, a + at[0], b + at[1], sink, memory);
}}
OPMUX_ENTRY({v.name})
"""
