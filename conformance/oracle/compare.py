"""Comparers: each raises ConformanceError at the worst element, or returns the worst error seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.dtypes import DType
from ...core.errors import ConformanceError
from .formats import FORMATS, Host, Precise, nearest, precise, ulp_errors


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


def check_exact(got: Host, want: Host, where: Where) -> float:
    """Demand equal values: the sign of zero counts, all NaNs are equal."""
    _fail(got, want, np.where(_differs(got, want), np.inf, 0.0), 0.0, "exact", where)
    return 0.0


def check_bits(got: Host, want: Host, where: Where) -> float:
    """Demand equal bits, NaN payloads included."""
    bits = f"V{got.dtype.itemsize}"
    differs = np.ascontiguousarray(got).view(bits) != np.ascontiguousarray(want).view(bits)
    _fail(got, want, np.where(differs.reshape(got.shape), np.inf, 0.0), 0.0, "bits", where)
    return 0.0


def check_ulp(got: Host, want: Precise, bound: float, where: Where) -> float:
    """Demand an error of at most so many ULP; at a bound of 0.5, the correctly rounded value with ties to even."""
    form = FORMATS[where.dtype.name]
    errors = ulp_errors(got, want, form)
    if bound == 0.5:
        rounded = nearest(want, form)
        wrong = _differs(got.astype(np.float64), rounded)
        _fail(got, rounded, np.where(wrong, np.maximum(errors, 0.5), 0.0), 0.0, "ULP, correctly rounded", where)
    else:
        _fail(got, want.approximate(), errors, bound, "ULP", where)
    return float(errors.max(initial=0.0))


def check_complex_ulp(got: Host, want: Host, bound: float, where: Where, slack: float) -> float:
    """Demand each part within so many ULP of the modulus.

    Args:
        got: complex results.
        want: complex values in higher precision.
        bound: in ULP.
        where: what it belongs to.
        slack: the reference's own error, in ULP.
    """
    part = FORMATS["float32" if where.dtype.name == "complex64" else "float64"]
    modulus = precise(np.abs(want))
    from .formats import unit_exponent

    with np.errstate(all="ignore"):
        unit = np.ldexp(np.ones(want.shape, np.longdouble), unit_exponent(modulus, part, muller=True))
        wide = got.astype(want.dtype)
        off = np.maximum(np.abs(wide.real - want.real), np.abs(wide.imag - want.imag)) / unit
        errors = np.where(np.isnan(wide) & np.isnan(want), 0.0, np.where(np.isnan(off), np.inf, off)).astype(np.float64)
        errors = np.where((wide == want) & ~np.isnan(off), 0.0, errors)
    _fail(got, want, errors, bound + slack, "ULP of the modulus", where)
    return float(errors.max(initial=0.0))


def check_within(got: Host, want: Host, allowance: Host, where: Where) -> float:
    """Demand an absolute error of at most the allowance, element by element; returns the largest share of it used.

    An infinity is right where the true value is one, or where the allowance reaches beyond the largest number.
    """
    share = within_shares(got, want, allowance, where.dtype)
    _fail(got, want, share, 1.0, "of the bound", where)
    return float(share.max(initial=0.0))


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


def _fail(got: Host, want: Host, errors: Host, bound: float, unit: str, where: Where) -> None:
    bad = errors > bound
    if not bad.any():
        return
    worst = np.unravel_index(int(np.argmax(errors)), errors.shape) if errors.shape else ()
    index = tuple(int(i) for i in worst)
    count = int(np.count_nonzero(bad))
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
