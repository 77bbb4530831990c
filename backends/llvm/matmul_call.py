"""Calling the generated matrix product: compiled once per element type, cut into parts for the threads."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from ...plugin import merge, run_all
from .jit import CompileOptions, Module, compile_ir
from .matmul import matmul_ir
from .matmul_plan import (
    Packing,
    Plan,
    Problem,
    pack_parameters,
    packing_for,
    plan_for,
    split,
    workspace_size,
)
from .target import host_target

_ENTRY: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_Buffers: Final = ctypes.c_void_p * 4
# The code names its vectors and unrolls itself.
OPTIONS: Final = CompileOptions(speed_level=2, vectorize=False, unroll=False)
# Below this much work per thread, waking a thread costs more than it saves.
_FLOPS_PER_THREAD: Final = 8_000_000

Strides = Sequence[int]
Offsets = tuple[int, int, int]


@functools.cache
def compiled(element: str) -> tuple[Plan, Module]:
    """The plan and the native module for `element` (`float` or `double`) on this machine."""
    plan = plan_for(host_target(), element)
    return plan, compile_ir(matmul_ir(plan), [plan.symbol, plan.vector_symbol], OPTIONS)


class MatmulCall:
    """C = A @ B over any number of batch axes, with fixed extents, strides and threads, for any buffers.

    `shape` is the batch axes, then m, n, k; the strides of A (…, m, k), B (…, k, n) and C (…, m, n) count
    elements; C has unit stride along n. `workspace_bytes` of 64-byte aligned memory must come with each
    run, and runs at the same time need memory of their own. `native` is the C entry and its parameter
    block where one call on one thread does it all, else None; it takes the same workspace.
    """

    def __init__(
        self, element: str, shape: Sequence[int], a: Strides, b: Strides, c: Strides, threads: int = 1
    ) -> None:
        self.plan, self.module = compiled(element)
        problem, self._outer = problem_for(shape, a, b, c)
        self.problem, self._swap = oriented(problem)
        self.packing: Packing = packing_for(self.plan, self.problem)
        symbol = self.plan.vector_symbol if self.problem.is_vector_product else self.plan.symbol
        self._entry = _ENTRY(self.module.address(symbol))
        work = 2 * problem.batch * problem.m * problem.n * problem.k
        parts = split(self.plan, self.problem, max(min(threads, work // _FLOPS_PER_THREAD), 1))
        self._parameters = [pack_parameters(self.plan, self.problem, part, self.packing) for part in parts]
        self._part_bytes = workspace_size(self.plan, self.problem, self.packing)
        self.workspace_bytes = self._part_bytes * len(parts)
        self.native: tuple[int, bytes] | None = None
        if len(parts) == 1 and len(self._outer) == 1 and not self._swap:
            self.native = (self.module.address(symbol), self._parameters[0])

    def __call__(self, a: int, b: int, c: int, workspace: int) -> None:
        """Run on the addresses of A, B, C and the workspace (0 where it needs none); returns when C is there.

        C must not overlap the others.
        """
        if self.native is not None:
            self._entry(_Buffers(a, b, c, workspace), self.native[1], None)
            return
        size = self.plan.element_bytes
        for a_offset, b_offset, c_offset in self._outer:
            left, right = a + a_offset * size, b + b_offset * size
            if self._swap:
                left, right = right, left
            run_all(self._tasks(left, right, c + c_offset * size, workspace))

    def _tasks(self, a: int, b: int, c: int, workspace: int) -> list[Callable[[], object]]:
        return [
            functools.partial(self._entry, _Buffers(a, b, c, workspace + part * self._part_bytes), parameters, None)
            for part, parameters in enumerate(self._parameters)
        ]


def problem_for(shape: Sequence[int], a: Strides, b: Strides, c: Strides) -> tuple[Problem, list[Offsets]]:
    """The problem that one native call solves, and where its operands start for every call that is needed.

    Batch axes that are walked as one become one; one of them goes into the native loop, the largest, and
    Python visits the others. A batch that shares one B and continues A's rows becomes more rows.
    """
    *batch, m, n, k = shape
    nest = merge(batch, [a[:-2], b[:-2], c[:-2]])
    axes = sorted(zip(nest.shape, zip(*nest.strides, strict=True), strict=True), key=lambda axis: axis[0])
    count, (a_batch, b_batch, c_batch) = axes.pop() if axes else (1, (0, 0, 0))
    problem = Problem(m, n, k, a[-2], a[-1], b[-2], b[-1], c[-2], count, a_batch, b_batch, c_batch)
    if m == 1:
        problem = replace(problem, a_row=a_batch, c_row=c_batch)
    if b_batch == 0 and (m == 1 or (a_batch == m * a[-2] and c_batch == m * c[-2])):
        problem = replace(problem, m=m * count, batch=1, a_batch=0, c_batch=0)
    outer = [
        tuple(sum(i * strides[operand] for i, (_, strides) in zip(index, axes, strict=True)) for operand in range(3))
        for index in itertools.product(*(range(size) for size, _ in axes))
    ]
    return problem, [(a_offset, b_offset, c_offset) for a_offset, b_offset, c_offset in outer]


def oriented(problem: Problem) -> tuple[Problem, bool]:
    """The same product, as the transposed one where A times a column can become a row times B.

    There are better ways to read a B than an A that is used once. C is the same memory either way, and a
    product commutes, bit for bit.
    """
    if problem.n != 1 or problem.m == 1 or problem.c_row != 1 or 1 not in (problem.a_row, problem.a_k):
        return problem, False
    swapped = Problem(
        m=1,
        n=problem.m,
        k=problem.k,
        a_row=0,
        a_k=problem.b_k,
        b_k=problem.a_k,
        b_column=problem.a_row,
        c_row=problem.m,
        batch=problem.batch,
        a_batch=problem.b_batch,
        b_batch=problem.a_batch,
        c_batch=problem.c_batch,
    )
    return swapped, True
