"""Merging and ordering of dimensions."""

import numpy as np
import pytest

from opmux.core.nests import Nest, Walk, collapse, merge


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        ((), ((), ()), Nest((1,), ((1,), (1,)))),
        ((1, 1), ((5, 5), (1, 1)), Nest((1,), ((1,), (1,)))),
        ((2, 3, 4), ((12, 4, 1), (12, 4, 1)), Nest((24,), ((1,), (1,)))),
        ((2, 3, 4), ((0, 0, 0), (12, 4, 1)), Nest((24,), ((0,), (1,)))),
        ((2, 3), ((0, 1), (3, 1)), Nest((2, 3), ((0, 1), (3, 1)))),
        ((2, 3), ((1, 2), (3, 1)), Nest((2, 3), ((1, 2), (3, 1)))),
        ((3, 2), ((2, 1), (1, 3)), Nest((2, 3), ((1, 2), (3, 1)))),
        ((0, 3), ((3, 1), (3, 1)), Nest((0,), ((1,), (1,)))),
    ],
)
def test_collapse(shape, strides, expected):
    assert collapse(shape, strides) == expected


def test_layouts_are_those_of_the_innermost_dimension():
    assert Nest((2, 3), ((3, 1), (1, 0), (1, -1))).walks() == (Walk.CONTIGUOUS, Walk.SCALAR, Walk.STRIDED)


def test_merge_keeps_the_logical_order():
    # A transposed array must not be reordered here: a reduction's order is the logical one.
    assert merge((3, 2), ((1, 3),)) == Nest((3, 2), ((1, 3),))


def test_collapse_visits_the_same_elements():
    base = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)[:, ::-1, ::2].transpose(2, 0, 3, 1)
    strides = tuple(s // base.itemsize for s in base.strides)
    nest = collapse(base.shape, (strides, strides))
    offsets = sum(np.ix_(*(np.arange(n) * s for n, s in zip(nest.shape, nest.strides[0], strict=True))))
    start = np.lib.array_utils.byte_bounds(base)
    origin = (base.__array_interface__["data"][0] - base.base.__array_interface__["data"][0]) // base.itemsize
    assert sorted((offsets + origin).ravel()) == sorted(base.ravel())
    assert start[0] >= base.base.__array_interface__["data"][0]
