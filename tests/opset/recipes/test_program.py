"""Building programs: sharing, dead code, and mistakes that are named."""

import pytest

from opmux.opset.recipes.program import Code, RecipeError, pattern
from opmux.opset.recipes.writing import bitcast, build, convert, eq, fma, select


def test_equal_instructions_are_shared_and_unused_ones_dropped() -> None:
    def body(x):
        x * 3.0
        return (x + 1.0) * (x + 1.0)

    codes = [i.code for i in build("f", ("float32",), body).instructions]
    assert codes == [Code.CONST, Code.ADD, Code.MUL]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (lambda x: x + convert(x, "float64"), "convert one"),
        (lambda x: x & 1, "not defined on float32"),
        (lambda x: bitcast(x, "int64"), "width"),
        (lambda x: select(x, x, x), "not bool"),
        (lambda x: x if x < 0 else -x, "no branches"),
        (lambda x: fma(convert(x, "float16"), 1.0, 1.0), "float32 first"),
        (lambda x: convert(x, "int8") + 200, "does not fit int8"),
        (lambda x: eq(x, x).bits(2), "does not fit bool"),
    ],
)
def test_mistakes_are_named(body, word: str) -> None:
    with pytest.raises(RecipeError, match=word):
        build("f", ("float32",), body)


def test_values_of_two_recipes_do_not_mix() -> None:
    kept = []
    build("f", ("float32",), lambda x: kept.append(x) or x)
    with pytest.raises(RecipeError, match="another recipe"):
        build("g", ("float32",), lambda x: x + kept[0])


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(RecipeError, match="unknown dtype 'float8'"):
        build("f", ("float8",), lambda x: x)


@pytest.mark.parametrize(
    ("value", "dtype", "bits"),
    [
        (True, "bool", 1),
        (-1, "int16", 0xFFFF),
        (1.0, "bfloat16", 0x3F80),
        (1e9, "float16", 0x7C00),
        (-0.0, "float64", 1 << 63),
    ],
)
def test_constants_become_bit_patterns(value: float, dtype: str, bits: int) -> None:
    assert pattern(value, dtype) == bits
