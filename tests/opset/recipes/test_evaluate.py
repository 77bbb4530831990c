"""The interpreter's base instructions against Python's own integers and exact fractions."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import FLOATS, INTEGERS, NUMPY_TYPES, SIGNED, WIDTH, Code, Program
from opmux.opset.recipes.writing import Builder, Value, build, convert, idiv, irem, lookup, mulhi, rint, select


def edges(dtype: str) -> list[int]:
    info = np.iinfo(NUMPY_TYPES[dtype])
    middle = [-2, -1, 0, 1, 2, 3, 7, 100, 1 << WIDTH[dtype] // 2, (1 << WIDTH[dtype] // 2) - 1]
    return [v for v in (info.min, info.min + 1, *middle, info.max - 1, info.max) if info.min <= v <= info.max]


def pairs(dtype: str) -> tuple[list[tuple[int, int]], np.ndarray, np.ndarray]:
    both = [(a, b) for a in edges(dtype) for b in edges(dtype)]
    kind = NUMPY_TYPES[dtype]
    return both, np.array([a for a, _ in both], kind), np.array([b for _, b in both], kind)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_high_half_of_products(dtype: str) -> None:
    both, a, b = pairs(dtype)
    got = evaluate(build("mulhi", (dtype, dtype), mulhi), a, b)
    assert got.tolist() == [x * y >> WIDTH[dtype] for x, y in both]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_low_half_of_products_wraps(dtype: str) -> None:
    both, a, b = pairs(dtype)
    got = evaluate(build("mul", (dtype, dtype), lambda x, y: x * y), a, b)
    low = [x * y % (1 << WIDTH[dtype]) for x, y in both]
    half = 1 << WIDTH[dtype] - 1
    assert got.tolist() == [v - 2 * half if dtype in SIGNED and v >= half else v for v in low]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_division_goes_toward_zero(dtype: str) -> None:
    both, a, b = pairs(dtype)
    low = int(np.iinfo(NUMPY_TYPES[dtype]).min)
    allowed = np.array([y != 0 and not (x == low and y == -1) for x, y in both])
    a, b = a[allowed], b[allowed]
    want = [int(Fraction(int(x), int(y))) for x, y in zip(a, b, strict=True)]  # int() truncates
    assert evaluate(build("idiv", (dtype, dtype), idiv), a, b).tolist() == want
    rest = [int(x) - q * int(y) for q, x, y in zip(want, a, b, strict=True)]
    assert evaluate(build("irem", (dtype, dtype), irem), a, b).tolist() == rest


@pytest.mark.parametrize("to", INTEGERS)
@pytest.mark.parametrize("source", FLOATS)
def test_floats_saturate_on_the_way_to_integers(source: str, to: str) -> None:
    values = [0.0, -0.0, 0.9, -0.9, 1.5, -1.5, 127.5, 128.0, 255.9, 256.0, -129.0, 3e4, 2.0**31, 2.0**63, 2.0**64]
    values += [-(2.0**31), -(2.0**63), 1e30, -1e30, float("inf"), float("-inf"), float("nan")]
    with np.errstate(over="ignore"):
        x = np.array(values).astype(NUMPY_TYPES[source])
    info = np.iinfo(NUMPY_TYPES[to])
    want = [0 if v != v else int(min(max(v, info.min), info.max)) for v in x.astype(np.float64).tolist()]
    assert evaluate(build("c", (source,), lambda v: convert(v, to)), x).tolist() == want


def test_integers_round_once_on_the_way_to_bfloat16() -> None:
    # Each is a tie of bfloat16 plus 1: rounding to float32 first would make it a tie again.
    values = [(0x101 << 30) + 1, (0x101 << 50) + 1, -((0x101 << 30) + 1)]
    got = evaluate(build("c", ("int64",), lambda v: convert(v, "bfloat16")), np.array(values))
    assert got.astype(np.float64).tolist() == [0x102 * 2.0**30, 0x102 * 2.0**50, -0x102 * 2.0**30]


def test_float64_rounds_once_on_the_way_to_bfloat16() -> None:
    tie = 1 + 2.0**-8
    x = np.array([tie, tie + 2.0**-40, tie - 2.0**-40, 2.0**-134, 2.0**-134 + 2.0**-180])
    got = evaluate(build("c", ("float64",), lambda v: convert(v, "bfloat16")), x)
    assert got.astype(np.float64).tolist() == [1.0, 1 + 2.0**-7, 1.0, 0.0, 2.0**-133]


def test_rint_takes_ties_to_even_and_keeps_the_sign_of_zero() -> None:
    got = evaluate(build("r", ("float32",), rint), np.float32([0.5, 1.5, -0.5, -0.0, 2.5]))
    assert got.tolist() == [0.0, 2.0, 0.0, 0.0, 2.0]
    assert np.signbit(got).tolist() == [False, False, True, True, False]


def test_lookup_reads_the_table() -> None:
    squares = build("t", ("int32",), lambda i: lookup((0.0, 1.0, 4.0), i, "bfloat16"))
    got = evaluate(squares, np.int32([2, 0, 1]))
    assert got.dtype == ml_dtypes.bfloat16
    assert got.astype(float).tolist() == [4.0, 0.0, 1.0]


def test_operands_broadcast_and_a_constant_result_is_filled_in() -> None:
    add = build("add", ("int8", "int8"), lambda a, b: a + b)
    assert evaluate(add, np.zeros((2, 1), np.int8), np.int8([100, 127])).tolist() == [[100, 127]] * 2
    one = build("one", ("float32",), lambda x: x.const(1.0))
    assert evaluate(one, np.zeros((2, 2), np.float32)).tolist() == [[1.0, 1.0]] * 2


def test_scalars_wrap_without_a_warning() -> None:
    increment = build("inc", ("int8",), lambda a: a + 1)
    assert evaluate(increment, np.array(127, np.int8)).tolist() == -128


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"double takes \(float32\); given \(float64\)"):
        evaluate(build("double", ("float32",), lambda x: x + x), np.zeros(3))


def test_an_input_may_be_the_result_and_be_used_before() -> None:
    builder = Builder(("float32",))
    x = Value(builder, 0, "float32")
    program: Program = builder.freeze("same", select(x < 0, x, x))
    assert program.instructions[-1].code is Code.SELECT
    assert evaluate(program, np.float32([-1, 2])).tolist() == [-1.0, 2.0]


def test_arrays_larger_than_a_block_in_any_layout() -> None:
    subtract = build("subtract", ("float64", "float64"), lambda a, b: a - b)
    a = np.arange(40_000.0).reshape(200, 200).T[::-1]
    b = np.arange(200.0)
    assert (evaluate(subtract, a, b) == a - b).all()
    assert evaluate(subtract, a[:0], b).shape == (0, 200)
