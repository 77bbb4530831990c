"""Shifts, casts and bits."""

import numpy as np
import pytest

from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import FLOATS, INTEGERS, NUMPY_TYPES, SIGNED, WIDTH, Code
from opmux.opset.recipes.registry import program


def run(op: str, inputs: tuple[str, ...], *columns, to: str | None = None) -> np.ndarray:
    recipe = program(op, inputs, to)
    assert recipe is not None
    return evaluate(recipe, *(np.asarray(c).astype(NUMPY_TYPES[t]) for c, t in zip(columns, inputs, strict=True)))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts_beyond_the_width(dtype: str) -> None:
    width = WIDTH[dtype]
    amounts = [0, 1, width - 1, width, width + 1, 127] + ([-1, -128] if dtype in SIGNED else [])
    x = -5 if dtype in SIGNED else 5
    left = run("bitwise_left_shift", (dtype, dtype), [x] * len(amounts), amounts).tolist()
    right = run("bitwise_right_shift", (dtype, dtype), [x] * len(amounts), amounts).tolist()
    inside = [0 <= n < width for n in amounts]
    patterns = [(x << n) % (1 << width) if ok else 0 for n, ok in zip(amounts, inside, strict=True)]
    assert [v % (1 << width) for v in left] == patterns
    assert right == [x >> n if ok else (-1 if x < 0 else 0) for n, ok in zip(amounts, inside, strict=True)]


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS])
def test_logic(dtype: str) -> None:
    a, b = ([0, 0, 1, 1], [0, 1, 0, 1]) if dtype == "bool" else ([12, 10, 0, 127], [10, 12, 1, 1])
    for op, python in {"and": int.__and__, "or": int.__or__, "xor": int.__xor__}.items():
        want = [python(x, y) for x, y in zip(a, b, strict=True)]
        assert run(f"bitwise_{op}", (dtype, dtype), a, b).tolist() == want
    inverted = run("bitwise_invert", (dtype,), a)
    assert inverted.tolist() == np.invert(np.asarray(a).astype(dtype)).tolist()


@pytest.mark.parametrize("to", FLOATS)
@pytest.mark.parametrize("source", INTEGERS)
def test_integers_round_once(source: str, to: str) -> None:
    rng = np.random.default_rng(1)
    info = np.iinfo(source)
    x = rng.integers(info.min, info.max, 2000, source, endpoint=True) >> rng.integers(0, WIDTH[source], 2000).astype(
        source
    )
    x = np.concatenate([x, np.array([info.min, info.max, 0, 1], source)])
    bits, top = {"float16": (11, 2**16), "bfloat16": (8, 2**128), "float32": (24, 2**128), "float64": (53, 2**1024)}[to]

    def rounded(v: int) -> float:
        drop = max(abs(v).bit_length() - bits, 0)
        quotient, rest = divmod(abs(v), 1 << drop)
        quotient += 2 * rest > 1 << drop or (2 * rest == 1 << drop and quotient & 1)
        size = quotient << drop
        return (float("inf") if size >= top else float(size)) * (-1 if v < 0 else 1)

    assert run("cast", (source,), x, to=to).astype(np.float64).tolist() == [rounded(v) for v in x.tolist()]


@pytest.mark.parametrize("to", ["float16", "bfloat16"])
def test_float64_to_narrow_floats_rounds_once(to: str) -> None:
    rng = np.random.default_rng(2)
    narrow = rng.integers(0, 1 << 16, 3000).astype(np.uint16).view(NUMPY_TYPES[to])
    narrow = narrow[np.isfinite(narrow.astype(np.float32))]
    up = (narrow.view(np.uint16) + np.uint16(1)).view(NUMPY_TYPES[to]).astype(np.float64)
    base = narrow.astype(np.float64)
    tie = base / 2 + up / 2
    hair = np.abs(tie) * 2.0**-50
    inside = np.isfinite(tie) & (tie != 0)
    base, up, tie, hair = base[inside], up[inside], tie[inside], hair[inside]
    away, toward = np.where(tie > 0, tie + hair, tie - hair), np.where(tie > 0, tie - hair, tie + hair)
    assert run("cast", ("float64",), away, to=to).astype(np.float64).tolist() == up.tolist()
    assert run("cast", ("float64",), toward, to=to).astype(np.float64).tolist() == base.tolist()
    even = np.where((narrow[inside].view(np.uint16) & 1) == 0, base, up)
    assert run("cast", ("float64",), tie, to=to).astype(np.float64).tolist() == even.tolist()


def test_casts_touch_narrow_floats_only_through_float32() -> None:
    types = ("bool", *INTEGERS, *FLOATS)
    narrow = {"float16", "bfloat16"}
    for source in types:
        for to in types:
            recipe = program("cast", (source,), to)
            assert recipe is not None
            assert recipe.result_type == to
            for i in recipe.instructions:
                if i.code is Code.CONVERT:
                    ends = {i.type, recipe.type_of(i.args[0])}
                    assert not ends & narrow or "float32" in ends, (source, to)


@pytest.mark.parametrize("source", [*INTEGERS, *FLOATS])
def test_to_bool_asks_for_not_zero(source: str) -> None:
    values = [0, 1, 2] + ([-0.0, float("nan"), 0.1] if source in FLOATS else [])
    assert run("cast", (source,), values, to="bool").tolist() == [v != 0 for v in values]


def test_bitcast_and_where() -> None:
    assert run("bitcast", ("float32",), [1.0, -0.0], to="uint32").tolist() == [0x3F800000, 1 << 31]
    got = run("where", ("bool", "bfloat16", "bfloat16"), [True, False], [1, 2], [3, 4])
    assert got.astype(float).tolist() == [1.0, 4.0]
