"""Arithmetic, element by element."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import COMPLEXES, FLOATS, INTEGERS, NUMERIC, SIGNED_INTEGERS
from . import rules
from .accuracy import EXACT, ROUNDED, Ulp, ulp
from .declare import composite, elementwise

REAL = (*INTEGERS, *FLOATS)
SIGNED = (*SIGNED_INTEGERS, *FLOATS)

#: A complex product of rounded products is within sqrt(5) roundings of its modulus (Brent, Percival and Zimmermann,
#: "Error bounds on complex floating-point multiplication", 2007), a quotient by Smith's method within a few more.
PRODUCT = Ulp({**ROUNDED.bounds, "complex64": 3, "complex128": 3})
QUOTIENT = Ulp({**ROUNDED.bounds, "complex64": 8, "complex128": 8})


@elementwise(
    NUMERIC,
    facts=("commutative", "identity:0"),
    specials=("add(+inf, -inf) -> nan", "add(-0, -0) -> -0", "add(-0, +0) -> +0", "add(nan, 1) -> nan"),
    core=True,
)
def add(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the sum. Integers wrap modulo 2**bits.

    >>> import opmux as ox
    >>> ox.add(ox.asarray([1, 2]), ox.asarray([10, 20])).tolist()
    [11, 22]
    """
    return np.add(x1, x2)


