"""Moving words between strided arrays: many pieces in one launch, and planes turned over in tiles.

Bits are moved and never looked into, so all dtypes of a width share their code, and neighbours that move together
become one wider word, up to the 16 bytes that a thread loads at once.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import CallSpec, Nest, collapse
from .device.driver import driver_of
from .device.launching import MOST_BLOCKS, Arguments, Pointer, Step
from .nest import MOST_INDEXED, packed, parts

#: Types of words in movement.cuh, by bytes.
WORD: Final = {1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "u128"}
#: Threads of a block.
THREADS: Final = 256
#: Words that a thread has in flight; narrow ones need more of them for as many bytes.
TURNS: Final = {1: 8, 2: 8, 4: 4, 8: 4, 16: 4}
#: Pieces that one launch may carry out; a launch with fewer takes the next number.
_COUNTS: Final = (1, 4, 16, 32)
#: Bytes of arguments that every GPU and driver takes (CUDA C++ Programming Guide, kernel parameters).
_MOST_ARGUMENTS: Final = 4096
#: Below so many bytes a second launch, of pieces that could use wider words, costs more than it saves.
_SMALL: Final = 1 << 18
_PARTS: Final = ("elementwise", "movement")


@dataclass(frozen=True, slots=True)
class Piece:
    """Units of memory that move from one of a call's arrays to its output.

    Attributes:
        array: the source, counted as :class:`.launching.Pointer` does.
        shape: how many units along each axis.
        strides: the source's and the target's, in units.
        start: where source and target begin, in units.
        aligned: whether both arrays begin at a multiple of 64 bytes.
    """

    array: int
    shape: tuple[int, ...]
    strides: tuple[tuple[int, ...], tuple[int, ...]]
    start: tuple[int, int] = (0, 0)
    aligned: bool = True


@dataclass(frozen=True, slots=True)
class _Move:
    """One nest of words from an array to the output; *start* counts words."""

    array: int
    nest: Nest
    start: tuple[int, int]
    width: int

    @property
    def words(self) -> int:
        return math.prod(self.nest.shape)


def unit(size: int) -> int:
    """Return the bytes of the units that elements of a size move in: half an element where that has 16 bytes.

    Sixteen bytes are one word only where they are aligned; :func:`widest` finds out.
    """
    return min(size, 8)


def in_units(piece: Piece, size: int) -> Piece:
    """Return a piece that counts elements of a size as one that counts units."""
    if size <= 8:
        return piece
    source, target = ((*(2 * s for s in strides), 1) for strides in piece.strides)
    start = piece.start[0] * 2, piece.start[1] * 2
    return Piece(piece.array, (*piece.shape, 2), (source, target), start, piece.aligned)


def widest(nest: Nest, size: int, others: Iterable[int] = (), operands: int | None = None) -> int:
    """Return the bytes of the widest words of which the innermost dimension of a nest is made.

    Args:
        nest: counted in units.
        size: bytes of a unit.
        others: further distances, in units, that have to be whole words.
        operands: how many of the nest's operands are moved, where not all of them; the others stand still there.

    >>> widest(Nest((3, 8), ((8, 1), (12, 1))), 2), widest(Nest((8,), ((1,), (2,))), 4)
    (8, 4)
    """
    moved = nest.strides[:operands]
    if any(s[-1] != 1 for s in moved) or any(s[-1] for s in nest.strides[len(moved) :]):
        return size
    distances = (nest.shape[-1], *others, *(s for strides in moved for s in strides[:-1]))
    return next((w for w in (16, 8, 4, 2) if w > size and not any(n % (w // size) for n in distances)), size)


def in_words(nest: Nest, count: int, operands: int | None = None) -> Nest:
    """Return a nest whose innermost dimension goes by words of so many units."""
    if count == 1:
        return nest
    moved = nest.strides[:operands]
    strides = tuple((*(s // count for s in column[:-1]), 1) for column in moved)
    shape = (*nest.shape[:-1], nest.shape[-1] // count)
    made = Nest(shape, (*strides, *nest.strides[len(moved) :]))
    if shape[-1] > 1 or len(shape) == 1:
        return made
    return Nest(shape[:-1], tuple(s[:-1] for s in made.strides))


def _moves(pieces: Sequence[Piece], size: int) -> Iterator[_Move]:
    nests = [(p, collapse(p.shape, p.strides)) for p in pieces if math.prod(p.shape)]
    widths = [widest(nest, size, p.start) if p.aligned else size for p, nest in nests]
    if sum(math.prod(p.shape) for p, _ in nests) * size < _SMALL:
        widths = [min(widths)] * len(widths) if widths else []
    for (piece, nest), width in zip(nests, widths, strict=True):
        count = width // size
        start = piece.start[0] // count, piece.start[1] // count
        for part, (source, target) in parts(in_words(nest, count), MOST_INDEXED):
            yield _Move(piece.array, part, (start[0] + source, start[1] + target), width)


def steps(spec: CallSpec, pieces: Sequence[Piece], size: int) -> list[Step]:
    """Return the launches that carry out every piece; pieces must not overlap in the output.

    Args:
        spec: the call.
        pieces: what goes where, in units.
        size: bytes of a unit.
    """
    made = []
    by_width: dict[int, list[_Move]] = {}
    for move in _moves(pieces, size):
        by_width.setdefault(move.width, []).append(move)
    for width, moves in sorted(by_width.items()):
        rank = max(len(m.nest.shape) for m in moves)
        each = len(_packed(moves[0], rank, 0)) + 8
        most = max(c for c in _COUNTS if c * each <= _MOST_ARGUMENTS - 16)
        for first in range(0, len(moves), most):
            made.append(_launch(spec, moves[first : first + most], width, rank))
    return made


def _launch(spec: CallSpec, moves: Sequence[_Move], width: int, rank: int) -> Step:
    count = next(c for c in _COUNTS if c >= len(moves))
    table, blocks = b"", 0
    for move in moves:
        table += _packed(move, rank, blocks)
        blocks += -(-move.words // (THREADS * TURNS[width]))
    # No block belongs to a piece that is not there.
    table += _packed(moves[-1], rank, MOST_BLOCKS) * (count - len(moves))
    sources = [Pointer(m.array, m.start[0] * width) for m in moves]
    sources += sources[-1:] * (count - len(moves))
    arguments: Arguments = [table, tuple(sources), Pointer(len(spec.inputs))]
    name = f"move_{WORD[width]}"
    function = driver_of(spec).loader.function(_source(name, width, rank, count), _PARTS, name)
    return Step(function, (blocks, 1, 1), (THREADS, 1, 1), arguments)


def _packed(move: _Move, rank: int, first: int) -> bytes:
    missing = rank - len(move.nest.shape)
    shape = (1,) * missing + move.nest.shape
    nest = Nest(shape, tuple((0,) * missing + s for s in move.nest.strides))
    return packed(nest) + struct.pack("<qII", move.start[1], move.words, first)


@functools.lru_cache(maxsize=256)
def _source(name: str, width: int, rank: int, count: int) -> str:
    word = WORD[width]
    return f"""\
