"""Comparers: rules bound to expected values, which raise ConformanceError at the worst element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.dtypes import DType
from ...core.errors import ConformanceError
from .formats import FORMATS, Host, Precise, nearest, precise, ulp_errors, unit_exponent


@dataclass(frozen=True, slots=True)
class Where:
    """What a result belongs to, for the message.

    Attributes:
        op: the op's name.
        dtype: of the result.
        operands: the operands as NumPy arrays, to show those of the worst element.
    """

    op: str
    dtype: DType
    operands: tuple[Host | None, ...] = ()


def check_layout(got: Host, shape: tuple[int, ...], where: Where) -> None:
    """Demand the shape and dtype that the op's rules say."""
    if got.shape != shape or got.dtype != where.dtype.numpy:
        raise ConformanceError(
            f"{where.op}: the result is {got.dtype}{list(got.shape)}; the op's rules say {where.dtype}{list(shape)}",
            op=where.op,
            dtype=where.dtype.name,
            got=(str(got.dtype), got.shape),
            wanted=(where.dtype.name, shape),
        )


@dataclass(frozen=True, slots=True)
class Judge:
    """A rule bound to what is expected.

    Attributes:
        measure: returns for each element of a result its error, and whether it is wrong.
        bound: the largest error that is right.
        unit: of the errors.
        want: the expected values, for the message.
    """

    measure: Callable[[Host], tuple[Host, Host]]
    bound: float
    unit: str
    want: Host

    def hold(self, got: Host, where: Where) -> float:
        """Return the worst error of a result.

        Raises:
            ConformanceError: at the worst of the elements that are wrong.
        """
        errors, wrong = self.measure(got)
        if np.any(wrong):
            _fail(got, self, errors, np.asarray(wrong), where)
        return float(np.max(errors, initial=0.0))


def exact(want: Host) -> Judge:
    """Demand equal values: the sign of zero counts, all NaNs are equal."""
    return Judge(lambda got: _unequal(_differs(got, want)), 0.0, "exact", want)


def bits(want: Host) -> Judge:
    """Demand equal bits, NaN payloads included."""
    raw = f"V{want.dtype.itemsize}"

    def measure(got: Host) -> tuple[Host, Host]:
        differs = np.ascontiguousarray(got).view(raw) != np.ascontiguousarray(want).view(raw)
        return _unequal(np.asarray(differs.reshape(got.shape)))

    return Judge(measure, 0.0, "bits", want)


def ulp(want: Precise, bound: float, dtype: DType) -> Judge:
    """Demand an error of at most so many ULP; at a bound of 0.5, the correctly rounded value with ties to even."""
    form = FORMATS[dtype.name]
    if bound != 0.5:

        def measure(got: Host) -> tuple[Host, Host]:
            errors = ulp_errors(got, want, form)
            return errors, errors > bound

        return Judge(measure, bound, "ULP", want.approximate())
    rounded = nearest(want, form)

    def measure_rounding(got: Host) -> tuple[Host, Host]:
        return ulp_errors(got, want, form), _differs(got.astype(np.float64), rounded)

    return Judge(measure_rounding, bound, "ULP, correctly rounded", rounded)


def complex_ulp(want: Host, bound: float, dtype: DType, slack: float) -> Judge:
    """Demand each part within so many ULP of the modulus.

    Args:
        want: complex values in higher precision.
        bound: in ULP.
        dtype: of the result.
        slack: the reference's own error, in ULP.
    """
    part = FORMATS["float32" if dtype.name == "complex64" else "float64"]
    modulus = precise(np.abs(want))
    with np.errstate(all="ignore"):
        unit = np.ldexp(np.ones(want.shape, np.longdouble), unit_exponent(modulus, part, muller=True))

    def measure(got: Host) -> tuple[Host, Host]:
        with np.errstate(all="ignore"):
            wide = got.astype(want.dtype)
            off = np.maximum(np.abs(wide.real - want.real), np.abs(wide.imag - want.imag)) / unit
            infinite = np.where(np.isnan(off), np.inf, off).astype(np.float64)
            errors = np.where(np.isnan(wide) & np.isnan(want), 0.0, infinite)
            errors = np.where((wide == want) & ~np.isnan(off), 0.0, errors)
        return errors, errors > bound + slack

    return Judge(measure, bound + slack, "ULP of the modulus", want)


def within(want: Host, allowance: Host, dtype: DType) -> Judge:
    """Demand an absolute error of at most the allowance, element by element; errors are shares of it.

    An infinity is right where the true value is one, or where the allowance reaches beyond the largest number.
    """

    def measure(got: Host) -> tuple[Host, Host]:
        share = within_shares(got, want, allowance, dtype)
        return share, share > 1.0

    return Judge(measure, 1.0, "of the bound", want)


