"""Functions whose result's shape depends on values. They read a mask from the device, so they run eagerly only."""

from __future__ import annotations

import numpy as np

from ..core.arrays.array import Array
from ..core.arrays.metadata import given_array, reshape
from ..core.arrays.transfer import upload
from ..core.dtypes import bool_, int64, uint8
from ..core.errors import ShapeError
from .casting import cast
from .comparison import not_equal
from .decompositions import part
from .movement import gather, sort


def nonzero(x: Array, /) -> tuple[Array, ...]:
    """Return the indices of the elements that are not zero, one int64 array per axis, in row-major order.

    Raises:
        ShapeError: the array has no axes.
        ConcreteValueNeededError: inside a captured function.

    >>> import opmux as ox
    >>> ox.nonzero(ox.asarray([0, 3, 0, 4]))[0].tolist()
    [1, 3]
    """
    if not given_array(x, "nonzero").ndim:
        raise ShapeError("nonzero: an array without axes has no indices", op="nonzero", shape=x.shape)
    mask = cast(x, bool_).numpy()
    return tuple(upload(indices, x.device, int64) for indices in np.nonzero(mask))


def unique_values(x: Array, /) -> Array:
    """Return the distinct values in ascending order, in one axis.

    Values are distinct where ``!=`` says so: each NaN counts, and -0 and +0 are one value, shown by the first of them.

    Raises:
        DTypeError: the dtype has no order.
        ConcreteValueNeededError: inside a captured function.

    >>> import opmux as ox
    >>> ox.unique_values(ox.asarray([3, 1, 3, 2])).tolist()
    [1, 2, 3]
    """
    flat = reshape(given_array(x, "unique_values"), (x.size,))
    if x.size < 2:
        return flat
    ordered = sort(cast(flat, uint8) if x.dtype is bool_ else flat)
    n = x.size
    changes = not_equal(part(ordered, 0, 1, n), part(ordered, 0, 0, n - 1)).numpy()
    firsts = np.flatnonzero(np.concatenate([[True], changes])).astype(np.int64)
    found = gather(ordered, upload(firsts, x.device, int64))
    return cast(found, bool_) if x.dtype is bool_ else found
