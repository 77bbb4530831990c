"""Python's operators on arrays."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.arrays import operator_types
from opmux.opset.operators import special_methods

ARITHMETIC = [
    operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.pow, operator.and_,
    operator.or_, operator.xor, operator.lshift, operator.rshift, operator.eq, operator.ne, operator.lt, operator.le,
    operator.gt, operator.ge,
]  # fmt: skip
IN_PLACE = [operator.iadd, operator.isub, operator.imul, operator.ifloordiv, operator.imod, operator.ilshift]
Operation = Callable[[Any, Any], Any]


@pytest.mark.parametrize("operation", ARITHMETIC, ids=lambda f: f.__name__)
def test_operator_with_array_scalar_and_reflected(operation: Operation) -> None:
    a, b = np.array([7, 9, 12]), np.array([3, 2, 5])
    x, y = ox.asarray(a), ox.asarray(b)
    assert operation(x, y).tolist() == operation(a, b).tolist()
    assert operation(x, 3).tolist() == operation(a, 3).tolist()
    assert operation(20, y).tolist() == operation(20, b).tolist()


def test_true_division_and_matrix_product() -> None:
    x = ox.asarray([1.0, 3.0])
    assert (x / 2).tolist() == [0.5, 1.5]
    assert (3 / x).tolist() == [3.0, 1.0]
    assert (x @ x).tolist() == 10.0


def test_unary_operators() -> None:
    x = ox.asarray([1, -2])
    assert ((-x).tolist(), (+x).tolist(), abs(x).tolist(), (~x).tolist()) == ([-1, 2], [1, -2], [1, 2], [-2, 1])


@pytest.mark.parametrize("operation", IN_PLACE, ids=lambda f: f.__name__)
def test_in_place_gives_this_handle_a_new_value_and_no_other(operation: Operation) -> None:
    x = ox.asarray([7, 9])
    same, other = x, x[:]
    result = operation(x, 2)
    assert result is same
    assert x.tolist() == operation(np.array([7, 9]), 2).tolist()
    assert other.tolist() == [7, 9]


def test_in_place_keeps_dtype_and_shape() -> None:
    x = ox.asarray([1.0, 2.0], dtype=ox.float32)
    with pytest.raises(ox.DTypeError, match="keeps the dtype of x, float32"):
        x += ox.asarray([1.0, 2.0], dtype=ox.float64)
    with pytest.raises(ox.ShapeError, match="keeps the shape of x"):
        x *= ox.ones((3, 2), dtype=ox.float32)
    assert x.tolist() == [1.0, 2.0]


def test_foreign_types_may_bring_their_own_reflected_operator() -> None:
    class Foreign:
        def __radd__(self, other: object) -> str:
            return "theirs"

    assert ox.asarray([1]) + Foreign() == "theirs"
    with pytest.raises(TypeError, match="unsupported operand"):
        ox.asarray([1]) - "a"
    assert (ox.asarray([1]) == "a") is False


@pytest.mark.parametrize("left", [np.ones(2), np.float32(1)], ids=["array", "scalar"])
def test_numpy_values_are_refused_with_a_remedy(left: Any) -> None:
    x = ox.asarray([1.0, 2.0])
    with pytest.raises(TypeError, match="asarray"):
        left + x
    with pytest.raises(TypeError, match="asarray"):
        x + left


def test_scalars_are_weak_and_of_the_arrays_kind() -> None:
    assert (ox.asarray([1.0], dtype=ox.float16) + 1).dtype is ox.float16
    with pytest.raises(ox.DTypeError, match=r"float 0\.5"):
        ox.asarray([1]) + 0.5
    with pytest.raises(ox.DTypeError):
        ox.asarray([True]) + 1


def test_integer_to_a_negative_power() -> None:
    assert (ox.asarray([1, -1, 2, 0]) ** -1).tolist() == [1, -1, 0, 0]
    assert (2 ** ox.asarray([3, 0])).tolist() == [8, 1]


def test_type_checkers_see_the_operators_that_there_are() -> None:
    # In-place forms are left to the others: `x += y` means `x = x + y` to a type checker.
    tree = ast.parse(Path(operator_types.__file__).read_text(encoding="utf-8"))
    declared = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert declared == {name for name in special_methods() if not name.startswith("__i") or name == "__invert__"}
