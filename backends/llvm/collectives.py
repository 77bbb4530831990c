"""Collectives over the memory of all ranks, where every rank is the host and little is moved: one native call each.

The entries are `int f(void **buffers, const void *params, void *queue)`; `buffers` are the operands of all ranks, then
their results, all dense, and `params` are int64.

A reduction reads element by element what every rank brings, combines it by the canonical tree in registers, and writes
it to every rank (all_reduce; `params` are the number of elements of a contribution) or to the one whose part it is
(reduce_scatter; `params` are for each rank the first element of its part and the one behind it).

A movement is a list of copies: `params` are their number, then for each the source, the target, the offset in each, and
how many bytes it moves. Source -1 is zeros.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np

from ...plugin import (
    ARITHMETIC,
    CANONICAL,
    Accepts,
    Array,
    CallSpec,
    CostTerms,
    Kernel,
    Launch,
    Layout,
    Prepared,
    Program,
    Reason,
    Rejection,
    dtypes,
    programs,
    recipe,
)
from . import costs
from .invoke import Invoke, invoker
from .ir import Function, module_text
from .jit import Module, compile_ir
from .launching import BoundCode, bind
from .lower import OPTIONS, Lowering, first_lanes, has_masks, memory
from .target import Target, host_target
from .vectors import Tables

ENTRY: Final = "f"
#: Operands and results of more bytes together are worth waking threads for, which is other kernels' business.
_LARGEST: Final = 4 << 20
#: Bytes in a first-level cache that are moved within a microsecond.
_BRIEF: Final = 1 << 14
#: More contributions than this make long code, and no longer fit into registers.
_MOST_TERMS: Final = 16
#: Words of a row of a movement's table.
_ROW: Final = 5

_NUMBERS: Final = {
    "sum": "add", "prod": "multiply", "min": "minimum", "max": "maximum", "and": "bitwise_and", "or": "bitwise_or",
}  # fmt: skip
_TRUTHS: Final = {
    "sum": "bitwise_or", "prod": "bitwise_and", "min": "bitwise_and", "max": "bitwise_or", "and": "bitwise_and",
    "or": "bitwise_or",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code of a reduction depends on.

    `combine` is of the accumulator's dtype; `blocks` says how many contributions each rank brings.
    """

    combine: Program
    dtype: str
    blocks: tuple[int, ...]
    scatters: bool

    @property
    def accumulator(self) -> str:
        """The dtype that contributions are combined in."""
        return self.combine.result_type


def reduction_code(variant: Variant, target: Target) -> str:
    """The IR module of a reduction; its entry is `f`."""
    f, tables = _entry(), Tables()
    _Reduction(variant, target, f, tables).write()
    f.emit("ret i32 0")
    return module_text([f], tables.definitions())


