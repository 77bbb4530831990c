"""Walking the reduced dimensions in logical order, a block of terms at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...plugin import programs
from .ir import Function
from .lower import memory


def total(f: Function, dims: str, rank: int) -> str:
    """Number of terms: the product of the sizes at `dims`."""
    sizes = [f.load("i64", f.address(dims, d, "i64"), 8) for d in range(rank)]
    n = sizes[0]
    for size in sizes[1:]:
        n = f.mul(n, size)
    return n


@contextmanager
def runs(f: Function, rank: int, dims: str, start: str, count: str) -> Iterator[tuple[str, str, str, str]]:
    """Loop over the runs along the innermost dimension that terms [start, start + count) consist of, 0 < count.

    Yields (number of the run's first term counted from `start`, its offset, terms in the run, stride).
    """
    sizes = [f.load("i64", f.address(dims, d, "i64"), 8) for d in range(rank)]
    strides = [f.load("i64", f.address(dims, rank + d, "i64"), 8) for d in range(rank)]
    inner, stop = sizes[-1], f.add(start, count)
    first = f.value(f"udiv i64 {start}, {inner}")
    last = f.value(f"udiv i64 {f.sub(stop, 1)}, {inner}")
    with f.loop(first, f.add(last, 1)) as loop:
        left, offset = loop.index, "0"
        for size, stride in zip(reversed(sizes[:-1]), reversed(strides[:-1]), strict=True):
            rest = f.value(f"udiv i64 {left}, {size}")
            offset = f.add(offset, f.mul(f.sub(left, f.mul(rest, size)), stride))
            left = rest
        run = f.mul(loop.index, inner)
        begin = f.call("i64", "llvm.smax.i64", [("i64", run), ("i64", start)])
        end = f.minimum(f.add(run, inner), stop)
        offset = f.add(offset, f.mul(f.sub(begin, run), strides[-1]))
        yield f.sub(begin, start), offset, f.sub(end, begin), strides[-1]


def gather(f: Function, dtype: str, rank: int, base: str, dims: str, start: str, count: str, buffer: str) -> None:
    """Append the copy of terms [start, start + count) into a buffer, side by side."""
    kind, align = memory(dtype), max(programs.WIDTH[dtype] // 8, 1)
    with runs(f, rank, dims, start, count) as (to, offset, length, stride):
        source, target = f.address(base, offset, kind), f.address(buffer, to, kind)
        with f.either(f.compare(stride, "==", 1)) as otherwise:
            size = f.mul(length, align)
            f.emit(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")
            otherwise()
            with f.loop(0, length) as loop:
                value = f.load(kind, f.address(source, f.mul(loop.index, stride), kind), align)
                f.store(kind, value, f.address(target, loop.index, kind), align)


def offsets(f: Function, rank: int, dims: str, start: str, count: str, table: str) -> None:
    """Append the list of the offsets of terms [start, start + count), as int64."""
    with runs(f, rank, dims, start, count) as (to, offset, length, stride), f.loop(0, length) as loop:
        here = f.add(offset, f.mul(loop.index, stride))
        f.store("i64", here, f.address(table, f.add(to, loop.index), "i64"), 8)
