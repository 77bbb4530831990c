"""Running sums and products, bit for bit one chain per line."""

import numpy as np
import pytest

import opmux as ox
from opmux.backends.llvm import scans
from opmux.backends.llvm.target import host_target
from opmux.opset.orders import canonical_cumulative_prod, canonical_cumulative_sum
from opmux.opset.recipes.program import FLOATS, INTEGERS, NUMPY_TYPES

REFERENCE = {"sum": canonical_cumulative_sum, "prod": canonical_cumulative_prod}


def numbers(*shape, dtype="float32"):
    return (np.random.default_rng(5).standard_normal(shape) * 3).astype(np.int8).astype(NUMPY_TYPES[dtype])


def scan(tools, kind, x, axis, result=None, target=None, out=None):
    out = np.empty(x.shape, NUMPY_TYPES[result or x.dtype.name]) if out is None else out
    strides = [[s // a.itemsize for s in a.strides] for a in (x, out)]
    plan = scans.plan(x.shape, strides[0], axis, strides[1])
    variant = scans.variant(kind, x.dtype.name, out.dtype.name, plan)
    tools.call(scans.generate(variant, target or host_target()), [x, out], plan.parameters())
    return out


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", REFERENCE)
def test_axes(tools, target, kind, axis):
    x = np.random.default_rng(1).uniform(0.5, 1.5, (7, 19, 83)).astype(np.float32)
    tools.same_bits(scan(tools, kind, x, axis, target=target), REFERENCE[kind](x, axis))


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[::-1, ::2], lambda a: a[:0], lambda a: a[:, :0]])
@pytest.mark.parametrize("axis", [0, 1])
def test_strides(tools, target, view, axis):
    x = view(np.random.default_rng(2).standard_normal((90, 70)).astype(np.float32))
    tools.same_bits(scan(tools, "sum", x, axis, target=target), canonical_cumulative_sum(x, axis))


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("kind", REFERENCE)
def test_dtypes(tools, target, kind, dtype):
    x = numbers(20, 37, dtype=dtype)
    for axis in (0, 1):
        tools.same_bits(scan(tools, kind, x, axis, target=target), REFERENCE[kind](x, axis))


@pytest.mark.parametrize(("source", "result"), [("bool", "int64"), ("int8", "int64"), ("float16", "float32")])
def test_result_dtype(tools, target, source, result):
    x = numbers(9, 300, dtype=source)
    for axis in (0, 1):
        expected = canonical_cumulative_sum(x, axis, dtype=result)
        tools.same_bits(scan(tools, "sum", x, axis, result, target), expected)


def test_one_dimension_keeps_a_leading_minus_zero(tools, target):
    out = scan(tools, "sum", np.array([-0.0, -0.0, 1.0, np.nan, 2.0]), 0, target=target)
    assert np.signbit(out[:2]).all()
    np.testing.assert_array_equal(out, [-0.0, -0.0, 1.0, np.nan, np.nan])


def test_in_place(tools, target):
    x = np.random.default_rng(3).standard_normal((40, 50))
    for axis in (0, 1):
        copy = x.copy()
        tools.same_bits(scan(tools, "sum", copy, axis, target=target, out=copy), canonical_cumulative_sum(x, axis))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("op", ["cumulative_sum", "cumulative_prod"])
def test_kernels(tools, op, dtype):
    x = numbers(5, 33, 4, dtype=dtype)
    reference = REFERENCE[op.removeprefix("cumulative_")]
    with ox.policy(pins={op: "llvm"}):
        for axis in (0, 1, -1):
            for given in (x, x[::-1, ::2]):
                found = np.asarray(getattr(ox, op)(ox.asarray(given), axis=axis))
                tools.same_bits(found, reference(given, axis, dtype=found.dtype))


def test_kernel_of_an_empty_array():
    with ox.policy(pins={"cumulative_sum": "llvm"}):
        assert ox.cumulative_sum(ox.zeros((0, 3)), axis=0).shape == (0, 3)
        assert ox.cumulative_sum(ox.zeros((3, 0)), axis=0).shape == (3, 0)
