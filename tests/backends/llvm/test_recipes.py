"""Every registered recipe, compiled, against the reference interpreter: the same bits on hard and on random values."""

import functools

import numpy as np
import pytest

from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import FLOATS, INTEGERS, NUMPY_TYPES
from opmux.opset.recipes.registry import ops_with_recipes, program

ALL = ("bool", *INTEGERS, *FLOATS)


@functools.cache
def programs(op):
    """Dtype -> program, for every dtype that the op's recipes serve."""
    if op in ("cast", "bitcast"):
        return {}
    found = {}
    for dtype in ALL:
        inputs = ("bool", dtype, dtype) if op == "where" else (dtype,)
        while dtype not in found and len(inputs) <= 3:
            try:
                found[dtype] = program(op, inputs)
            except TypeError as error:
                if "argument" not in str(error):
                    raise
            inputs = (*inputs, dtype)
    return {dtype: p for dtype, p in found.items() if p is not None}


CASES = [(op, dtype) for op in ops_with_recipes() for dtype in programs(op)]


def operands(tools, recipe):
    """Hard values in all combinations, then random ones of every size."""
    rng = np.random.default_rng(3)
    columns = []
    for name, hard in zip(recipe.inputs, tools.hard_tuples(*recipe.inputs), strict=True):
        dtype = NUMPY_TYPES[name]
        if name == "bool":
            wild = rng.random(500) < 0.5
        else:
            wild = rng.integers(0, 256, (500, dtype.itemsize), np.uint8).view(dtype)[:, 0]
        tame = rng.uniform(-100, 100, 500) if name in FLOATS else rng.integers(0, 100, 500)
        columns.append(np.concatenate([hard, wild, tame.astype(dtype)]))
    return columns


@pytest.mark.parametrize(("op", "dtype"), CASES)
def test_recipe(tools, op, dtype):
    recipe = programs(op)[dtype]
    arrays = operands(tools, recipe)
    tools.same_bits(tools.run_program(recipe, *arrays), evaluate(recipe, *arrays))


@pytest.mark.parametrize(("op", "dtype"), [(op, d) for op, d in CASES if d in ("float32", "float64")])
def test_recipe_with_narrow_vectors(tools, narrow, op, dtype):
    recipe = programs(op)[dtype]
    arrays = operands(tools, recipe)
    tools.same_bits(tools.run_program(recipe, *arrays, target=narrow), evaluate(recipe, *arrays))


def test_most_ops_have_recipes():
    assert {"add", "exp", "log", "sin", "tanh", "erf", "pow", "where"} <= {op for op, _ in CASES}