extern "C" __global__ void __launch_bounds__({THREADS}) {name}(
    const __grid_constant__ Moves<{rank}, {count}> moves, const __grid_constant__ Sources<{word}, {count}> sources,
    {word}* out
) {{
    move_block<{THREADS}, {TURNS[width]}>(moves, sources, out);
}}
OPMUX_ENTRY({name})
"""


#: Words along each side of a tile: at least 128 bytes where a word is narrow, which is what a warp loads at once.
TILE: Final = {1: 64, 2: 64, 4: 32, 8: 32, 16: 32}
_ROWS: Final = THREADS // 32
#: Planes thinner than this are moved word by word; a tile would be mostly empty.
_THIN: Final = 8


def transposed(spec: CallSpec) -> Step | None:
    """Return the launch that copies the first operand in tiles, or None where it is no batch of transposed planes."""
    x, out = spec.arrays[0], spec.outputs[0]
    width = x.dtype.itemsize
    nest = collapse(out.shape, (x.strides, out.strides))
    source, target = nest.strides
    rows = [d for d, s in enumerate(source[:-1]) if s == 1]
    if source[-1] == 1 or target[-1] != 1 or not rows or (width > 8 and not (x.aligned and out.aligned)):
        return None
    row = max(rows, key=lambda d: nest.shape[d])
    across, down = nest.shape[-1], nest.shape[row]
    batch = [d for d in range(len(nest.shape) - 1) if d != row]
    planes = Nest(
        tuple(nest.shape[d] for d in batch) or (1,),
        tuple(tuple(s[d] for d in batch) or (0,) for s in nest.strides),
    )
    tiles = -(-down // TILE[width]), -(-across // TILE[width])
    blocks = math.prod(planes.shape) * tiles[0] * tiles[1]
    if min(across, down) < _THIN or max(across, down, blocks) > MOST_BLOCKS:
        return None
    table = packed(planes) + struct.pack("<IIqq", across, down, source[-1], target[row])
    table += struct.pack("<III4x", tiles[1], tiles[0], tiles[0] * tiles[1])
    name = f"transpose_{WORD[width]}"
    text = _transposing(name, width, len(planes.shape))
    function = driver_of(spec).loader.function(text, ("elementwise", "movement", "transpose"), name)
    return Step(function, (blocks, 1, 1), (THREADS, 1, 1), [table, Pointer(0), Pointer(1)])


@functools.lru_cache(maxsize=64)
def _transposing(name: str, width: int, rank: int) -> str:
    word = WORD[width]
    return f"""\
extern "C" __global__ void __launch_bounds__({THREADS}) {name}(
    const __grid_constant__ Planes<{rank}> planes, const {word}* from, {word}* to
) {{
    transpose_tile<{TILE[width]}, {_ROWS}>(planes, from, to, blockIdx.x);
}}
OPMUX_ENTRY({name})
"""
