"""Floating-point formats, and reference numbers that are more precise than any of them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Host = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format.

    Attributes:
        precision: bits of the significand, the leading one included.
        lowest: exponent of the smallest normal number.
        highest: exponent of the largest finite number.
    """

    precision: int
    lowest: int
    highest: int

    @property
    def epsilon(self) -> float:
        """The distance from 1 to the next number."""
        return 2.0 ** (1 - self.precision)

    @property
    def smallest(self) -> float:
        """The smallest positive number; half of it is what a result may lose by underflow."""
        return float(np.ldexp(1.0, self.lowest - self.precision + 1))

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float(np.ldexp(2.0 - self.epsilon, self.highest))


FORMATS: Final = {
    "float8_e4m3fn": Format(4, -6, 8),
    "float8_e5m2": Format(3, -14, 15),
    "float16": Format(11, -14, 15),
    "bfloat16": Format(8, -126, 127),
    "float32": Format(24, -126, 127),
    "float64": Format(53, -1022, 1023),
}

#: Exponents beyond this say no more than "overflows" or "vanishes" in every format above.
_FAR: Final = 5000


@dataclass(frozen=True, slots=True)
class Precise:
    """Reference numbers ``(high + low) * 2**exponent`` with about 106 bits and a wide range.

    Attributes:
        high: float64 of magnitude in [0.5, 1), or 0, NaN, infinity.
        low: float64, what ``high`` leaves out.
        exponent: int32.
    """

    high: Host
    low: Host
    exponent: Host

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.high.shape

    def approximate(self) -> Host:
        """Return the nearest float64 numbers, for messages and magnitudes."""
        with np.errstate(all="ignore"):
            return np.asarray(np.ldexp(self.high, self.exponent))


def precise(values: Host) -> Precise:
    """Return float64 or long double values as precise numbers, nothing lost."""
    with np.errstate(all="ignore"):
        fraction, exponent = np.frexp(np.asarray(values))
        high = np.asarray(fraction, np.float64)
        # A fraction just below 1 rounds up to 1: the low part is negative then, which is still exact.
        low = np.where(np.isfinite(high), fraction - high, 0).astype(np.float64)
    return Precise(high, low, np.asarray(exponent, np.int32))


def from_fractions(values: list[Fraction | float], shape: tuple[int, ...]) -> Precise:
    """Return exact rationals (and floats where only a special value will do) as precise numbers."""
    rows = [_of_fraction(v) if isinstance(v, Fraction) else _of_float(v) for v in values]
    return from_rows(rows, shape)


def from_rows(rows: list[tuple[float, float, int]], shape: tuple[int, ...]) -> Precise:
    """Return precise numbers from (high, low, exponent) triples in row-major order."""
    table = np.array(rows, np.float64).reshape(-1, 3)
    exponent = np.clip(table[:, 2], -_FAR, _FAR).astype(np.int32)
    return Precise(table[:, 0].reshape(shape), table[:, 1].reshape(shape), exponent.reshape(shape))


def _of_float(value: float) -> tuple[float, float, int]:
    fraction, exponent = np.frexp(value)
    return float(fraction), 0.0, int(exponent)


def _of_fraction(value: Fraction) -> tuple[float, float, int]:
    if not value:
        return 0.0, 0.0, 0
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    scaled = value / (Fraction(2) ** exponent)
    high = float(scaled)
    fraction, more = np.frexp(high)
    return float(fraction), float(np.ldexp(_to_odd(scaled - Fraction(high)), -int(more))), exponent + int(more)


def _to_odd(value: Fraction) -> float:
    """Round so that an inexact result is never taken for a tie: its last bit is odd."""
    near = float(value)
    if Fraction(near) != value and int(np.float64(near).view(np.int64)) % 2 == 0:
        return float(np.nextafter(near, np.inf if value > Fraction(near) else -np.inf))
    return near


def _leading(want: Precise) -> tuple[Host, Host]:
    """Return the exponent of the leading bit of each number, and whether it is a power of two."""
    half = np.abs(want.high) == 0.5
    one = np.abs(want.high) == 1.0
    direction = want.low * np.sign(want.high)
    lead = want.exponent - 1 + (one & (direction >= 0)) - (half & (direction < 0))
    return lead, (half | one) & (direction == 0)


def unit_exponent(want: Precise, form: Format, *, muller: bool) -> Host:
    """Return the exponent of one unit in the last place at each number.

    Args:
        want: the numbers.
        form: the format that has the places.
        muller: at a power of two take the smaller spacing (Muller, INRIA RR-5504), not the one above.
    """
    lead, at_power = _leading(want)
    lead = lead - (at_power & muller)
    lead = np.where(want.high == 0, form.lowest, lead)
    return np.clip(lead, form.lowest, form.highest) - (form.precision - 1)


def nearest(want: Precise, form: Format) -> Host:
    """Return each number rounded once to a format, to nearest even, as float64."""
    with np.errstate(all="ignore"):
        unit = unit_exponent(want, form, muller=False)
        high = np.ldexp(want.high, want.exponent - unit)
        low = np.ldexp(want.low, want.exponent - unit)
        whole = np.rint(high)
        rest = high - whole  # exact; low is at most half of high's last place, so it matters at ties only
        odd = np.remainder(whole, 2) == 1
        up = ((rest == 0.5) & (low > 0)) | ((rest == 0) & (low == 0.5) & odd)
        down = ((rest == -0.5) & (low < 0)) | ((rest == 0) & (low == -0.5) & odd)
        rounded = whole + up - down
        made = np.ldexp(rounded, unit)
        made = np.where(np.abs(rounded) * 2.0 ** (1 - form.precision) >= 2.0, _too_large(made, unit, form), made)
        return np.where(np.isfinite(want.high), np.copysign(made, want.high), want.high)


def _too_large(made: Host, unit: Host, form: Format) -> Host:
    return np.where(unit == form.highest - form.precision + 1, np.inf, made)


def ulp_errors(got: Host, want: Precise, form: Format) -> Host:
    """Return the distance of each result from the true value, in Muller's units in the last place.

    An infinite result counts as the number that would follow the largest; infinite where NaN, an infinity or the sign
    of a zero is wrong.
    """
    wide = np.asarray(got).astype(np.float64)
    with np.errstate(all="ignore"):
        unit = unit_exponent(want, form, muller=True)
        scaled = np.ldexp(want.high, want.exponent - unit)
        beyond = 2.0**form.precision  # 2**(highest + 1) in units of the last place there
        capped = np.where(np.isinf(wide), np.copysign(beyond, wide), np.ldexp(wide, -unit))
        error = np.abs((capped - scaled) - np.ldexp(want.low, want.exponent - unit))
        overflow = np.isinf(wide) & (np.abs(scaled) >= beyond) & (np.sign(wide) == np.sign(scaled))
        error = np.where(overflow, 0.0, error)
        # An infinity where the value is far below the largest number is that far off, in its own small units or more.
        error = np.where(np.isinf(wide) & (unit < form.highest - form.precision + 1), np.inf, error)
        error = np.where(np.isinf(want.high), np.where(wide == want.high, 0.0, np.inf), error)
        error = np.where((wide == 0) & (np.signbit(wide) != np.signbit(want.high)), np.inf, error)
        nan = np.isnan(want.high)
        return np.where(nan | np.isnan(wide), np.where(nan & np.isnan(wide), 0.0, np.inf), error)
