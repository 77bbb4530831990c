"""Calling the generated matrix product: compiled once per element type, cut into parts for the threads."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Final

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
from .threads import run_all

_ENTRY: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
# The code names its vectors and unrolls itself.
OPTIONS: Final = CompileOptions(speed_level=2, vectorize=False, unroll=False)
# Below this much work per thread, waking a thread costs more than it saves.
_FLOPS_PER_THREAD: Final = 8_000_000


@functools.cache
def compiled(element: str) -> tuple[Plan, Module]:
    """The plan and the native module for `element` (`float` or `double`) on this machine."""
    plan = plan_for(host_target(), element)
    return plan, compile_ir(matmul_ir(plan), [plan.symbol], OPTIONS)


class MatmulCall:
    """One matrix product with fixed extents, strides and thread count, ready to run on any buffers.

    `workspace_bytes` of 64-byte aligned memory must come with each run. `address` and `parameters` are
    the native entry and its parameter block for callers that run the whole on their own thread; that
    takes the same workspace. Both stay valid as long as this object lives.
    """

    def __init__(self, element: str, problem: Problem, threads: int = 1) -> None:
        self.plan, self._module = compiled(element)
        self.problem, self._swap = _oriented(problem)
        self.packing: Packing = packing_for(self.plan, self.problem)
        self.address = self._module.address(self.plan.symbol)
        self._entry = _ENTRY(self.address)
        work = 2 * problem.batch * problem.m * problem.n * problem.k
        parts = split(self.plan, self.problem, max(min(threads, work // _FLOPS_PER_THREAD), 1))
        self._parameters = [pack_parameters(self.plan, self.problem, part, self.packing) for part in parts]
        self._part_bytes = workspace_size(self.plan, self.problem, self.packing)
        self.workspace_bytes = self._part_bytes * len(parts)

    def __call__(self, a: int, b: int, c: int, workspace: int) -> None:
        """Run on the addresses of A, B, C and the workspace (0 where `workspace_bytes` is 0); returns when C is there.

        C must not overlap the others.
        """
        if self._swap:
            a, b = b, a
        if len(self._parameters) == 1:
            self._entry((ctypes.c_void_p * 4)(a, b, c, workspace), self._parameters[0], None)
            return
        run_all([self._task(number, a, b, c, workspace) for number in range(len(self._parameters))])

    def _task(self, number: int, a: int, b: int, c: int, workspace: int) -> Callable[[], object]:
        buffers = (ctypes.c_void_p * 4)(a, b, c, workspace + number * self._part_bytes)
        return functools.partial(self._entry, buffers, self._parameters[number], None)


def _oriented(problem: Problem) -> tuple[Problem, bool]:
    """The same product, as the transposed one where that reads a column-major A along its unit stride.

    Only for a single column, whose C is the same memory either way. A product commutes, bit for bit.
    """
    if problem.n != 1 or problem.c_row != 1 or problem.a_row != 1:
        return problem, False
    swapped = Problem(
        m=1,
        n=problem.m,
        k=problem.k,
        a_row=0,
        a_k=problem.b_k,
        b_k=problem.a_k,
        b_column=1,
        c_row=problem.m,
        batch=problem.batch,
        a_batch=problem.b_batch,
        b_batch=problem.a_batch,
        c_batch=problem.c_batch,
    )
    return swapped, True
