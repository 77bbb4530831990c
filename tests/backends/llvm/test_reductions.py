"""Reductions in the canonical order, bit for bit, over every form of code."""

import numpy as np
import pytest

from opmux.backends.llvm import reductions
from opmux.backends.llvm.fold import Fold
from opmux.backends.llvm.reductions import Form
from opmux.backends.llvm.target import host_target
from opmux.opset.orders import BLOCK, LANES, canonical_prod, canonical_sum
from opmux.opset.recipes.program import FLOATS, INTEGERS, NUMPY_TYPES

RNG = np.random.default_rng(11)
# Views of one array: what is reduced lies side by side, apart, or over several dimensions.
CASES = {
    "rows": (lambda: (5, 2500), lambda a: a, (1,)),
    "columns": (lambda: (2500, 150), lambda a: a, (0,)),
    "all": (lambda: (40, 77), lambda a: a, (0, 1)),
    "outer and inner": (lambda: (9, 3, 130), lambda a: a, (0, 2)),
    "outer two": (lambda: (31, 70, 21), lambda a: a, (0, 1)),
    "outer two, steps": (lambda: (62, 70, 21), lambda a: a[::2], (0, 1)),
    "middle": (lambda: (3, 66, 33), lambda a: a, (1,)),
    "transposed rows": (lambda: (300, 7), lambda a: a.T, (1,)),
    "flipped": (lambda: (4, 3000), lambda a: a[:, ::-1], (1,)),
    "strided columns": (lambda: (300, 40), lambda a: a[:, ::2], (0,)),
    "broadcast": (lambda: (1, 100), lambda a: np.broadcast_to(a, (70, 100)), (0, 1)),
}


def numbers(shape, dtype):
    kind = NUMPY_TYPES[dtype]
    if dtype == "bool":
        return RNG.random(shape) < 0.5
    if dtype in INTEGERS:
        info = np.iinfo(kind)
        return RNG.integers(info.min, info.max, shape, dtype=kind, endpoint=True)
    return (RNG.standard_normal(shape) * 8).astype(kind)


def reduce(tools, kind, x, axes, result=None, target=None):
    x = np.asarray(x)
    result = result or {"all": "bool", "any": "bool", "argmax": "int64", "argmin": "int64"}.get(kind, x.dtype.name)
    out = np.empty([n for d, n in enumerate(x.shape) if d not in axes], NUMPY_TYPES[result])
    plan = reductions.plan(
        x.shape, [s // x.itemsize for s in x.strides], axes, [s // out.itemsize for s in out.strides]
    )
    ir = reductions.generate(reductions.variant(Fold(kind, x.dtype.name, result), plan), target or host_target())
    tools.call(ir, [x, out], plan.parameters())
    return out, plan.form()


def numpy_answer(kind, x, axis):
    with np.errstate(invalid="ignore"):  # ml_dtypes raises the flag for NaN
        return np.asarray(getattr(np, kind)(x, axis))


@pytest.mark.parametrize("case", CASES)
def test_sum_follows_the_canonical_order(tools, target, case):
    shape, view, axes = CASES[case]
    x = view(numbers(shape(), "float32"))
    tools.same_bits(reduce(tools, "sum", x, axes, target=target)[0], canonical_sum(x, axes))


def test_every_form_is_used(tools):
    forms = {reduce(tools, "sum", view(numbers(shape(), "float32")), axes)[1] for shape, view, axes in CASES.values()}
    assert forms == set(Form)


@pytest.mark.parametrize("axis", [0, 1])
def test_sums_around_the_edges_of_lanes_and_blocks(tools, target, axis):
    for n in [0, 1, 2, 3, 5, 15, 16, 17, 33, *(LANES + d for d in (-1, 0, 1)), 2 * LANES + 1]:
        x = numbers((n, 19) if axis == 0 else (3, n), "float32")
        tools.same_bits(reduce(tools, "sum", x, (axis,), target=target)[0], canonical_sum(x, axis))
    for n in [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 7, 7 * BLOCK + LANES]:
        x = numbers((n, 3) if axis == 0 else (2, n), "float32")
        tools.same_bits(reduce(tools, "sum", x, (axis,), target=target)[0], canonical_sum(x, axis))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("kind", ["sum", "prod"])
def test_sum_and_prod_of_every_dtype(tools, target, kind, dtype, axis):
    x = numbers((70, 130), dtype)
    reference = canonical_sum if kind == "sum" else canonical_prod
    tools.same_bits(reduce(tools, kind, x, (axis,), target=target)[0], reference(x, axis))


@pytest.mark.parametrize(
    ("source", "result"), [("int8", "int64"), ("uint8", "uint64"), ("bool", "int64"), ("int32", "int64")]
)
def test_integers_accumulate_in_the_result_dtype(tools, target, source, result):
    x = numbers((300, 40), source)
    for axes in ((0,), (1,)):
        expected = x.astype(result).sum(axes)
        tools.same_bits(reduce(tools, "sum", x, axes, result, target)[0], expected)


def test_half_is_rounded_once(tools, target):
    x = np.full(5000, 0.1, np.float16)
    total = reduce(tools, "sum", x, (0,), target=target)[0]
    assert float(total) == float(np.float16(np.float32(x[0]) * 5000))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS])
