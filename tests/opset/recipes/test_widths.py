"""Recipes for inputs of at most 32 bits use nothing wider, so that devices without float64 and int64 can run them."""

import inspect
from collections.abc import Iterator

import pytest

from opmux.opset.recipes import registry
from opmux.opset.recipes.program import NUMPY_TYPES, WIDTH, Program
from opmux.opset.recipes.registry import ops_with_recipes, program
from opmux.opset.recipes.writing import build, convert

NARROW = [dtype for dtype in NUMPY_TYPES if WIDTH[dtype] <= 32]
WIDE = [dtype for dtype in NUMPY_TYPES if WIDTH[dtype] > 32]
#: The ops that name a target; what converts to a dtype of 64 bits has to contain it.
CONVERSIONS = ("cast", "bitcast")
ELEMENTWISE = [op for op in ops_with_recipes() if op not in CONVERSIONS]


def wide_types(run: Program) -> set[str]:
    """The dtypes of more than 32 bits that a program mentions."""
    return {t for t in (*run.inputs, *(i.type for i in run.instructions)) if WIDTH[t] > 32}


def arity(op: str) -> int:
    body = next(body for (name, _), body in registry._BODIES.items() if name == op)
    return len(inspect.signature(body).parameters)


def programs(op: str) -> Iterator[Program]:
    """An op's programs on each narrow dtype that it serves."""
    for dtype in NARROW:
        inputs = ("bool", dtype, dtype) if op == "where" else (dtype,) * arity(op)
        found = program(op, inputs)
        if found is not None:
            yield found


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_narrow_inputs_need_nothing_wide(op: str) -> None:
    found = list(programs(op))
    assert found
    assert {str(p.inputs): wide_types(p) for p in found if wide_types(p)} == {}


@pytest.mark.parametrize("source", NARROW)
def test_conversions_contain_a_wide_dtype_only_as_their_target(source: str) -> None:
    for to in NUMPY_TYPES:
        run = program("cast", (source,), to)
        assert run is not None
        assert wide_types(run) <= {to}, (source, to)


@pytest.mark.parametrize("wide", WIDE)
def test_a_wide_detour_is_seen(wide: str) -> None:
    assert wide_types(build("detour", ("int32",), lambda x: convert(convert(x, wide), "int32"))) == {wide}