def _entry() -> Function:
    return Function(ENTRY, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")


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
                at = f.mul(rank.index, 2)
                start, stop = self._word(at), self._word(f.add(at, 1))
                # Results begin at their own first element, so that one index serves operands and results.
                out = f.address(self._buffer(f.add(rank.index, ranks)), f.sub(0, start), self._kind)
                self._range(rows, [out], start, stop)
            return
        size = self._word(0)
        self._range(self._contributions(size), [self._buffer(ranks + r) for r in range(ranks)], "0", size)

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


def movement_code() -> str:
    """The IR module of every movement; its entry is `f`."""
    f = _entry()
    count = f.load("i64", "%params", 8)
    with f.loop(0, count) as loop:
        row = f.address("%params", f.add(f.mul(loop.index, _ROW), 1), "i64")
        source, target, skip, at, nbytes = (f.load("i64", f.address(row, i, "i64"), 8) for i in range(_ROW))
        to = f.address(f.load("ptr", f.address("%buffers", target, "ptr"), 8), at, "i8")
        with f.either(f.compare(source, "<", 0)) as otherwise:
            f.call("void", "llvm.memset.p0.i64", [("ptr", to), ("i8", 0), ("i64", nbytes), ("i1", "false")])
            otherwise()
            begin = f.address(f.load("ptr", f.address("%buffers", source, "ptr"), 8), skip, "i8")
            f.call(
                "void", "llvm.memcpy.p0.p0.i64", [("ptr", to), ("ptr", begin), ("i64", nbytes), ("i1", "false")]
            )  # fmt: skip
    f.emit("ret i32 0")
    return module_text([f])


@functools.lru_cache(maxsize=1024)
def _reduction_module(variant: Variant) -> Module:
    return compile_ir(reduction_code(variant, host_target()), (ENTRY,), OPTIONS)


@functools.cache
def _movement_module() -> Module:
    return compile_ir(movement_code(), (ENTRY,), OPTIONS)


def _nbytes(spec: CallSpec) -> int:
    return sum(s.nbytes for s in (*spec.arrays, *spec.outputs))


def _too_large(spec: CallSpec) -> Rejection | None:
    nbytes = _nbytes(spec)
    if nbytes <= _LARGEST:
        return None
    return Rejection(Reason.SIZE, f"{nbytes:,} bytes are more than one thread does best ({_LARGEST:,})")


def _reduce(spec: CallSpec) -> Prepared | Rejection:
    name, reduction = spec.arrays[0].dtype.name, spec.attributes["reduction"]
    narrow = name in programs.STORAGE_FLOATS and reduction in ("sum", "prod")
    accumulator = dtypes.float32.name if narrow else name
    combine = recipe((_TRUTHS if name == "bool" else _NUMBERS)[reduction], (accumulator, accumulator))
    if combine is None:
        return Rejection(Reason.DTYPE, f"there is no recipe for the {reduction} of {name}")
    blocked, scatters = bool(spec.attributes["blocked"]), spec.op == "reduce_scatter"
    blocks = tuple(s.shape[0] if blocked else 1 for s in spec.arrays)
    large = _too_large(spec)
    if large is not None:
        return large
    if sum(blocks) > _MOST_TERMS:
        return Rejection(Reason.SIZE, f"{sum(blocks)} contributions; it combines at most {_MOST_TERMS}")
    starts = [0, *accumulate(s.size for s in spec.outputs)]
    words = [w for part in pairwise(starts) for w in part] if scatters else [spec.outputs[0].size]
    module = _reduction_module(Variant(combine, name, blocks, scatters))
    return _prepared(spec, bind(module, ENTRY, np.array(words, np.int64)))


#: A copy: source rank, or -1 for zeros; target rank; offset in each, and how much, in bytes.
Copy = tuple[int, int, int, int, int]


def _all_gather(spec: CallSpec) -> Iterator[Copy]:
    start = 0
    for rank, s in enumerate(spec.arrays):
        yield from ((rank, to, 0, start, s.nbytes) for to in range(len(spec.outputs)))
        start += s.nbytes


def _broadcast(spec: CallSpec) -> Iterator[Copy]:
    return ((spec.attributes["root"], to, 0, 0, s.nbytes) for to, s in enumerate(spec.outputs))


def _permute(spec: CallSpec) -> Iterator[Copy]:
    source = {b: a for a, b in spec.attributes["pairs"]}
    return ((source.get(to, -1), to, 0, 0, s.nbytes) for to, s in enumerate(spec.outputs))


def _movement(copies: Callable[[CallSpec], Iterable[Copy]]) -> Callable[[CallSpec], Prepared | Rejection]:
    def prepare(spec: CallSpec) -> Prepared | Rejection:
        large = _too_large(spec)
        if large is not None:
            return large
        ranks = len(spec.arrays)
        rows = [(source, ranks + target, *rest) for source, target, *rest in copies(spec)]
        words = np.array([len(rows), *(w for row in rows for w in row)], np.int64)
        return _prepared(spec, bind(_movement_module(), ENTRY, words))

    return prepare


def _prepared(spec: CallSpec, code: BoundCode) -> Prepared:
    make = _launch_pair if len(spec.arrays) == 2 else _launch
    invoke = invoker(brief=True) if _nbytes(spec) <= _BRIEF else invoker()
    return Prepared(make(invoke, code), native=code.native())


# The default argument keeps the code alive; lists of addresses cost a pair of ranks as much as all the rest.
def _launch_pair(invoke: Invoke, code: BoundCode) -> Launch:
    entry, params = code.entry, code.params

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = code) -> None:
        invoke(entry, params, ins[0].ptr, ins[1].ptr, outs[0].ptr, outs[1].ptr)

    return launch


def _launch(invoke: Invoke, code: BoundCode) -> Launch:
    entry, params = code.entry, code.params

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = code) -> None:
        invoke(entry, params, *[x.ptr for x in ins], *[y.ptr for y in outs])

    return launch


_WORDS: Final = Accepts(layout=Layout.CONTIGUOUS)
_NUMBERS_DENSE: Final = Accepts(dtypes=(ARITHMETIC,), layout=Layout.CONTIGUOUS)


def _kernel(op: str, prepare: Callable[[CallSpec], Prepared | Rejection], accepts: Accepts, cost: CostTerms) -> Kernel:
    return Kernel(f"{op}.fused", op, "cpu", prepare, accepts, CANONICAL, cost)


KERNELS: Final = (
    _kernel("all_reduce", _reduce, _NUMBERS_DENSE, costs.MOVE),
    _kernel("reduce_scatter", _reduce, _NUMBERS_DENSE, costs.MOVE),
    _kernel("all_gather", _movement(_all_gather), _WORDS, costs.MOVE),
    _kernel("broadcast", _movement(_broadcast), _WORDS, costs.MOVE),
    _kernel("permute", _movement(_permute), _WORDS, costs.MOVE),
)
