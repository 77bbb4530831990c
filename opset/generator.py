"""Random numbers: a generator object over the counter-based primitive, with the same numbers on every backend."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from ..core.arrays import defaults
from ..core.arrays.array import Array
from ..core.arrays.metadata import reshape
from ..core.arrays.transfer import upload
from ..core.arrays.views import normalize_shape
from ..core.devices.device import Device, find_device
from ..core.dtypes import (
    FLOATS,
    INTEGERS,
    DType,
    bfloat16,
    element_limits,
    float16,
    float32,
    float64,
    int64,
    uint32,
    uint64,
)
from ..core.dtypes import dtype as find_dtype
from ..core.errors import ArgumentError, ArgumentTypeError, DTypeError, shown
from ..core.graphs.trace import refuse_in_capture
from .arithmetic import add, multiply, subtract
from .bitwise import bitwise_and, bitwise_right_shift
from .casting import cast
from .creation import random_bits
from .decompositions import part
from .exponential import log, sqrt
from .movement import argsort, concat
from .philox import block
from .trigonometric import cos, sin

Shape = int | tuple[int, ...]

_WORD: Final = 0xFFFFFFFF
_POSITIONS: Final = 1 << 64
#: The third counter word: 0 for numbers, 1 for the keys of generators that are split off.
_NUMBERS, _KEYS = 0, 1
#: Random bits of a uniform number, so that ``k * 2**-bits`` is exact and below one.
_PRECISION: Final[dict[DType, int]] = {float16: 11, bfloat16: 8, float32: 24}


class Generator:
    """A stream of random numbers that depends on its seed alone.

    The numbers are those of Philox4x32-10 (:func:`opmux.random_bits`): the key is the seed, the counter the position,
    and every method takes whole blocks of four words and moves on. Both are Python integers, so a generator pickles
    and can be put back by ``Generator(seed, position=...)``. Bits, uniform numbers in [0, 1), integers and
    permutations are the same bits on every backend; normal numbers where ``log``, ``sin`` and ``cos`` follow their
    recipes, and within those ops' contracts elsewhere.

    One generator serves one thread; :meth:`split` makes independent ones.

    Args:
        seed: an integer in [0, 2**64).
        device: where the numbers are made; None for the default device.
        position: how many blocks have been taken already.

    Raises:
        ArgumentError: a seed or position outside of that range.

    >>> import opmux as ox
    >>> ox.Generator(0).bits(4).tolist()
    [1713891541, 3781805453, 3159862348, 2600524760]
    """

    __slots__ = ("_device", "_key", "_position", "_seed")

    def __init__(self, seed: int, device: Device | str | None = None, *, position: int = 0) -> None:
        for name, value in (("seed", seed), ("position", position)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ArgumentTypeError(f"Generator: {name}={shown(value)} is not an integer", op="Generator")
            if not 0 <= value < _POSITIONS:
                raise ArgumentError(f"Generator: {name}={shown(value)} is outside of [0, 2**64)", op="Generator")
        self._seed, self._position = seed, position
        self._device = defaults.device() if device is None else find_device(device)
        self._key: Array | None = None

    @property
    def seed(self) -> int:
        """The seed."""
        return self._seed

    @property
    def position(self) -> int:
        """How many blocks of four words have been taken."""
        return self._position

    @property
    def device(self) -> Device:
        """Where the numbers are made."""
        return self._device

    def __repr__(self) -> str:
        return f"Generator({self._seed}, {self._device.name!r}, position={self._position})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._seed, self._device.name, self._position)

    def _take(self, blocks: int) -> int:
        refuse_in_capture("a captured function draws random numbers, which are others on every call")
        start = self._position
        self._position = (start + blocks) % _POSITIONS
        return start

    def bits(self, shape: Shape = ()) -> Array:
        """Return uniformly distributed uint32 words.

        >>> import opmux as ox
        >>> ox.Generator(7).bits((2, 3)).shape
        (2, 3)
        """
        lengths = normalize_shape(shape, where="Generator.bits")
        start = self._take(-(-math.prod(lengths) // 4))
        if self._key is None:
            self._key = self._words(self._seed & _WORD, self._seed >> 32)
        counter = self._words(start & _WORD, start >> 32, _NUMBERS, 0)
        return random_bits(self._key, counter, shape=lengths)

    def _words(self, *words: int) -> Array:
        return upload(np.array(words, np.uint32), self._device, uint32)

    def _pairs(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Return two words for each element, the first and the second of each pair in the stream."""
        n = math.prod(shape)
        words = self.bits((n, 2))
        return reshape(part(words, 1, 0, 1), shape), reshape(part(words, 1, 1, 2), shape)

    def _unit(self, shape: tuple[int, ...], dtype: DType) -> Array:
        """Return multiples of ``2**-bits`` in [0, 1), exact in the dtype."""
        if dtype is not float64:
            precision = _PRECISION[dtype]
            words = bitwise_right_shift(self.bits(shape), 32 - precision)
            return multiply(cast(words, dtype), 2.0**-precision)
        first, second = self._pairs(shape)
        high, low = cast(bitwise_right_shift(first, 5), float64), cast(bitwise_right_shift(second, 6), float64)
        return multiply(add(multiply(high, 2.0**26), low), 2.0**-53)

    def uniform(
        self, shape: Shape = (), low: float = 0.0, high: float = 1.0, *, dtype: DType | str | None = None
    ) -> Array:
        """Return real numbers uniform in ``[low, high)``.

        They are ``low + u * (high - low)``, in two rounded steps, where u is a multiple of 2**-24 (float32), 2**-53
        (float64), 2**-11 (float16) or 2**-8 (bfloat16) in [0, 1). Rounding may reach ``high`` where low is not 0 and
        high is not 1.

        Raises:
            DTypeError: the dtype is not real floating.

        >>> import opmux as ox
        >>> ox.Generator(0).uniform(2, dtype=ox.float64).tolist()
        [0.399046..., 0.735712...]
        """
        chosen = _real(dtype, "uniform")
        u = self._unit(normalize_shape(shape, where="Generator.uniform"), chosen)
        if low == 0.0 and high == 1.0:
            return u
        return add(multiply(u, float(high) - float(low)), float(low))

    def normal(
        self, shape: Shape = (), mean: float = 0.0, std: float = 1.0, *, dtype: DType | str | None = None
    ) -> Array:
        """Return normally distributed real numbers.

        Box and Muller, A Note on the Generation of Random Normal Deviates, Ann. Math. Stat. 29(2), 1958: ``sqrt(-2
        log(1 - u)) * cos(2 pi v)`` for the first half of the numbers (rounded up) and the sine for the rest, in
        float64 for float64 and in float32, rounded once, for the others. u and v are uniform as by :meth:`uniform`,
        so none lies further than 5.77 (float32) or 8.58 (float64) standard deviations from the mean.

        Raises:
            DTypeError: the dtype is not real floating.

        >>> import opmux as ox
        >>> ox.Generator(0).normal((2, 2)).shape
        (2, 2)
        """
        chosen = _real(dtype, "normal")
        wide = float64 if chosen is float64 else float32
        lengths = normalize_shape(shape, where="Generator.normal")
        n = math.prod(lengths)
        half = -(-n // 2)
        radius = sqrt(multiply(log(subtract(1.0, self._unit((half,), wide))), -2.0))
        angle = multiply(self._unit((half,), wide), 2 * math.pi)
        both = concat([multiply(radius, cos(angle)), multiply(radius, sin(angle))])
        z = reshape(part(both, 0, 0, n), lengths)
        if std != 1.0:
            z = multiply(z, float(std))
        if mean != 0.0:
            z = add(z, float(mean))
        return z if chosen is wide else cast(z, chosen)

    def integers(self, low: int, high: int | None = None, shape: Shape = (), *, dtype: DType | str = int64) -> Array:
        """Return integers uniform in ``[low, high)``, or in ``[0, low)`` where no high is given.

        Each is the high word of a random 64-bit number times the size r of the range (Lemire, Fast Random Integer
        Generation in an Interval, ACM TOMACS 29(1), 2019), without his rejection: a value's probability differs from
        1/r by less than 2**-64.

        Raises:
            ArgumentError: the range is empty or does not fit the dtype.
            DTypeError: the dtype is not an integer one.

        >>> import opmux as ox
        >>> ox.Generator(0).integers(1, 7, 5).tolist()
        [3, 5, 6, 5, 1]
        """
        first, end = (0, low) if high is None else (low, high)
        chosen = find_dtype(dtype)
        if chosen not in INTEGERS:
            raise DTypeError(f"Generator.integers: {chosen} is not an integer dtype", op="integers", dtype=chosen)
        least, most = element_limits(chosen)
        if not least <= first < end <= most + 1:
            raise ArgumentError(
                f"Generator.integers: [{first}, {end}) is empty or does not fit {chosen}, which holds "
                f"{least} to {most}",
                op="integers",
                dtype=chosen,
            )
        a, b = (cast(w, uint64) for w in self._pairs(normalize_shape(shape, where="Generator.integers")))
        found = _scaled(a, b, end - first)
        if first:
            found = add(found, first % _POSITIONS)
        return found if chosen is uint64 else cast(found, chosen)

    def permutation(self, n: int) -> Array:
        """Return the integers below n in random order, as int64.

        They are ordered by random 64-bit keys; that two of n are equal, which would favour their ascending order, has a
        probability below n**2 / 2**65.

        >>> import opmux as ox
        >>> sorted(ox.Generator(0).permutation(5).tolist())
        [0, 1, 2, 3, 4]
        """
        (length,) = normalize_shape(n, where="Generator.permutation")
        a, b = (cast(w, uint64) for w in self._pairs((length,)))
        return argsort(add(multiply(a, 1 << 32), b))

    def split(self) -> Generator:
        """Return a new generator whose numbers are independent of this one's and of those split off before.

        Its seed is the first two words of a block that this generator uses for nothing else; this one moves on by a
        block.

        >>> import opmux as ox
        >>> g = ox.Generator(0)
        >>> g.split().seed == g.split().seed
        False
        """
        start = self._take(1)
        words = block((start & _WORD, start >> 32, _KEYS, 0), (self._seed & _WORD, self._seed >> 32))
        return Generator(words[0] | words[1] << 32, self._device)


def _restored(seed: int, device: str, position: int) -> Generator:
    return Generator(seed, device, position=position)


def _real(dtype: DType | str | None, what: str) -> DType:
    chosen = defaults.float_dtype() if dtype is None else find_dtype(dtype)
    if chosen not in FLOATS:
        raise DTypeError(f"Generator.{what}: {chosen} is not a real floating dtype", op=what, dtype=chosen)
    return chosen


def _scaled(a: Array, b: Array, size: int) -> Array:
    """Return ``floor((a * 2**32 + b) * size / 2**64)`` for words in uint64, by products of 32-bit halves."""
    if size == _POSITIONS:
        return add(multiply(a, 1 << 32), b)
    c, d = size >> 32, size & _WORD
    middle = add(multiply(a, d), bitwise_right_shift(multiply(b, d), 32))
    if not c:
        return bitwise_right_shift(middle, 32)
    lower = add(multiply(b, c), bitwise_and(middle, _WORD))
    return add(add(multiply(a, c), bitwise_right_shift(middle, 32)), bitwise_right_shift(lower, 32))