def check_exact(got: Host, want: Host, where: Where) -> float:
    """Hold a result to :func:`exact`."""
    return exact(want).hold(got, where)


def check_bits(got: Host, want: Host, where: Where) -> float:
    """Hold a result to :func:`bits`."""
    return bits(want).hold(got, where)


def check_ulp(got: Host, want: Precise, bound: float, where: Where) -> float:
    """Hold a result to :func:`ulp`."""
    return ulp(want, bound, where.dtype).hold(got, where)


def check_within(got: Host, want: Host, allowance: Host, where: Where) -> float:
    """Hold a result to :func:`within`; returns the largest share of the allowance used."""
    return within(want, allowance, where.dtype).hold(got, where)


def within_shares(got: Host, want: Host, allowance: Host, dtype: DType) -> Host:
    """Return the share of its allowance that each result uses; infinite where NaN or an infinity is wrong."""
    name = dtype.name
    if got.dtype.kind == "c":
        parts = DType(name, "", 0, np.dtype(np.float32 if name == "complex64" else np.float64), 0)
        real = within_shares(got.real, want.real, allowance, parts)
        return np.maximum(real, within_shares(got.imag, want.imag, allowance, parts))
    largest = {"complex64": "float32", "complex128": "float64"}.get(name, name)
    with np.errstate(all="ignore"):
        wide = got.astype(want.dtype)
        off = np.abs(wide - want)
        share = np.where(off == 0, 0.0, off / allowance)
        reaches = np.abs(want) + allowance >= FORMATS[largest].largest
        same_sign = np.sign(wide) == np.sign(want)
        share = np.where(np.isinf(wide), np.where((reaches | np.isinf(want)) & same_sign, 0.0, np.inf), share)
        share = np.where(np.isinf(want) & np.isfinite(wide), np.inf, share)
        nan = np.isnan(want)
        share = np.where(nan | np.isnan(wide), np.where(nan & np.isnan(wide), 0.0, np.inf), share)
    return np.asarray(share, np.float64)


def _differs(got: Host, want: Host) -> Host:
    if got.dtype.kind in "iub" and want.dtype.kind in "iub":
        return np.asarray(got != want)
    if got.dtype.kind == "c":
        return _differs(got.real, want.real) | _differs(got.imag, want.imag)
    if got.dtype.kind not in "f":  # bfloat16 and the 8-bit floats widen without loss
        got, want = got.astype(np.float32), want.astype(np.float32) if want.dtype.kind not in "f" else want
    with np.errstate(invalid="ignore"):
        nan = np.isnan(got) & np.isnan(want)
        return np.asarray(~nan & ((got != want) | (np.signbit(got) != np.signbit(want))))


def _unequal(differs: Host) -> tuple[Host, Host]:
    return np.where(differs, np.inf, 0.0), differs


def _fail(got: Host, judge: Judge, errors: Host, wrong: Host, where: Where) -> None:
    want, bound, unit = judge.want, judge.bound, judge.unit
    found = np.where(wrong, errors, -1.0)
    worst = np.unravel_index(int(np.argmax(found)), errors.shape) if errors.shape else ()
    index = tuple(int(i) for i in worst)
    count = int(np.count_nonzero(wrong))
    shown = ", ".join(s for s in (_shown(x, index, errors.shape) for x in where.operands) if s)
    raise ConformanceError(
        f"{where.op} on {where.dtype}: {count} of {errors.size} elements are wrong; the worst is at {list(index)}: got "
        f"{_show(got[index])}, wanted {_show(want[index])}, error {float(errors[index]):.6g} {unit}, bound {bound:.6g}"
        + (f"; operands there: {shown}" if shown else ""),
        op=where.op,
        dtype=where.dtype.name,
        index=index,
        got=_show(got[index]),
        wanted=_show(want[index]),
        error=float(errors[index]),
        bound=bound,
    )


def _show(value: Any) -> str:
    if isinstance(value, np.longdouble):
        return str(value)
    item = value.item() if isinstance(value, np.generic) else value
    return repr(float(value)) if isinstance(item, np.generic) or value.dtype.kind == "V" else repr(item)


def _shown(x: Host | None, index: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Return the operand's element beside a result, where the two line up."""
    if x is None:
        return ""
    try:
        return _show(np.broadcast_to(x, shape)[index])
    except (ValueError, AttributeError):
        return ""
