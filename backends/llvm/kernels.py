"""The kernels of this backend, as opmux sees them: rows over the code generators.

Code is compiled once per variant and kept; a call passes pointers and a block of int64 parameters.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ...plugin import (
    Accepts,
    Array,
    CallSpec,
    CostTerms,
    Determinism,
    Kernel,
    NativeEntry,
    Prepared,
    Program,
    Promises,
    Reason,
    Rejection,
    build_program,
    dtypes,
    ops_with_recipes,
    recipe,
)
from . import contraction, elementwise, reductions
from .fold import Fold
from .jit import Module, compile_ir
from .layout import collapse
from .lower import OPTIONS
from .target import host_target

SUPPORTED: Final = frozenset(t.name for t in (dtypes.bool_, *dtypes.INTEGERS, *dtypes.FLOATS))
CANONICAL: Final = Promises(order="canonical", determinism=Determinism.CANONICAL)

_Entry = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def prepared(module: Module, entry: str, params: bytes) -> Prepared:
    """Return a prepared kernel over a compiled entry: inputs, then the output, and the parameters given."""
    address = module.address(entry)
    function = _Entry(address)
    block = ctypes.create_string_buffer(params, len(params))
    here = ctypes.addressof(block)

    keep = (module, block)  # native code and its parameters must outlive every launch

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = keep) -> None:
        pointers = [x.ptr for x in ins]
        pointers.append(outs[0].ptr)
        function((ctypes.c_void_p * len(pointers))(*pointers), here, None)

    return Prepared(launch, native=NativeEntry(address, params, keep))


@functools.lru_cache(maxsize=4096)
def _elementwise(variant: elementwise.Variant) -> Module:
    return compile_ir(elementwise.generate(variant, host_target()), (elementwise.ENTRY,), OPTIONS)


@functools.lru_cache(maxsize=1024)
def _reduction(variant: reductions.Variant) -> Module:
    return compile_ir(reductions.generate(variant, host_target()), (reductions.ENTRY,), OPTIONS)


def _run_program(program: Program, spec: CallSpec) -> Prepared:
    out = spec.outputs[0]
    nest = collapse(out.shape, (*(s.strides for s in spec.arrays), out.strides))
    module = _elementwise(elementwise.variant(program, nest))
    return prepared(module, elementwise.ENTRY, elementwise.parameters(nest).tobytes())


def _by_recipe(op: str) -> Kernel:
    """Return the kernel that computes an op by its recipe."""

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        inputs = tuple(s.dtype.name for s in spec.arrays)
        target = spec.attributes.get("dtype")
        if target is not None and target.name not in SUPPORTED:
            return Rejection(Reason.DTYPE, f"it does not convert to {target}")
        program = recipe(op, inputs, None if target is None else target.name)
        if program is None:
            return Rejection(Reason.DTYPE, f"there is no recipe for {', '.join(inputs)}")
        return _run_program(program, spec)

    return Kernel(op, op, "cpu", prepare, Accepts(dtypes=(SUPPORTED,)), CANONICAL, _elementwise_cost())


def _elementwise_cost() -> CostTerms:
    return CostTerms(launch=2e-6, compute=0.5, memory=1.0)


def _copy(spec: CallSpec) -> Prepared:
    """Copy bits of the operand's width, whatever they mean."""
    width = spec.outputs[0].dtype.itemsize * 8
    kind = f"uint{width}"
    return _run_program(build_program("copy", (kind,), lambda x: x), spec)


def _reduce(op: str) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared | Rejection:
        (x,) = spec.arrays
        out = spec.outputs[0]
        axes = spec.attributes["axis"]
        rank = len(x.shape)
        chosen = tuple(range(rank)) if axes is None else axes if isinstance(axes, tuple) else (axes,)
        kept_strides = out.strides
        if spec.attributes["keepdims"]:
            kept_strides = tuple(s for d, s in enumerate(out.strides) if d not in chosen)
        plan = reductions.plan(x.shape, x.strides, chosen, kept_strides)
        fold = Fold(op, x.dtype.name, out.dtype.name)
        module = _reduction(reductions.variant(fold, plan))
        return prepared(module, reductions.ENTRY, plan.parameters().tobytes())

    return Kernel(
        op, op, "cpu", prepare, Accepts(dtypes=(SUPPORTED,)), CANONICAL, CostTerms(launch=2e-6, compute=0.5, memory=1.0)
    )


_WORDS: Final = frozenset(t.name for t in dtypes.ALL if t.itemsize <= 8)


def kernels() -> Iterable[Kernel]:
    """Return every kernel of this backend."""
    return (
        *(_by_recipe(op) for op in ops_with_recipes()),
        Kernel("copy", "copy", "cpu", _copy, Accepts(dtypes=(_WORDS,)), CANONICAL, _elementwise_cost()),
        *contraction.KERNELS,
        *(_reduce(op) for op in ("sum", "prod", "max", "min", "all", "any", "argmax", "argmin")),
    )
