"""Bits of integers, and logic on booleans."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import INTEGERS, bool_
from . import rules
from .accuracy import EXACT
from .declare import composite, elementwise

BITS = (bool_, *INTEGERS)


@elementwise(
    BITS,
    accuracy=EXACT,
    facts=("commutative", "associative", "idempotent"),
    specials=("bitwise_and(True, False) -> False", "bitwise_and(12, 10) -> 8", "bitwise_and(-1, 5) -> 5"),
    core=True,
)
def bitwise_and(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the bits that both operands have.

    >>> import opmux as ox
    >>> ox.bitwise_and(ox.asarray([12, 7]), 10).tolist()
    [8, 2]
    """
    return np.bitwise_and(x1, x2)


@elementwise(
    BITS,
    accuracy=EXACT,
    facts=("commutative", "associative", "idempotent", "identity:0"),
    specials=("bitwise_or(True, False) -> True", "bitwise_or(12, 10) -> 14", "bitwise_or(-2, 1) -> -1"),
    core=True,
)
def bitwise_or(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the bits that at least one operand has.

    >>> import opmux as ox
    >>> ox.bitwise_or(ox.asarray([12, 7]), 8).tolist()
    [12, 15]
    """
    return np.bitwise_or(x1, x2)


@elementwise(
    BITS,
    accuracy=EXACT,
    facts=("commutative", "associative", "identity:0"),
    specials=("bitwise_xor(True, True) -> False", "bitwise_xor(12, 10) -> 6", "bitwise_xor(-1, 0) -> -1"),
    core=True,
)
def bitwise_xor(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the bits that exactly one operand has.

    >>> import opmux as ox
    >>> ox.bitwise_xor(ox.asarray([12, 7]), 10).tolist()
    [6, 13]
    """
    return np.bitwise_xor(x1, x2)


@elementwise(
    BITS,
    accuracy=EXACT,
    specials=("bitwise_invert(True) -> False", "bitwise_invert(0) -> -1", "bitwise_invert(-8) -> 7"),
)
def bitwise_invert(np: Any, x: Array, /) -> Array:
    """Return the operand with every bit flipped; of a bool, its negation.

    >>> import opmux as ox
    >>> ox.bitwise_invert(ox.asarray([0, 5])).tolist()
    [-1, -6]
    """
    return np.bitwise_invert(x)


@elementwise(
    INTEGERS,
    accuracy=EXACT,
    facts=("identity:0",),
    specials=("bitwise_left_shift(3, 2) -> 12", "bitwise_left_shift(1, 64) -> 0", "bitwise_left_shift(1, -1) -> 0"),
    core=True,
)
def bitwise_left_shift(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return ``x1`` with its bits moved ``x2`` places up, zeros moving in.

    A shift by the width or more, or by a negative number, moves every bit out and gives 0.

    >>> import opmux as ox
    >>> ox.bitwise_left_shift(ox.asarray([1, 3]), 2).tolist()
    [4, 12]
    """
    return np.left_shift(x1, x2)


@elementwise(
    INTEGERS,
    accuracy=EXACT,
    facts=("identity:0",),
    specials=(
        "bitwise_right_shift(12, 2) -> 3", "bitwise_right_shift(-5, 1) -> -3", "bitwise_right_shift(-1, 64) -> -1",
        "bitwise_right_shift(1, -1) -> 0",
    ),
    core=True,
)  # fmt: skip
def bitwise_right_shift(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return ``x1`` with its bits moved ``x2`` places down; copies of a signed integer's sign bit move in, else zeros.

    A shift by the width or more, or by a negative number, leaves nothing but what moves in: 0, or -1 of a negative one.

    >>> import opmux as ox
    >>> ox.bitwise_right_shift(ox.asarray([12, -12]), 2).tolist()
    [3, -3]
    """
    return np.right_shift(x1, x2)


@composite(
    infer=rules.elementwise((bool_,)),
    dtypes=(bool_,),
    accuracy=EXACT,
    facts=("elementwise", "commutative", "associative", "idempotent"),
    specials=("logical_and(True, False) -> False", "logical_and(True, True) -> True"),
)
def logical_and(ox: Any, x1: Array, x2: Array, /) -> Array:
    """Return whether both hold; booleans only, as in the Array API standard.

    >>> import opmux as ox
    >>> ox.logical_and(ox.asarray([True, False]), True).tolist()
    [True, False]
    """
    return ox.bitwise_and(x1, x2)


@composite(
    infer=rules.elementwise((bool_,)),
    dtypes=(bool_,),
    accuracy=EXACT,
    facts=("elementwise", "commutative", "associative", "idempotent"),
    specials=("logical_or(True, False) -> True", "logical_or(False, False) -> False"),
)
def logical_or(ox: Any, x1: Array, x2: Array, /) -> Array:
    """Return whether at least one holds; booleans only.

    >>> import opmux as ox
    >>> ox.logical_or(ox.asarray([True, False]), False).tolist()
    [True, False]
    """
    return ox.bitwise_or(x1, x2)


@composite(
    infer=rules.elementwise((bool_,)),
    dtypes=(bool_,),
    accuracy=EXACT,
    facts=("elementwise", "commutative", "associative"),
    specials=("logical_xor(True, True) -> False", "logical_xor(True, False) -> True"),
)
def logical_xor(ox: Any, x1: Array, x2: Array, /) -> Array:
    """Return whether exactly one holds; booleans only.

    >>> import opmux as ox
    >>> ox.logical_xor(ox.asarray([True, False]), True).tolist()
    [False, True]
    """
    return ox.bitwise_xor(x1, x2)


@composite(
    infer=rules.elementwise((bool_,)),
    dtypes=(bool_,),
    accuracy=EXACT,
    facts=("elementwise",),
    specials=("logical_not(True) -> False", "logical_not(False) -> True"),
)
def logical_not(ox: Any, x: Array, /) -> Array:
    """Return whether it does not hold; booleans only.

    >>> import opmux as ox
    >>> ox.logical_not(ox.asarray([True, False])).tolist()
    [False, True]
    """
    return ox.bitwise_invert(x)
