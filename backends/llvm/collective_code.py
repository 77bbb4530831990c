"""The native code of collectives over the memory of all ranks: reductions, and copies to several places.

Entries are `int f(void **buffers, const void *params, void *queue)`; `buffers` are the operands of all ranks, then
their results, all dense, and `params` are int64. One call does one thread's share.

A reduction reads element by element what every rank brings, combines it by the canonical tree in registers, and writes
it to every rank (all_reduce; `params` are the number of elements of a contribution, the first element of the share and
the one behind it) or to the one whose part it is (reduce_scatter; `params` are for each rank the first element of its
part, then that of the share in it and the one behind).

A movement reads a stretch of memory once and writes it to all its places, a piece after the other that stays in a
first-level cache: `params` are the number of stretches, then for each the source, the offset in it and the length in
bytes, and where its places stand in `params` and how many they are. A place is a target and the offset in it; one that
is the source itself is left as it is. Source -1 is zeros.

Code that *streams* writes past the caches. A store to a line that is in none reads it from memory first, so for
results too large to stay this saves a third to a half of the traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import Program, programs
from .ir import Function, module_text, vector_type
from .lower import Lowering, first_lanes, has_masks, memory
from .target import Target
from .vectors import Tables

ENTRY: Final = "f"
#: Bytes that are read once and written to several places: they stay in a first-level cache of 32 KiB.
_PIECE: Final = 1 << 14
#: Words of a movement's stretch, and of a place.
STRETCH, PLACE = 5, 2
_STREAMED: Final = ", !nontemporal !0"
_METADATA: Final = "!0 = !{i32 1}\n"


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code of a reduction depends on.

    `combine` is of the accumulator's dtype; `blocks` says how many contributions each rank brings. Where the code
    `streams`, results and the beginnings of shares lie at multiples of 64 bytes.
    """

    combine: Program
    dtype: str
    blocks: tuple[int, ...]
    scatters: bool
    streams: bool = False

    @property
    def accumulator(self) -> str:
        """The dtype that contributions are combined in."""
        return self.combine.result_type


def reduction_code(variant: Variant, target: Target) -> str:
    """The IR module of a reduction; its entry is `f`."""
    f, tables = _entry(), Tables()
    _Reduction(variant, target, f, tables).write()
    return _finished(f, tables.definitions(), variant.streams)


