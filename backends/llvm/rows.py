"""Reductions whose terms lie side by side, or are gathered so: one result at a time, lanes across vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...plugin import orders, programs
from .fold import Fold, Tree
from .gather import gather, total
from .ir import Function
from .lower import Lowering, first_lanes, has_masks, memory
from .target import Target
from .vectors import Tables, vector

_INDEX: Final = ("argmax", "argmin")

# Address of the terms from a number on, for so many of them.
Terms = Callable[[str, str], str]


def rows(fold: Fold, reduced_rank: int, packed: bool, target: Target, tables: Tables) -> Function:
    """`reduce(input, output, reduced sizes and strides)`: one result from contiguous or scattered terms."""
    f = Function("reduce", [("ptr", "%in"), ("ptr", "%out"), ("ptr", "%dims")], linkage="internal")
    size = max(programs.WIDTH[fold.accumulator] // 8, 1)
    width = min(target.lanes(size), orders.LANES)
    row = _Row(fold, f, tables, width, target)
    n = total(f, "%dims", reduced_rank)
    buffer = f.value(f"alloca [{orders.BLOCK} x {memory(fold.source)}], align 64") if packed else ""

    def terms(start: str, count: str) -> str:
        if not packed:
            return f.address("%in", start, memory(fold.source))
        gather(f, fold.source, reduced_rank, "%in", "%dims", start, count, buffer)
        return buffer

    if fold.kind in _INDEX:
        row.store_index(n, terms)
    else:
        row.store_value(n, terms)
    f.emit("ret void")
    return f


class _Row:
    def __init__(self, fold: Fold, f: Function, tables: Tables, width: int, target: Target) -> None:
        self.fold = fold
        self.f = f
        self.width = width
        self.masked = has_masks(target)
        self._starts = range(0, orders.LANES, width)
        self.low = {w: Lowering(tables, f, w, target) for w in (1, *_powers(width))}
        self.tail = "" if self.masked else f.value(f"alloca [{orders.LANES} x {memory(fold.source)}], align 64")
        self.tree = Tree(fold, self.low[1], 1)

    def _vectors(self, address: str) -> list[str]:
        low, kind = self.low[self.width], memory(self.fold.source)
        return [self.fold.load(low, self.f.address(address, lane, kind)) for lane in self._starts]

    def _first_vectors(self, address: str, count: str) -> list[str]:
        """The first `count` terms (0 < count < LANES), then the identity."""
        f, low, kind = self.f, self.low[self.width], memory(self.fold.source)
        if self.masked:
            return [self._masked(f.address(address, lane, kind), f.sub(count, lane)) for lane in self._starts]
        filler = low.constant(self.fold.source, self.fold.identity(self.fold.source))
        for lane in self._starts:
            low.store(self.fold.source, filler, f.address(self.tail, lane, kind))
        align = max(programs.WIDTH[self.fold.source] // 8, 1)
        with f.loop(0, count) as loop:
            value = f.load(kind, f.address(address, loop.index, kind), align)
            f.store(kind, value, f.address(self.tail, loop.index, kind), align)
        return self._vectors(self.tail)

    def _masked(self, address: str, count: str) -> str:
        return self.fold.load_masked(self.low[self.width], address, first_lanes(self.f, count, self.width))

    def _block(self, address: str, count: str) -> str:
        """The value of one block of 0 < count <= BLOCK terms."""
        f, fold, low, kind = self.f, self.fold, self.low[self.width], memory(self.fold.source)
        accumulator = low.type(fold.accumulator)
        whole = f.value(f"and i64 {count}, {-orders.LANES}")
        start = [(accumulator, fold.start(low))] * (orders.LANES // self.width)
        with f.loop(0, whole, orders.LANES, start) as loop:
            new = self._vectors(f.address(address, loop.index, kind))
            loop.hand_on(*(fold.combine(low, a, b) for a, b in zip(loop.carried, new, strict=True)))
        # Runs once, or not at all: a condition that hands values on.
        with f.loop(whole, count, orders.LANES, [(accumulator, v) for v in loop.results]) as rest:
            new = self._first_vectors(f.address(address, whole, kind), f.sub(count, whole))
            rest.hand_on(*(fold.combine(low, a, b) for a, b in zip(rest.carried, new, strict=True)))
        return self._lanes(rest.results)

    def _lanes(self, vectors: list[str]) -> str:
        """Fold the lanes in halves down to one."""
        while len(vectors) > 1:
            half = len(vectors) // 2
            vectors = [
                self.fold.combine(self.low[self.width], a, b) for a, b in zip(vectors, vectors[half:], strict=False)
            ]
        (value,) = vectors
        width = self.width
        while width > 1:
            kind, half = self.low[width].type(self.fold.accumulator), width // 2
            parts = []
            for first in (0, half):
                if half == 1:
                    parts.append(self.f.value(f"extractelement {kind} {value}, i64 {first}"))
                    continue
                lanes = ", ".join(f"i32 {first + lane}" for lane in range(half))
                parts.append(self.f.value(f"shufflevector {kind} {value}, {kind} poison, <{half} x i32> <{lanes}>"))
            value = self.fold.combine(self.low[half], *parts)
            width = half
        return value

    def _blocks(self, n: str) -> str:
        return self.f.value(f"sdiv i64 {self.f.add(n, orders.BLOCK - 1)}, {orders.BLOCK}")

    def store_value(self, n: str, terms: Terms) -> None:
        """Store the fold of n terms, or the identity where there are none."""
        f, fold, low = self.f, self.fold, self.low[1]
        blocks = self._blocks(n)
        with f.loop(0, blocks) as loop:
            start = f.mul(loop.index, orders.BLOCK)
            count = f.minimum(f.sub(n, start), orders.BLOCK)
            self.tree.push(loop.index, [self._block(terms(start, count), count)])
        with f.either(f.compare(blocks, "==", 0)) as otherwise:
            self._store(fold.start(low))
            otherwise()
            self._store(self.tree.value(blocks)[0])

    def _store(self, value: str) -> None:
        low = self.low[1]
        low.store(self.fold.result, self.fold.finish(low, value), "%out")

    def store_index(self, n: str, terms: Terms) -> None:
        """Store the number of the first best term: the best value block by block, then its place in the first such."""
        f, fold, low = self.f, self.fold, self.low[1]
        kind = low.type(fold.accumulator)
        start = [(kind, fold.start(low)), ("i64", "0")]
        with f.loop(0, self._blocks(n), carried=start) as loop:
            first = f.mul(loop.index, orders.BLOCK)
            count = f.minimum(f.sub(n, first), orders.BLOCK)
            value = self._block(terms(first, count), count)
            better = fold.better(low, value, loop.carried[0])
            loop.hand_on(
                f.value(f"select i1 {better}, {kind} {value}, {kind} {loop.carried[0]}"),
                f.value(f"select i1 {better}, i64 {first}, i64 {loop.carried[1]}"),
            )
        best, first = loop.results
        count = f.minimum(f.sub(n, first), orders.BLOCK)
        place = self._find(best, terms(first, count), count)
        low.store("int64", f.add(first, place), "%out")

    def _find(self, best: str, address: str, count: str) -> str:
        """Number of the first of `count` terms, one of which is there, that matches."""
        f, low, kind, width = self.f, self.low[self.width], memory(self.fold.source), self.width
        everywhere = low.broadcast(self.fold.accumulator, best)
        whole = f.value(f"and i64 {count}, {-width}")
        with f.loop(0, whole, width, [("i64", str(orders.BLOCK))]) as loop:
            values = self.fold.load(low, f.address(address, loop.index, kind))
            loop.hand_on(f.minimum(loop.carried[0], self._first_match(low, values, everywhere, loop.index)))
        # What is left after whole vectors: one masked vector, or one by one.
        step = low if self.masked else self.low[1]
        with f.loop(whole, count, step.width, [("i64", loop.results[0])]) as rest:
            here = f.address(address, rest.index, kind)
            values = self._masked(here, f.sub(count, rest.index)) if self.masked else self.fold.load(step, here)
            against = everywhere if self.masked else best
            rest.hand_on(f.minimum(rest.carried[0], self._first_match(step, values, against, rest.index)))
        return rest.results[0]

    def _first_match(self, low: Lowering, values: str, best: str, start: str) -> str:
        """Number of the first match among the terms from `start` on; BLOCK where there is none."""
        f, width = self.f, low.width
        mask = f.value(f"icmp eq {low.type(self.fold.accumulator)} {values}, {best}")
        bits = f.value(f"bitcast {vector('i1', width)} {mask} to i{width}")
        if width < 64:
            bits = f.value(f"zext i{width} {bits} to i64")
        place = f.add(start, f.call("i64", "llvm.cttz.i64", [("i64", bits), ("i1", "false")]))
        return f.value(f"select i1 {f.compare(bits, '==', 0)}, i64 {orders.BLOCK}, i64 {place}")


def _powers(width: int) -> list[int]:
    found = []
    while width > 1:
        found.append(width)
        width //= 2
    return found
