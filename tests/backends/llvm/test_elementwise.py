"""Loop nests: sizes around vector edges, broadcasting, strides, aliasing, ranges, every recipe."""

import numpy as np
import pytest

from opmux.backends.llvm.elementwise_kernels import bound_nest
from opmux.backends.llvm.target import host_target
from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import NUMPY_TYPES
from opmux.opset.recipes.writing import build, fma
from opmux.plugin import Walk, collapse

ADD = build("add", ("float32", "float32"), lambda a, b: a + b)
# Long enough not to be unrolled.
LONG = build("long", ("float32", "float32"), lambda a, b: fma(fma(fma(a, b, 1), b, 2), a * b + 1, 3) / (b * b + 1) - a)


def numbers(*shape, dtype=np.float32):
    return np.random.default_rng(7).uniform(-100, 100, shape).astype(dtype)


@pytest.mark.parametrize("body", [ADD, LONG], ids=["short", "long"])
def test_sizes_around_vector_edges(tools, target, body):
    a, b = numbers(2, 300)
    guard = np.float32(-7)
    for n in [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257]:
        out = np.full(n + 64, guard)
        tools.run_program(body, a[:n], b[:n], out=out[:n], target=target)
        tools.same_bits(out[:n], evaluate(body, a[:n], b[:n]))
        assert (out[n:] == guard).all()


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2, ::3],
        lambda a: a[::-1, ::-1],
        lambda a: a.T,
        lambda a: a[:, ::-1],
        lambda a: a[3:4, :],
        lambda a: a[:, 5:6],
        lambda a: a[0, 0],
        lambda a: a[:0],
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: a.reshape(2, 3, 5, 4, 150)[:, ::2, :, 1:3].transpose(3, 0, 4, 2, 1),
    ],
    ids=["steps", "flipped", "transposed", "reversed rows", "row", "column", "0-d", "empty", "stride 0", "5-d"],
)
def test_strides(tools, target, view):
    a, b = (np.asarray(view(x)) for x in numbers(2, 60, 300))
    tools.same_bits(tools.run_program(ADD, a, b, target=target), evaluate(ADD, a, b))


@pytest.mark.parametrize(
    ("left", "right"),
    [((40, 70), (70,)), ((40, 1), (1, 70)), ((), (40, 70)), ((3, 1, 9), (4, 1)), ((1, 1), (1,))],
)
def test_broadcasting(tools, target, left, right):
    a, b = numbers(*left), numbers(*right)
    tools.same_bits(tools.run_program(LONG, a, b, target=target), evaluate(LONG, a, b))


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[::3], lambda a: a[::-1]], ids=["plain", "steps", "flipped"])
def test_output_may_be_an_input(tools, target, view):
    a, b = numbers(1000), view(numbers(1000))
    a = view(a)
    expected = evaluate(LONG, a, b)
    tools.run_program(LONG, a, b, out=a, target=target)
    tools.same_bits(a, expected)


def test_strided_output_leaves_the_rest_alone(tools, target):
    a, b, out = numbers(700), numbers(700), np.full(2100, np.float32(5))
    tools.run_program(ADD, a, b, out=out[1::3], target=target)
    tools.same_bits(out[1::3], a + b)
    assert (out[0::3] == 5).all()
    assert (out[2::3] == 5).all()


def test_transposed_output_costs_no_strided_variant():
    a = numbers(30, 40).T
    strides = tuple(s // 4 for s in a.strides)
    assert collapse(a.shape, (strides, strides)).walks() == (Walk.CONTIGUOUS, Walk.CONTIGUOUS)


@pytest.mark.parametrize("rank", [1, 2])
def test_ranges_of_the_outermost_dimension(tools, rank):
    shape = (50,) if rank == 1 else (50, 9)
    a = numbers(*shape, 2)[..., 0]
    out = np.zeros(shape, np.float32)
    nest = collapse(shape, [tuple(s // 4 for s in x.strides) for x in (a, a, out)])
    tools.launch(bound_nest(ADD, nest, host_target(), 7, 20), a, a, out)
    rows = out.reshape(nest.shape[0], -1)
    assert (rows[7:20] == (a + a).reshape(rows.shape)[7:20]).all()
    assert not rows[:7].any()
    assert not rows[20:].any()


def test_constant_result(tools, target):
    seven = build("seven", ("int8",), lambda a: a.const(7, "float32"))
    assert tools.run_program(seven, np.zeros(5, np.int8), target=target).tolist() == [7.0] * 5


@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "bfloat16", "int64", "float64"])
def test_copies_of_every_width(tools, target, dtype):
    same = build("copy", (dtype,), lambda a: a)
    x = (numbers(9, 120) > 0) if dtype == "bool" else numbers(9, 120).astype(NUMPY_TYPES[dtype])
    for view in (x, x[:, ::7], x.T):
        tools.same_bits(tools.run_program(same, view, target=target), np.ascontiguousarray(view))


def test_nothing_is_contracted(tools):
    eps = np.float32(2.0**-12)
    program = build("a*b-c", ("float32",) * 3, lambda a, b, c: a * b - c)
    a, c = np.full(64, 1 + eps), np.full(64, 1 + 2 * eps)
    assert (tools.run_program(program, a, a, c) == 0).all()


@pytest.mark.parametrize("shape", [(3, 700), (40, 257), (2, 5, 513)])
def test_transposed_operands_longer_than_a_strip(tools, target, shape):
    x, y = (np.random.default_rng(seed).standard_normal(shape[::-1]).astype(np.float32).T for seed in (1, 2))
    for operands in ((x, np.ascontiguousarray(y)), (x, y[..., :1])):
        found = tools.run_program(ADD, *operands, out=np.empty(shape, np.float32), target=target)
        np.testing.assert_array_equal(found, operands[0] + operands[1])


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 40])
@pytest.mark.parametrize("program", [ADD, LONG], ids=["short program", "long program"])
def test_short_and_long_rows_of_strided_operands(tools, target, program, length):
    x, y = numbers(6, 5, 3 * length)[:, ::-1, ::3], numbers(6, 5, length)
    out = np.empty((6, 5, 2 * length), np.float32)[..., ::2]
    tools.same_bits(tools.run_program(program, x, y, out=out, target=target), evaluate(program, x, y))
