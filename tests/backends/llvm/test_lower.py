"""Every base instruction against the reference interpreter, bit for bit on hard values."""

from dataclasses import replace

import numpy as np
import pytest

from opmux.opset.recipes import writing as p
from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import ARITHMETIC_FLOATS, FLOATS, INTEGERS, NUMPY_TYPES, SIGNED, STORAGE_FLOATS, WIDTH
from opmux.opset.recipes.writing import build

FLOATING = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "fma": lambda a, b: p.fma(a, b, a),
    "sqrt": lambda a, b: p.sqrt(a),
    "rint": lambda a, b: p.rint(a * 0.25) + b.const(0.0),
}
INTEGRAL = {
    "iadd": lambda a, b: a + b,
    "isub": lambda a, b: a - b,
    "imul": lambda a, b: a * b,
    "imulhi": lambda a, b: p.mulhi(a, b),
    "shl": lambda a, b: a << (b & (WIDTH[a.type] - 1)),
    "shr": lambda a, b: a >> (b & (WIDTH[a.type] - 1)),
}
BITWISE = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b}
COMPARING = {
    "eq": lambda a, b: p.eq(a, b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "select": lambda a, b: p.select(a < b, a, b),
}


def _safe(a, b):
    """A divisor that is never 0, nor -1 under the minimum."""
    zero = p.eq(b, 0)
    if a.type in SIGNED:
        zero = zero | (p.eq(b, -1) & p.eq(a, -(1 << WIDTH[a.type] - 1)))
    return p.select(zero, b.const(1), b)


def check(tools, target, name, dtypes, body):
    program = build(name, dtypes, body)
    arrays = tools.hard_tuples(*dtypes)
    tools.same_bits(tools.run_program(program, *arrays, target=target), evaluate(program, *arrays))


@pytest.mark.parametrize("dtype", ARITHMETIC_FLOATS)
@pytest.mark.parametrize("name", FLOATING)
def test_floating(tools, target, name, dtype):
    check(tools, target, name, (dtype, dtype), FLOATING[name])


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", [*INTEGRAL, *BITWISE])
def test_integral(tools, target, name, dtype):
    check(tools, target, name, (dtype, dtype), {**INTEGRAL, **BITWISE}[name])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_division_and_remainder(tools, target, dtype):
    check(tools, target, "idiv", (dtype, dtype), lambda a, b: p.idiv(a, _safe(a, b)))
    check(tools, target, "irem", (dtype, dtype), lambda a, b: p.irem(a, _safe(a, b)))


@pytest.mark.parametrize("name", BITWISE)
def test_bool(tools, target, name):
    check(tools, target, name, ("bool", "bool"), BITWISE[name])


@pytest.mark.parametrize("dtype", [*ARITHMETIC_FLOATS, *INTEGERS, "bool"])
@pytest.mark.parametrize("name", COMPARING)
def test_comparison(tools, target, name, dtype):
    check(tools, target, name, (dtype, dtype), COMPARING[name])


@pytest.mark.parametrize("source", ["bool", *INTEGERS, *FLOATS])
def test_convert(tools, source):
    for to in ("bool", *INTEGERS, *FLOATS):
        check(tools, None, f"convert to {to}", (source,), lambda a, to=to: p.convert(a, to))


@pytest.mark.parametrize("source", ["int64", "uint64", *FLOATS])
def test_convert_with_narrow_vectors(tools, narrow, source):
    for to in ("bool", "int8", "uint32", "int64", "uint64", *FLOATS):
        check(tools, narrow, f"convert to {to}", (source,), lambda a, to=to: p.convert(a, to))


@pytest.mark.parametrize("dtype", STORAGE_FLOATS)
def test_narrow_floats_convert_for_every_pattern(tools, dtype):
    wide = build("widen", (dtype,), lambda a: p.convert(a, "float32"))
    narrow = build("narrow", ("float32",), lambda a: p.convert(a, dtype))
    every = np.arange(65536, dtype=np.uint16).view(NUMPY_TYPES[dtype])
    singles = tools.run_program(wide, every)
    tools.same_bits(singles, every.astype(np.float32))
    tools.same_bits(tools.run_program(narrow, singles), every)


def test_half_without_instructions_for_it(tools, target):
    plain = replace(target, features="")
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    wide = build("widen", ("float16",), lambda a: p.convert(a, "float32"))
    singles = tools.run_program(wide, every, target=plain)
    tools.same_bits(singles, every.astype(np.float32))
    # Each half's neighbours in float32 and the ties between halves.
    bits = singles.view(np.uint32)[:, None] + np.array([2**32 - 1, 0, 1, 4095, 4096, 4097], np.uint32)
    near = bits.ravel().view(np.float32)
    narrow = build("narrow", ("float32",), lambda a: p.convert(a, "float16"))
    with np.errstate(over="ignore"):
        tools.same_bits(tools.run_program(narrow, near, target=plain), near.astype(np.float16))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bitcast(tools, target, dtype):
    integer = f"uint{WIDTH[dtype]}"
    check(tools, target, "bitcast", (dtype,), lambda a: p.bitcast(a, integer) + 1)
    check(tools, target, "bitcast back", (integer,), lambda a: p.bitcast(a ^ 5, dtype))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "uint64", *FLOATS])
@pytest.mark.parametrize("index", ["uint8", "int32", "int64"])
def test_lookup(tools, target, index, dtype):
    table = tuple(i % 2 if dtype == "bool" else i * 3 for i in range(16))
    program = build("lookup", (index,), lambda i: p.lookup(table, i & 15, dtype))
    values = tools.hard_values(index)
    tools.same_bits(tools.run_program(program, values, target=target), evaluate(program, values))


@pytest.mark.parametrize("bits", [0x7FC00001, 0xFF800000, 0x00000001, 0x80000000, 0x3F800001])
def test_float32_constants_keep_their_pattern(tools, bits):
    program = build("constant", ("uint32",), lambda a: a ^ p.bitcast(a.bits(bits, "float32"), "uint32"))
    out = tools.run_program(program, np.zeros(3, np.uint32))
    assert out.tolist() == [bits] * 3


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_select_of_bitwise_results_keeps_its_operands_apart(tools, dtype):
    # Without the fence LLVM 22 computes this with another truth table on AVX-512.
    top = 1 << (WIDTH[dtype] - 1)
    check(tools, None, "copysign", (dtype, dtype), lambda a, b: p.select(a < b, (a & top) | (b & a & (top - 1)), a))
