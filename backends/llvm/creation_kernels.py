"""Index ramps and random bits as kernels."""

from __future__ import annotations

import functools
import math
from typing import Final

import numpy as np

from ...plugin import CANONICAL, Accepts, CallSpec, Kernel, Layout, Prepared
from . import costs, philox, ramp
from .jit import Module, compile_ir
from .launching import bind, prepared
from .target import host_target


@functools.lru_cache(maxsize=64)
def _ramp(variant: ramp.Variant) -> Module:
    return compile_ir(ramp.generate(variant, host_target()), (ramp.ENTRY,), variant.options())


@functools.cache
def _philox() -> Module:
    return compile_ir(philox.generate(), (philox.ENTRY,), philox.OPTIONS)


def _iota(spec: CallSpec) -> Prepared:
    (out,), axis = spec.outputs, spec.attributes["axis"]
    before, after = math.prod(out.shape[:axis]), math.prod(out.shape[axis + 1 :])
    module = _ramp(ramp.Variant(out.dtype.name, after == 1))
    return prepared(bind(module, ramp.ENTRY, np.array([before, out.shape[axis], after], np.int64)), 0)


def _random_bits(spec: CallSpec) -> Prepared:
    code = bind(_philox(), philox.ENTRY, np.array([spec.outputs[0].size], np.int64))
    return prepared(code, 2)


KERNELS: Final = (
    Kernel("iota", "iota", "cpu", _iota, Accepts(), CANONICAL, costs.MOVE),
    Kernel(
        "random_bits",
        "random_bits",
        "cpu",
        _random_bits,
        Accepts(layout=Layout.CONTIGUOUS),
        CANONICAL,
        costs.RANDOM,
    ),
)
