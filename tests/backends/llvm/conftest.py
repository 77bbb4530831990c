"""Hard values, bit-for-bit comparison, and a runner for generated elementwise kernels."""

import ctypes
import math

import ml_dtypes
import numpy as np
import pytest

from opmux.backends.llvm.elementwise_kernels import bound_nest
from opmux.backends.llvm.invoke import invoker
from opmux.backends.llvm.jit import compile_ir
from opmux.backends.llvm.lower import OPTIONS
from opmux.backends.llvm.target import host_target
from opmux.opset.recipes.program import FLOATS, INTEGERS, NUMPY_TYPES
from opmux.plugin import collapse


def _float_values(dtype):
    info = ml_dtypes.finfo(dtype)
    eps, tiny, small, big = (float(v) for v in (info.eps, info.tiny, info.smallest_subnormal, info.max))
    positive = [
        *(0.0, small, 3 * small, tiny - small, tiny, tiny + small, 0.1, 0.5, 1 - eps / 2, 1.0, 1 + eps, 1.5, 2.5, 3.0),
        *(100.0, 127.5, 128.0, 255.5, 256.0, 2049.0, 65504.0, 65519.99, 65520.0, 1e5, 2.0**31, 2.0**32, 2.0**53),
        *(2.0**63, 2.0**64, big / 2, big, np.inf),
    ]
    if dtype == np.float64:  # what narrower floats round, in two steps wrongly
        positive += [1 + 2.0**-24, 1 + 2.0**-25 + 2.0**-50, 1 + 2.0**-9 + 2.0**-40, 2.0**-140, 1e-45, 3.4e38, 1e39]
    with np.errstate(over="ignore"):
        return np.array([*positive, *(-v for v in positive), np.nan], np.float64).astype(dtype)


def hard_values(name):
    """A one-dimensional array of the values where a dtype is most easily got wrong."""
    dtype = NUMPY_TYPES[name]
    if name == "bool":
        return np.array([False, True])
    if name in FLOATS:
        return _float_values(dtype)
    info = np.iinfo(dtype)
    values = {0, 1, 2, 3, 7, 100, info.max, info.max - 1, info.max // 2, info.min, info.min + 1, info.max // 3}
    for k in range(info.bits):
        values |= {1 << k, (1 << k) + 1, (1 << k) - 1, -(1 << k), -(1 << k) - 1}
    return np.array(sorted(v for v in values if info.min <= v <= info.max), dtype)


def hard_tuples(*names):
    """Every combination of hard values, thinned to some thousands, as one array per operand."""
    columns = [hard_values(n) for n in names]
    lengths = [len(c) for c in columns]
    total = math.prod(lengths)
    # The jitter keeps a round step from always pairing the same values.
    flat = np.arange(total) if total <= 5000 else np.arange(4999) * (total // 4999) + np.arange(4999) % 7
    return [c[i] for c, i in zip(columns, np.unravel_index(flat % total, lengths), strict=True)]


def same_bits(actual, expected):
    """Raise unless dtype, shape and every bit agree; all NaNs count as equal."""
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    a, e = np.atleast_1d(actual), np.atleast_1d(expected)
    if a.dtype.name in FLOATS:
        with np.errstate(invalid="ignore"):  # ml_dtypes raises the flag for a signalling NaN
            nan, given = np.isnan(e), np.isnan(a)
        np.testing.assert_array_equal(given, nan)
        a, e = np.where(nan, 0, a).astype(a.dtype), np.where(nan, 0, e).astype(e.dtype)
    raw = f"u{a.dtype.itemsize}"
    np.testing.assert_array_equal(np.ascontiguousarray(a).view(raw), np.ascontiguousarray(e).view(raw))


def call(ir, buffers, params):
    """Compile a module and call its entry `f`; buffers are arrays or addresses."""
    module = compile_ir(ir, ["f"], OPTIONS, cache=None)
    entry = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(module.address("f"))
    pointers = (ctypes.c_void_p * len(buffers))(*(b.ctypes.data for b in buffers))
    assert entry(pointers, params.ctypes.data, None) == 0


def _strides(array, shape):
    return tuple(s // array.itemsize for s in np.broadcast_to(array, shape).strides)


def run_program(program, *arrays, out=None, target=None):
    """Compute a program over broadcast arrays with a generated kernel."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    out = np.empty(shape, NUMPY_TYPES[program.result_type]) if out is None else out
    nest = collapse(shape, [_strides(a, shape) for a in (*arrays, out)])
    launch(bound_nest(program, nest, target or host_target()), *arrays, out)
    return out


def launch(code, *arrays):
    """Call bound code."""
    assert invoker()(code.entry, code.params, *(a.ctypes.data for a in arrays)) == 0


class Tools:
    """What the tests here share."""

    hard_values = staticmethod(hard_values)
    hard_tuples = staticmethod(hard_tuples)
    same_bits = staticmethod(same_bits)
    call = staticmethod(call)
    launch = staticmethod(launch)
    run_program = staticmethod(run_program)
    dtypes = ("bool", *INTEGERS, *FLOATS)


@pytest.fixture(scope="session")
def tools():
    return Tools


@pytest.fixture(scope="session")
def narrow():
    """The host as if it had 16-byte vectors and no masks."""
    return host_target().with_vectors(16, 16)


@pytest.fixture(scope="session", params=["host", "narrow"])
def target(request, narrow):
    """The host as it is, and narrowed: the bits must be the same."""
    return host_target() if request.param == "host" else narrow