def _entry() -> Function:
    return Function(ENTRY, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")


def _finished(f: Function, globals_: Sequence[str], streams: bool) -> str:
    if streams:
        f.emit("fence seq_cst")  # other threads must see streamed stores as soon as they see that this one is done
    f.emit("ret i32 0")
    return module_text([f], globals_) + (_METADATA if streams else "")


class _Reduction:
    def __init__(self, variant: Variant, target: Target, f: Function, tables: Tables) -> None:
        self.variant, self.function, self.ranks = variant, f, len(variant.blocks)
        self.width = target.lanes(max(programs.WIDTH[variant.accumulator] // 8, 1))
        self.masked = has_masks(target)
        self.vector = Lowering(tables, f, self.width, target)
        self.single = Lowering(tables, f, 1, target)

    def write(self) -> None:
        f, ranks = self.function, self.ranks
        if self.variant.scatters:
            rows = self._contributions("0")
            with f.loop(0, ranks) as rank:
                at = f.mul(rank.index, 3)
                origin, start, stop = (self._word(f.add(at, i)) for i in range(3))
                # Results begin at their own first element, so that one index serves operands and results.
                out = f.address(self._buffer(f.add(rank.index, ranks)), f.sub(0, origin), self._kind)
                self._range(rows, [out], start, stop)
            return
        size, start, stop = (self._word(i) for i in range(3))
        self._range(self._contributions(size), [self._buffer(ranks + r) for r in range(ranks)], start, stop)

    @property
    def _kind(self) -> str:
        return memory(self.variant.dtype)

    def _word(self, index: str | int) -> str:
        return self.function.load("i64", self.function.address("%params", index, "i64"), 8)

    def _buffer(self, index: str | int) -> str:
        return self.function.load("ptr", self.function.address("%buffers", index, "ptr"), 8)

    def _contributions(self, size: str) -> list[str]:
        f = self.function
        bases = [(rank, self._buffer(rank)) for rank, n in enumerate(self.variant.blocks) if n]
        return [
            base if block == 0 else f.address(base, f.mul(size, block), self._kind)
            for rank, base in bases
            for block in range(self.variant.blocks[rank])
        ]

    def _range(self, rows: list[str], outs: list[str], start: str, stop: str) -> None:
        """Reduce the elements [start, stop)."""
        f = self.function
        turns = max(1, 4 // (len(rows) // 2 or 1))  # short trees wait for memory, long ones fill the machine
        done = start
        for vectors in (turns, 1) if turns > 1 else (1,):
            step = vectors * self.width
            whole = f.value(f"and i64 {f.sub(stop, done)}, {-step}")
            until = f.add(done, whole)
            with f.loop(done, until, step) as loop:
                for part in range(0, step, self.width):
                    self._vector(rows, outs, f.add(loop.index, part) if part else loop.index)
            done = until
        if self.masked:
            mask = first_lanes(f, f.sub(stop, done), self.width)
            with f.when(f.compare(done, "<", stop)):
                self._vector(rows, outs, done, mask)
            return
        with f.loop(done, stop) as loop:
            self._element(rows, outs, loop.index)

    def _vector(self, rows: list[str], outs: list[str], index: str, mask: str = "") -> None:
        low, dtype, f = self.vector, self.variant.dtype, self.function
        read: Callable[[str], str] = lambda p: low.load_masked(dtype, p, mask) if mask else low.load(dtype, p)  # noqa: E731
        value = self._reduced(low, [f.address(p, index, self._kind) for p in rows], read)
        for out in outs:
            to = f.address(out, index, self._kind)
            if mask:
                low.store_masked(dtype, value, to, mask)
            elif self.variant.streams:
                kind = vector_type(self.width, memory(dtype))
                nbytes = self.width * max(programs.WIDTH[dtype] // 8, 1)
                f.emit(f"store {kind} {low.to_memory(dtype, value)}, ptr {to}, align {nbytes}{_STREAMED}")
            else:
                low.store(dtype, value, to)

    def _element(self, rows: list[str], outs: list[str], index: str) -> None:
        low, dtype, f = self.single, self.variant.dtype, self.function
        value = self._reduced(low, [f.address(p, index, self._kind) for p in rows], lambda p: low.load(dtype, p))
        for out in outs:
            low.store(dtype, value, f.address(out, index, self._kind))

    def _reduced(self, low: Lowering, pointers: Sequence[str], read: Callable[[str], str]) -> str:
        """The value of the canonical tree, in the dtype of the operands."""
        variant = self.variant
        wide = variant.accumulator != variant.dtype

        def tree(terms: Sequence[str]) -> str:
            if len(terms) == 1:
                value = read(terms[0])
                return low.convert(value, variant.dtype, variant.accumulator) if wide else value
            # Neighbours first, one without a partner going up unchanged: the left part is the largest whole tree.
            cut = 1 << (len(terms) - 1).bit_length() - 1
            return low.run(variant.combine, [tree(terms[:cut]), tree(terms[cut:])])

        value = tree(pointers)
        return low.convert(value, variant.accumulator, variant.dtype) if wide else value


def movement_code(streams: bool, target: Target) -> str:
    """The IR module of every movement; its entry is `f`."""
    f = _entry()
    count = f.load("i64", "%params", 8)
    with f.loop(0, count) as stretch:
        row = f.address("%params", f.add(f.mul(stretch.index, STRETCH), 1), "i64")
        source, skip, nbytes, first, places = (f.load("i64", f.address(row, i, "i64"), 8) for i in range(STRETCH))
        with f.loop(0, nbytes, _PIECE) as piece:
            size = f.minimum(f.sub(nbytes, piece.index), _PIECE)
            with f.loop(0, places) as place:
                where = f.address("%params", f.add(first, f.mul(place.index, PLACE)), "i64")
                to = f.load("ptr", f.address("%buffers", f.load("i64", where, 8), "ptr"), 8)
                at = f.add(f.load("i64", f.address(where, 1, "i64"), 8), piece.index)
                to = f.address(to, at, "i8")
                with f.either(f.compare(source, "<", 0)) as otherwise:
                    f.call("void", "llvm.memset.p0.i64", [("ptr", to), ("i8", 0), ("i64", size), ("i1", "false")])
                    otherwise()
                    begin = f.load("ptr", f.address("%buffers", source, "ptr"), 8)
                    begin = f.address(begin, f.add(skip, piece.index), "i8")
                    with f.when(f.value(f"icmp ne ptr {to}, {begin}")):
                        _copy(f, to, begin, size, target if streams else None)
    return _finished(f, (), streams)


def _copy(f: Function, to: str, begin: str, size: str, streams: Target | None) -> None:
    """Copy so many bytes; stream what of them is whole vectors, where the target is aligned."""
    if streams is None:
        _memcpy(f, to, begin, size)
        return
    width = streams.vector_bytes
    kind, step = vector_type(width // 4, "i32"), 4 * width
    beyond = f.value(f"and i64 {f.value(f'ptrtoint ptr {to} to i64')}, {width - 1}")
    steps = f.value(f"and i64 {size}, {-step}")
    whole = f.value(f"select i1 {f.compare(beyond, '==', 0)}, i64 {steps}, i64 0")
    with f.loop(0, whole, step) as loop:
        at = [loop.index, *(f.add(loop.index, i) for i in range(width, step, width))]
        read = [f.load(kind, f.address(begin, i, "i8"), 1) for i in at]
        for i, value in zip(at, read, strict=True):
            f.emit(f"store {kind} {value}, ptr {f.address(to, i, 'i8')}, align {width}{_STREAMED}")
    rest = f.sub(size, whole)
    with f.when(f.compare(rest, "!=", 0)):
        _memcpy(f, f.address(to, whole, "i8"), f.address(begin, whole, "i8"), rest)


def _memcpy(f: Function, to: str, begin: str, size: str) -> None:
    f.call("void", "llvm.memcpy.p0.p0.i64", [("ptr", to), ("ptr", begin), ("i64", size), ("i1", "false")])
