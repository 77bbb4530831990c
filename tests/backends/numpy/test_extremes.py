"""Maximum and minimum where NumPy leaves the sign of a zero open."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox


@pytest.mark.parametrize("into", ["x", "y"])
@pytest.mark.parametrize("zeros", [(0.0, -0.0), (-0.0, 0.0)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_zeros_are_ordered_where_the_result_takes_an_operands_place(
    op: str, dtype: str, zeros: tuple[float, float], into: str
) -> None:
    given = {name: ox.full((9,), value, dtype=getattr(ox, dtype)) for name, value in zip("xy", zeros, strict=True)}
    with ox.policy(pins={op: "numpy"}):
        found = getattr(ox, op)(given["x"], given["y"], out=given[into])
    assert (np.signbit(found.numpy().astype(np.float64)) == (op == "minimum")).all()


@pytest.mark.parametrize(("reduction", "negative"), [("max", False), ("min", True)])
def test_scatter_orders_zeros(reduction: str, negative: bool) -> None:
    updates = ox.asarray([-0.0, 0.0, -0.0, 0.0])
    with ox.policy(pins={"scatter": "numpy"}):
        found = ox.scatter(ox.asarray([0.0, -0.0]), ox.asarray([0, 0, 1, 1]), updates, reduction=reduction)
    assert (np.signbit(found.numpy()) == negative).all()
