"""Reductions whose results lie side by side: a vector holds neighbouring results, lanes follow each other in time."""

from __future__ import annotations

from typing import Final

from ...plugin import orders, programs
from .fold import Fold, Tree
from .gather import offsets, total
from .ir import Function
from .lower import Lowering, first_lanes, has_masks, memory, register
from .target import Target
from .vectors import Tables, vector

# Vectors per tile: neighbouring cache lines of a row are read together, and as many chains run at once.
_TILE: Final = 4


def columns(fold: Fold, reduced_rank: int, wide: bool, target: Target, tables: Tables) -> Function:
    """`reduce(input, output, reduced sizes and strides, columns)`: one row of results, unit stride in both.

    `wide` code is for rows of several vectors; the bits are the same.
    """
    f = Function("reduce", [("ptr", "%in"), ("ptr", "%out"), ("ptr", "%dims"), ("i64", "%columns")], linkage="internal")
    indexed = fold.kind in ("argmax", "argmin")
    widest = 64 if indexed else max(programs.WIDTH[fold.accumulator], 8)
    width = target.lanes(widest // 8)
    masked = has_masks(target)
    n = total(f, "%dims", reduced_rank)
    table = f.value(f"alloca [{orders.BLOCK} x i64], align 64")

    def tile(vectors: int, width: int) -> _Tile:
        return _Tile(fold, f, Lowering(tables, f, width, target), vectors, masked, reduced_rank, n, table)

    shapes = [(_TILE if wide and not indexed else 1, width)]
    if not masked:
        shapes += [(1, width), (1, 1)]
    done = "0"
    for vectors, lanes in dict.fromkeys(shapes):
        each = tile(vectors, lanes)
        until = "%columns" if masked else f.value(f"and i64 %columns, {-each.columns}")
        with f.loop(done, until, each.columns) as loop:
            each.reduce(loop.index)
        done = until
    f.emit("ret void")
    return f


class _Tile:
    """So many vectors of neighbouring columns, from the first term to the result."""

    def __init__(
        self, fold: Fold, f: Function, low: Lowering, vectors: int, masked: bool, rank: int, n: str, table: str
    ) -> None:
        self.fold = fold
        self.f = f
        self.low = low
        self.vectors = vectors
        self.masked = masked
        self.rank = rank
        self.n = n
        self.table = table
        self.columns = vectors * low.width
        self.masks: list[str] = []
        self.element = "i8" if fold.accumulator == "bool" else register(fold.accumulator)
        if fold.kind not in ("argmax", "argmin"):
            self.lanes = f.value(f"alloca [{orders.LANES} x [{vectors} x {vector(self.element, low.width)}]], align 64")
            self.tree = Tree(fold, low, vectors)

    def reduce(self, column: str) -> None:
        """Append the reduction of the tile that starts at a column."""
        f = self.f
        if self.masked:
            left, width = f.sub("%columns", column), self.low.width
            self.masks = [first_lanes(f, f.sub(left, part * width), width) for part in range(self.vectors)]
        source = f.address("%in", column, memory(self.fold.source))
        out = f.address("%out", column, memory(self.fold.result))
        if self.fold.kind in ("argmax", "argmin"):
            self._store([self._best(source)], "int64", out)
        else:
            self._values(source, out)

    def _values(self, source: str, out: str) -> None:
        f, fold, low = self.f, self.fold, self.low
        blocks = f.value(f"sdiv i64 {f.add(self.n, orders.BLOCK - 1)}, {orders.BLOCK}")
        with f.loop(0, blocks) as loop:
            start = f.mul(loop.index, orders.BLOCK)
            self.tree.push(loop.index, self._block(source, start, f.minimum(f.sub(self.n, start), orders.BLOCK)))
        with f.either(f.compare(blocks, "==", 0)) as otherwise:
            self._finish([fold.start(low)] * self.vectors, out)
            otherwise()
            self._finish(self.tree.value(blocks), out)

    def _finish(self, values: list[str], out: str) -> None:
        fold = self.fold
        self._store([fold.finish(self.low, v) for v in values], fold.result, out)

    def _store(self, values: list[str], dtype: str, out: str) -> None:
        for part, value in enumerate(values):
            address = self.f.address(out, part * self.low.width, memory(dtype))
            if self.masked:
                self.low.store_masked(dtype, value, address, self.masks[part])
            else:
                self.low.store(dtype, value, address)

    def _terms(self, source: str, start: str, row: str) -> list[str]:
        """The terms of one row of the block that starts at `start`."""
        f, low, kind = self.f, self.low, memory(self.fold.source)
        if self.rank == 1:
            stride = f.load("i64", f.address("%dims", 1, "i64"), 8)
            offset = f.mul(f.add(start, row), stride)
        else:
            offset = f.load("i64", f.address(self.table, row, "i64"), 8)
        base = f.address(source, offset, kind)
        parts = [f.address(base, part * low.width, kind) for part in range(self.vectors)]
        if self.masked:
            return [self.fold.load_masked(low, p, mask) for p, mask in zip(parts, self.masks, strict=True)]
        return [self.fold.load(low, p) for p in parts]

    def _prepare(self, start: str, count: str) -> None:
        if self.rank > 1:
            offsets(self.f, self.rank, "%dims", start, count, self.table)

    def _lane(self, lane: str) -> list[str]:
        """Addresses of a lane's accumulators."""
        kind = f"[{self.vectors} x {vector(self.element, self.low.width)}]"
        return [
            self.f.value(f"getelementptr inbounds {kind}, ptr {self.lanes}, i64 {lane}, i64 {part}")
            for part in range(self.vectors)
        ]

    def _block(self, source: str, start: str, count: str) -> list[str]:
        f, fold, low = self.f, self.fold, self.low
        self._prepare(start, count)
        used = f.minimum(count, orders.LANES)
        # Halving starts at the power of two that holds all lanes in use: beyond it only the identity would be added.
        levels = f.sub(64, f.call("i64", "llvm.ctlz.i64", [("i64", f.sub(used, 1)), ("i1", "false")]))
        carried = [(low.type(fold.accumulator), fold.start(low))] * self.vectors
        with f.loop(0, f.value(f"shl i64 1, {levels}")) as lane:
            with f.loop(lane.index, count, orders.LANES, carried) as row:
                new = self._terms(source, start, row.index)
                row.hand_on(*(fold.combine(low, a, b) for a, b in zip(row.carried, new, strict=True)))
            for address, value in zip(self._lane(lane.index), row.results, strict=True):
                low.store(fold.accumulator, value, address)
        with f.loop(0, levels) as level:
            half = f.value(f"shl i64 1, {f.sub(f.sub(levels, 1), level.index)}")
            with f.loop(0, half) as lane:
                near, far = self._lane(lane.index), self._lane(f.add(lane.index, half))
                for a, b in zip(near, far, strict=True):
                    low.store(
                        fold.accumulator,
                        fold.combine(low, low.load(fold.accumulator, a), low.load(fold.accumulator, b)),
                        a,
                    )
        return [low.load(fold.accumulator, address) for address in self._lane("0")]

    def _best(self, source: str) -> str:
        """Number of the first best term of every column; one vector of int64."""
        f, fold, low = self.f, self.fold, self.low
        kinds = (low.type(fold.accumulator), low.type("int64"))
        start = [(kinds[0], fold.start(low)), (kinds[1], low.constant("int64", 0))]
        blocks = f.value(f"sdiv i64 {f.add(self.n, orders.BLOCK - 1)}, {orders.BLOCK}")
        with f.loop(0, blocks, carried=start) as loop:
            first = f.mul(loop.index, orders.BLOCK)
            count = f.minimum(f.sub(self.n, first), orders.BLOCK)
            self._prepare(first, count)
            with f.loop(0, count, carried=list(zip(kinds, loop.carried, strict=True))) as row:
                (value,) = self._terms(source, first, row.index)
                better = fold.better(low, value, row.carried[0])
                number = low.broadcast("int64", f.add(first, row.index))
                row.hand_on(
                    *(
                        f.value(f"select {vector('i1', low.width)} {better}, {kind} {new}, {kind} {old}")
                        for kind, new, old in zip(kinds, (value, number), row.carried, strict=True)
                    )
                )
            loop.hand_on(*row.results)
        return loop.results[1]