@pytest.mark.parametrize("kind", ["max", "min"])
def test_extremes(tools, target, kind, dtype, axis):
    x = numbers((70, 37), dtype)
    if dtype in FLOATS:
        x[:, 3], x[5, :] = -np.inf, np.inf
        x[7, 9] = np.nan
    expected = numpy_answer(kind, x, axis)
    tools.same_bits(reduce(tools, kind, x, (axis,), target=target)[0], expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_extremes_order_the_zeros(tools, target, dtype):
    x = np.array([[-0.0, 0.0], [0.0, -0.0]]).astype(NUMPY_TYPES[dtype])
    for axes in ((0,), (1,)):
        assert not np.signbit(reduce(tools, "max", x, axes, target=target)[0]).any()
        assert np.signbit(reduce(tools, "min", x, axes, target=target)[0]).all()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "int64", *FLOATS])
@pytest.mark.parametrize("kind", ["all", "any"])
def test_truth(tools, target, kind, dtype, axis):
    x = np.zeros((90, 90), NUMPY_TYPES[dtype]) if kind == "any" else np.ones((90, 90), NUMPY_TYPES[dtype])
    for i in range(0, 90, 7):
        x[i, (i * 13) % 90] = kind == "any"
    if dtype in FLOATS:
        x[3, 3] = np.nan
        x[5, 5] = -0.0
    expected = numpy_answer(kind, x, axis)
    tools.same_bits(reduce(tools, kind, x, (axis,), target=target)[0], expected)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "uint64", *FLOATS])
@pytest.mark.parametrize("kind", ["argmax", "argmin"])
def test_places(tools, target, kind, dtype, axis):
    x = numbers((2100, 13) if axis == 0 else (13, 2100), dtype)
    lines = x.T if axis == 0 else x
    if dtype in FLOATS:
        lines[0, [1500, 1700]] = np.nan
        lines[1, :] = -np.inf
        lines[2, :] = np.inf
        lines[3, :] = -0.0
        lines[3, 1100] = 0.0
    lines[4, :] = lines[4, 0]
    expected = numpy_answer(kind, x, axis)
    tools.same_bits(reduce(tools, kind, x, (axis,), target=target)[0], expected)


def test_place_in_scattered_terms(tools, target):
    x = numbers((6, 50, 40), "float32")
    expected = x.transpose(1, 0, 2).reshape(50, -1).argmax(1)
    tools.same_bits(reduce(tools, "argmax", x, (0, 2), target=target)[0], expected)


@pytest.mark.parametrize(("kind", "value"), [("sum", 0.0), ("prod", 1.0), ("all", True), ("any", False)])
def test_nothing_to_reduce(tools, target, kind, value):
    for shape, axes in (((0, 20), (0,)), ((3, 0), (1,)), ((3, 0, 2), (0, 1)), ((0, 4), (0, 1))):
        out = reduce(tools, kind, np.zeros(shape, np.float32), axes, target=target)[0]
        assert out.tolist() == np.full(out.shape, value).tolist()
        assert not np.signbit(out.astype(np.float32)).any()


def test_no_results(tools):
    assert reduce(tools, "sum", np.zeros((0, 5), np.float32), (1,))[0].shape == (0,)


def test_zero_dimensions(tools):
    assert reduce(tools, "sum", np.float32(2.5), ())[0] == 2.5


def test_sum_of_minus_zeros_is_plus_zero(tools, target):
    x = np.full((3, 100), np.float32(-0.0))
    for axes in ((0,), (1,)):
        assert not np.signbit(reduce(tools, "sum", x, axes, target=target)[0]).any()


def test_ranges_of_the_kept_dimension(tools):
    for shape, axes in (((20, 100), (1,)), ((100, 20), (0,))):
        x, out = numbers(shape, "float32"), np.zeros(20, np.float32)
        plan = reductions.plan(shape, (shape[1], 1), axes, (1,))
        ir = reductions.generate(reductions.variant(Fold("sum", "float32", "float32"), plan), host_target())
        tools.call(ir, [x, out], plan.parameters(3, 11))
        tools.same_bits(out[3:11], canonical_sum(x, axes)[3:11])
        assert not out[:3].any()
        assert not out[11:].any()


def test_results_may_be_strided(tools, target):
    x, out = numbers((40, 30), "float64"), np.zeros(90)
    for axes, n in (((0,), 30), ((1,), 40)):
        plan = reductions.plan(x.shape, (30, 1), axes, (2,))
        ir = reductions.generate(reductions.variant(Fold("sum", "float64", "float64"), plan), target)
        tools.call(ir, [x, out], plan.parameters())
        tools.same_bits(out[: 2 * n : 2], canonical_sum(x, axes))
        assert not out[1::2].any()