@elementwise(
    NUMERIC,
    facts=("identity:0",),
    specials=("subtract(+inf, +inf) -> nan", "subtract(+0, +0) -> +0", "subtract(-0, +0) -> -0"),
    core=True,
)
def subtract(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return ``x1 - x2``. Integers wrap modulo 2**bits.

    >>> import opmux as ox
    >>> ox.subtract(ox.asarray([1, 2]), ox.asarray([10, 20])).tolist()
    [-9, -18]
    """
    return np.subtract(x1, x2)


@elementwise(
    NUMERIC,
    accuracy=PRODUCT,
    facts=("commutative", "identity:1"),
    specials=("multiply(+inf, 0) -> nan", "multiply(-1, +0) -> -0", "multiply(-0, -0) -> +0"),
    core=True,
)
def multiply(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the product. Integers wrap modulo 2**bits.

    >>> import opmux as ox
    >>> ox.multiply(ox.asarray([1.0, 2.0]), 3.0).tolist()
    [3.0, 6.0]
    """
    return np.multiply(x1, x2)


@elementwise(
    (*FLOATS, *COMPLEXES),
    accuracy=QUOTIENT,
    facts=("identity:1",),
    specials=("divide(1, +0) -> +inf", "divide(1, -0) -> -inf", "divide(0, 0) -> nan", "divide(+inf, +inf) -> nan"),
    core=True,
)
def divide(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return ``x1 / x2`` for floating dtypes; integers are not taken, use :func:`floor_divide`.

    >>> import opmux as ox
    >>> ox.divide(ox.asarray([1.0, 3.0]), 2.0).tolist()
    [0.5, 1.5]
    """
    return np.divide(x1, x2)


@elementwise(
    REAL,
    accuracy=ulp(0.5, 0.5, float64=1),
    specials=(
        "floor_divide(7, -2) -> -4", "floor_divide(-7, 2) -> -4", "floor_divide(nan, 1) -> nan",
        "floor_divide(1.5, +0) -> +inf", "floor_divide(-1, +inf) -> -1", "floor_divide(+inf, 1) -> +inf",
    ),
    flops=8,
    core=True,
)
def floor_divide(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the quotient rounded toward minus infinity.

    An integer divided by zero gives 0, and the smallest integer divided by -1 gives itself (it wraps). In float64 a
    quotient of 2**53 and more may be one unit in the last place off.

    >>> import opmux as ox
    >>> ox.floor_divide(ox.asarray([7, -7]), 2).tolist()
    [3, -4]
    """
    return np.floor_divide(x1, x2)


@elementwise(
    REAL,
    specials=("remainder(7, -2) -> -1", "remainder(-7, 2) -> 1", "remainder(1, 0) -> nan", "remainder(+inf, 1) -> nan"),
    flops=8,
)
def remainder(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the remainder of the floor division; it has the sign of the divisor.

    An integer's remainder by zero is 0.

    >>> import opmux as ox
    >>> ox.remainder(ox.asarray([7, -7]), 4).tolist()
    [3, 1]
    """
    return np.remainder(x1, x2)


@elementwise(
    REAL,
    accuracy=ulp(2),
    specials=(
        "pow(nan, 0) -> 1", "pow(1, nan) -> 1", "pow(+0, -1) -> +inf", "pow(-0, -1) -> -inf", "pow(-1, +inf) -> 1",
        "pow(-2, 0.5) -> nan", "pow(+inf, -1) -> +0", "pow(-inf, 3) -> -inf", "pow(0.5, +inf) -> +0",
    ),
    flops=60,
)  # fmt: skip
def pow(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return ``x1`` raised to ``x2``. Integers wrap; an integer to a negative power is 0 unless the base is 1 or -1.

    >>> import opmux as ox
    >>> ox.pow(ox.asarray([2.0, 3.0]), 2.0).tolist()
    [4.0, 9.0]
    """
    return np.power(x1, x2)


@elementwise((*SIGNED, *COMPLEXES), accuracy=EXACT, specials=("negative(+0) -> -0", "negative(+inf) -> -inf"))
def negative(np: Any, x: Array, /) -> Array:
    """Return the value with its sign flipped; the smallest integer gives itself.

    >>> import opmux as ox
    >>> ox.negative(ox.asarray([1, -2])).tolist()
    [-1, 2]
    """
    return np.negative(x)


@elementwise(REAL, accuracy=EXACT, specials=("abs(-0) -> +0", "abs(-inf) -> +inf"), facts=("idempotent",))
def abs(np: Any, x: Array, /) -> Array:
    """Return the magnitude; the smallest integer gives itself.

    >>> import opmux as ox
    >>> ox.abs(ox.asarray([1, -2])).tolist()
    [1, 2]
    """
    return np.abs(x)


@elementwise(
    REAL, accuracy=EXACT, specials=("sign(-0) -> -0", "sign(-inf) -> -1", "sign(nan) -> nan"), facts=("idempotent",)
)
def sign(np: Any, x: Array, /) -> Array:
    """Return -1, 0 or 1; a zero keeps its sign.

    >>> import opmux as ox
    >>> ox.sign(ox.asarray([-3.0, 0.0, 5.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return np.sign(x)


@elementwise(
    REAL,
    accuracy=EXACT,
    facts=("commutative", "associative", "idempotent"),
    specials=("maximum(nan, 1) -> nan", "maximum(-0, +0) -> +0", "maximum(1, -inf) -> 1"),
)
def maximum(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the larger operand; NaN wins, and -0 is below +0.

    >>> import opmux as ox
    >>> ox.maximum(ox.asarray([1, 5]), 3).tolist()
    [3, 5]
    """
    return np.maximum(x1, x2)


@elementwise(
    REAL,
    accuracy=EXACT,
    facts=("commutative", "associative", "idempotent"),
    specials=("minimum(nan, 1) -> nan", "minimum(-0, +0) -> -0", "minimum(1, +inf) -> 1"),
)
def minimum(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the smaller operand; NaN wins, and -0 is below +0.

    >>> import opmux as ox
    >>> ox.minimum(ox.asarray([1, 5]), 3).tolist()
    [1, 3]
    """
    return np.minimum(x1, x2)


@elementwise(FLOATS, specials=("fma(+inf, 0, 1) -> nan", "fma(1, -0, -0) -> -0"), flops=2, core=True)
def fma(np: Any, x1: Array, x2: Array, x3: Array, /) -> Array:
    """Return ``x1 * x2 + x3`` rounded once.

    >>> import opmux as ox
    >>> ox.fma(ox.asarray([2.0]), 3.0, 1.0).tolist()
    [7.0]
    """
    return np.fma(x1, x2, x3)


@elementwise(FLOATS, accuracy=EXACT, specials=("copysign(1, -0) -> -1", "copysign(+0, -1) -> -0"))
def copysign(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the magnitude of ``x1`` with the sign of ``x2``.

    >>> import opmux as ox
    >>> ox.copysign(ox.asarray([1.0, 2.0]), -1.0).tolist()
    [-1.0, -2.0]
    """
    return np.copysign(x1, x2)


@elementwise(FLOATS, accuracy=EXACT, specials=("nextafter(+0, +0) -> +0", "nextafter(1, nan) -> nan"))
def nextafter(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the number next to ``x1`` in the direction of ``x2``; ``x2`` itself where they are equal.

    >>> import opmux as ox
    >>> ox.nextafter(ox.asarray([1.0], dtype=ox.float64), 2.0).tolist()
    [1.0000000000000002]
    """
    return np.nextafter(x1, x2)


@composite(
    infer=rules.elementwise(NUMERIC),
    dtypes=NUMERIC,
    accuracy=PRODUCT,
    facts=("elementwise",),
    specials=("square(-inf) -> +inf", "square(-0) -> +0", "square(nan) -> nan"),
)
def square(ox: Any, x: Array, /) -> Array:
    """Return the value times itself. Integers wrap.

    >>> import opmux as ox
    >>> ox.square(ox.asarray([-3, 4])).tolist()
    [9, 16]
    """
    return ox.multiply(x, x)


@composite(
    infer=rules.elementwise((*FLOATS, *COMPLEXES)),
    dtypes=(*FLOATS, *COMPLEXES),
    accuracy=QUOTIENT,
    facts=("elementwise",),
    specials=("reciprocal(+0) -> +inf", "reciprocal(-0) -> -inf", "reciprocal(-inf) -> -0", "reciprocal(nan) -> nan"),
)
def reciprocal(ox: Any, x: Array, /) -> Array:
    """Return one over the value.

    >>> import opmux as ox
    >>> ox.reciprocal(ox.asarray([2.0, -4.0])).tolist()
    [0.5, -0.25]
    """
    return ox.divide(1, x)


@composite(
    infer=rules.elementwise(NUMERIC), dtypes=NUMERIC, accuracy=EXACT, facts=("elementwise", "idempotent"), flops=0
)
def positive(ox: Any, x: Array, /) -> Array:
    """Return the value itself.

    >>> import opmux as ox
    >>> ox.positive(ox.asarray([-3, 4])).tolist()
    [-3, 4]
    """
    return ox.copy(x)
