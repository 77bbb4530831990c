"""Complex numbers and their parts, an optional profile: by these all else on complex dtypes decomposes to pairs."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import COMPLEXES, NUMERIC, DType, complex64, complex128, float32, float64
from . import rules
from .accuracy import EXACT
from .declare import elementwise, primitive


def real_part(t: DType) -> DType:
    """Return the dtype of a complex dtype's parts."""
    return float32 if t is complex64 else float64


def of_parts(t: DType) -> DType:
    """Return the complex dtype whose parts have a real dtype."""
    return complex64 if t is float32 else complex128


@primitive(
    infer=rules.elementwise(COMPLEXES, real_part), dtypes=COMPLEXES, accuracy=EXACT, facts=("elementwise",), flops=0
)
def real(np: Any, x: Array, /) -> Array:
    """Return the real part.

    >>> import opmux as ox
    >>> ox.real(ox.asarray([1 + 2j])).tolist()
    [1.0]
    """
    return np.real(x)


@primitive(
    infer=rules.elementwise(COMPLEXES, real_part), dtypes=COMPLEXES, accuracy=EXACT, facts=("elementwise",), flops=0
)
def imag(np: Any, x: Array, /) -> Array:
    """Return the imaginary part.

    >>> import opmux as ox
    >>> ox.imag(ox.asarray([1 + 2j])).tolist()
    [2.0]
    """
    return np.imag(x)


@primitive(
    infer=rules.elementwise((float32, float64), of_parts),
    dtypes=(float32, float64),
    accuracy=EXACT,
    facts=("elementwise",),
    flops=0,
)
def complex_(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the complex number with real part ``x1`` and imaginary part ``x2``, every bit of both kept.

    >>> import opmux as ox
    >>> ox.complex(ox.asarray([1.0]), 2.0).tolist()
    [(1+2j)]
    """
    pairs = np.stack(np.broadcast_arrays(x1, x2), axis=-1)
    # Not x1 + 1j * x2: an infinite imaginary part would make the real one NaN.
    return pairs.view(np.result_type(pairs.dtype, np.complex64))[..., 0]


def _conjugate(ox: Any, x: Array) -> Array:
    made: Array = ox.complex(ox.real(x), ox.negative(ox.imag(x))) if x.dtype in COMPLEXES else ox.copy(x)
    return made


@elementwise(NUMERIC, accuracy=EXACT, flops=0, decomposition=_conjugate)
def conj(np: Any, x: Array, /) -> Array:
    """Return the complex conjugate; a real number is its own.

    >>> import opmux as ox
    >>> ox.conj(ox.asarray([1 + 2j])).tolist()
    [(1-2j)]
    """
    return np.conj(x)
