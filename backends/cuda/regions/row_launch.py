"""Graphs over rows or columns as one launch: what GPU it is made for, what it costs and what it takes as arguments."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ....plugin import CallSpec, CostTerms, Graph, Kernel, Nest, Prepared, Reason, Refusal, Rejection
from ..device.driver import driver_of
from ..device.launching import Arguments, Pointer, Step, launcher
from ..device.loading import Entry
from ..nest import packed
from ..reduction_kernels import walk
from ..reductions import THREADS
from .fusing import region_kernel, too_much
from .row_program import KINDS, Rows, constants
from .row_source import LINE

#: Of an H200: one has a block at least, and its share of the memory's bandwidth for it.
_MULTIPROCESSORS: Final = 132
#: Threads that keep it busy, where each has 128 registers: two blocks on every multiprocessor.
BUSY: Final = 2 * _MULTIPROCESSORS * THREADS
#: Blocks for what registers do not hold, with which one launch is better than the ops' launches of many blocks.
FEWEST_BLOCKS: Final = _MULTIPROCESSORS // 3
#: Static shared memory that a block of any GPU may have (CUDA C++ Programming Guide, technical specifications).
SHARED_BYTES: Final = 48 * 1024


@dataclass(frozen=True, slots=True)
class Region:
    """A region over rows, which may be columns.

    Attributes:
        graph: what it computes.
        held: the same in passes, where what a later one needs is kept.
        again: the same, where it is computed again.
    """

    graph: Graph
    held: Rows
    again: Rows

    def refused(self, reason: str) -> Refusal:
        """Return a refusal at the first reduction."""
        first = next(i for i, node in enumerate(self.graph.nodes) if node.op.name in KINDS)
        return Refusal(max(first, 1), reason)

    def kernel(
        self, kind: str, prepare: Callable[[Region, CallSpec], Prepared | Rejection], holds: bool, blocks: float
    ) -> Kernel:
        """Return the region's kernel, which costs second looks at operands and multiprocessors without work.

        Args:
            kind: its family.
            prepare: makes it ready for a call with rows.
            holds: whether registers hold a row.
            blocks: that can have work.
        """

        def prepared(spec: CallSpec) -> Prepared | Rejection:
            return prepare(self, spec) if self.held.frame.rows else Prepared(launcher(driver_of(spec).runtime, []))

        once = self.held.moved(True)
        moved = once if holds else self.again.moved(False)
        busy = min(blocks / _MULTIPROCESSORS, 1.0)
        cost = CostTerms(memory=once / moved * busy if once and busy else 1.0)
        return region_kernel(kind, self.graph, prepared, cost=cost)

    def launched(
        self, spec: CallSpec, rows: Rows, function: Entry, own: Sequence[bytes], blocks: int, threads: int
    ) -> Prepared | Rejection:
        """Return the launch of a kernel that takes how many rows there are and their length, then what is given.

        Args:
            spec: the call.
            rows: what the kernel computes.
            function: the kernel.
            own: its arguments before operands and results.
            blocks: of the grid.
            threads: of a block.
        """
        frame, count = rows.frame, len(spec.arrays)
        values = iter(constants(self.graph, rows.operands))
        read = [Pointer(v.value) if v.value < count else next(values) for v in rows.operands]
        written = [Pointer(count + i) for i in range(len(spec.outputs))]
        numbers = [struct.pack("<I", frame.rows), struct.pack("<I", frame.length)]
        arguments: Arguments = [*numbers, *own, *read, *written]
        if too_much(arguments):
            return Rejection(Reason.RANK, f"{len(frame.shape)} axes of {len(read)} operands are no arguments")
        step = Step(function, (blocks, 1, 1), (threads, 1, 1), arguments)
        return Prepared(launcher(driver_of(spec).runtime, [step]))


def walk_along(inner: Nest, packs: list[bytes]) -> str:
    """Return the C++ type that finds elements along a row, and add its bytes."""
    if len(inner.shape) == 1:
        packs.append(walk(inner))
        return LINE
    packs.append(packed(inner))
    return f"reduction::Near<{len(inner.shape)}>"
