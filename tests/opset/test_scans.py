from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opmux as ox


@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 13])
@pytest.mark.parametrize("axis", [0, 1])
def test_decomposed_scans_of_integers_are_exact(n: int, axis: int, decomposed: Any) -> None:
    values = np.arange(1, 3 * n + 1).reshape((n, 3) if axis == 0 else (3, n))
    np.testing.assert_array_equal(decomposed("cumulative_sum", values, axis=axis), values.cumsum(axis))
    np.testing.assert_array_equal(decomposed("cumulative_prod", values, axis=axis), values.cumprod(axis))


def test_decomposed_scan_of_floats_is_within_its_bound(decomposed: Any) -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float16)
    wanted = values.astype(np.float64).cumsum()
    magnitude = np.abs(values.astype(np.float64)).cumsum()
    bound = 1000 * np.finfo(np.float32).eps * magnitude + np.spacing(np.abs(wanted).astype(np.float16)).astype(float)
    assert (np.abs(decomposed("cumulative_sum", values, axis=0) - wanted) <= bound).all()


def test_scan_of_a_single_element_is_a_new_value() -> None:
    x = ox.asarray([1.0])
    y = ox.cumulative_sum(x)
    y[0] = 5.0
    assert x.tolist() == [1.0]


def test_initial_value_makes_the_axis_longer() -> None:
    x = ox.asarray([[1, 2], [3, 4]])
    assert ox.cumulative_sum(x, axis=0, include_initial=True).tolist() == [[0, 0], [1, 2], [4, 6]]
    assert ox.cumulative_prod(x, axis=-1, include_initial=True).tolist() == [[1, 1, 2], [1, 3, 12]]


def test_scan_special_values() -> None:
    x = ox.asarray([1.0, float("inf"), -float("inf"), 1.0])
    np.testing.assert_array_equal(ox.cumulative_sum(x).numpy(), [1.0, np.inf, np.nan, np.nan])


def test_scan_needs_an_axis_beyond_one_dimension() -> None:
    with pytest.raises(ox.ShapeError, match="axis="):
        ox.cumulative_sum(ox.zeros((2, 2)))
    with pytest.raises(ox.AxisError, match="out of range"):
        ox.cumulative_sum(ox.zeros((2, 2)), axis=2)


def test_a_scan_is_not_canonical_through_its_decomposition() -> None:
    with ox.policy(backends="no such backend", determinism="canonical"), pytest.raises(ox.UnsupportedError) as failure:
        ox.cumulative_sum(ox.asarray([1.0, 2.0]))
    assert "another order" in failure.value.reasons["decomposition"].detail
