"""Reductions and scans as kernels, all in the canonical orders."""

from __future__ import annotations

import functools
from typing import Final

from ...plugin import ARITHMETIC, CANONICAL, Accepts, CallSpec, Kernel, Prepared
from . import costs, reductions, scans
from .fold import KINDS, Fold
from .jit import Module, compile_ir
from .launching import bind, prepared
from .lower import OPTIONS
from .target import host_target

_SCANS: Final = {"cumulative_sum": "sum", "cumulative_prod": "prod"}


@functools.lru_cache(maxsize=1024)
def _reduction(variant: reductions.Variant) -> Module:
    return compile_ir(reductions.generate(variant, host_target()), (reductions.ENTRY,), OPTIONS)


@functools.lru_cache(maxsize=256)
def _scan(variant: scans.Variant) -> Module:
    return compile_ir(scans.generate(variant, host_target()), (scans.ENTRY,), OPTIONS)


def _reduce_kernel(op: str) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared:
        (x,), (out,) = spec.arrays, spec.outputs
        axes = spec.attributes["axis"]
        rank = len(x.shape)
        chosen = tuple(range(rank)) if axes is None else axes if isinstance(axes, tuple) else (axes,)
        kept_strides = out.strides
        if spec.attributes["keepdims"]:
            kept_strides = tuple(s for d, s in enumerate(out.strides) if d not in chosen)
        plan = reductions.plan(x.shape, x.strides, chosen, kept_strides)
        module = _reduction(reductions.variant(Fold(op, x.dtype.name, out.dtype.name), plan))
        return prepared(bind(module, reductions.ENTRY, plan.parameters()), 1)

    return Kernel(op, op, "cpu", prepare, Accepts(dtypes=(ARITHMETIC,)), CANONICAL, costs.REDUCTION)


def _scan_kernel(op: str) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared:
        (x,), (out,) = spec.arrays, spec.outputs
        plan = scans.plan(x.shape, x.strides, spec.attributes["axis"], out.strides)
        module = _scan(scans.variant(_SCANS[op], x.dtype.name, out.dtype.name, plan))
        return prepared(bind(module, scans.ENTRY, plan.parameters()), 1)

    return Kernel(op, op, "cpu", prepare, Accepts(dtypes=(ARITHMETIC,)), CANONICAL, costs.SCAN)


KERNELS: Final = (*(_reduce_kernel(op) for op in KINDS), *(_scan_kernel(op) for op in _SCANS))
