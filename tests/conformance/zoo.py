"""A backend of a few kernels for tests of the suite, right ones and a few wrong ones.

The faults that prove the suite are in :mod:`opmux.conformance.planted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from opmux.core.plugins import manager
from opmux.plugin import CallSpec, Kernel, Prepared, Rejection, hookimpl

Host = np.ndarray[Any, Any]
#: ``compute(spec, out, *operands)`` over NumPy views.
Compute = Callable[..., None]


class Zoo:
    """A backend for ``cpu`` made of a few kernels."""

    def __init__(self, kernels: list[Kernel], profiles: tuple[str, ...] = ()) -> None:
        self._kernels, self._profiles = kernels, profiles

    @hookimpl
    def opmux_kernels(self) -> list[Kernel]:
        return self._kernels

    @hookimpl
    def opmux_profiles(self) -> tuple[str, ...]:
        return self._profiles


def kernel(op: str, compute: Compute) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared | Rejection:
        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            with np.errstate(all="ignore"):
                compute(spec, outs[0].host, *[None if x is None else x.host for x in ins])

        return Prepared(launch)

    return Kernel(op, op, "cpu", prepare)


@contextmanager
def registered(name: str, plugin: object) -> Iterator[str]:
    manager.register(name, plugin)
    try:
        yield name
    finally:
        manager.unregister(name)


# Right.


def exp(spec: CallSpec, out: Host, x: Host) -> None:
    out[...] = np.exp(x.astype(np.float64))


def negative(spec: CallSpec, out: Host, x: Host) -> None:
    np.negative(x, out=out)


def add(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    np.add(x, y, out=out)


def multiply(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    np.multiply(x, y, out=out)


def hypot(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    out[...] = np.hypot(x.astype(np.float64), y.astype(np.float64))


def floor_divide(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    np.floor_divide(x, y, out=out)


def matmul(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    out[...] = np.matmul(x.astype(np.float64), y.astype(np.float64))


def sum(spec: CallSpec, out: Host, x: Host) -> None:
    a = spec.attributes
    out[...] = np.sum(x.astype(np.float64), axis=a["axis"], keepdims=a["keepdims"])


def max(spec: CallSpec, out: Host, x: Host) -> None:
    a = spec.attributes
    key = np.where(x == 0, np.where(np.signbit(x), -1e-300, 1e-300), x.astype(np.float64))  # -0 below +0
    found = np.max(key, axis=a["axis"], keepdims=a["keepdims"])
    out[...] = np.where(np.abs(found) == 1e-300, np.copysign(0.0, found), found)


def argmax(spec: CallSpec, out: Host, x: Host) -> None:
    out[...] = np.argmax(x, axis=spec.attributes["axis"], keepdims=spec.attributes["keepdims"])


TWINS = {
    f.__name__: f for f in (exp, negative, add, multiply, hypot, floor_divide, matmul, sum, max, argmax)
}  # fmt: skip


# Wrong.


def last_lane(spec: CallSpec, out: Host, x: Host) -> None:
    exp(spec, out, x)
    if out.ndim == 1 and out.size % 8:
        out[-1] = 0


def sign_of_zero(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    out[...] = np.multiply(x, y) + 0.0


def max_drops_nan(spec: CallSpec, out: Host, x: Host) -> None:
    a = spec.attributes
    out[...] = np.fmax.reduce(x, axis=a["axis"], keepdims=a["keepdims"])


def narrow_accumulator(spec: CallSpec, out: Host, x: Host) -> None:
    a = spec.attributes
    if x.ndim == 1 and x.size:
        out[...] = np.add.accumulate(x, dtype=np.float16)[-1]
    else:
        out[...] = np.sum(x, axis=a["axis"], keepdims=a["keepdims"], dtype=np.float16)


def zero_stride_ignored(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    if 0 in x.strides and x.ndim and x.shape[0] > 1:
        x = np.concatenate([x[:1], np.zeros_like(x[1:])])
    np.add(x, y, out=out)


def transposed_ignored(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    def linear(m: Host) -> Host:
        return np.ascontiguousarray(m.T).reshape(m.shape) if m.ndim == 2 and m.strides[0] < m.strides[1] else m

    matmul(spec, out, linear(x), linear(y))


def negative_stride_ignored(spec: CallSpec, out: Host, x: Host) -> None:
    exp(spec, out, np.flip(x) if x.ndim and x.strides[-1] < 0 else x)


def last_of_ties(spec: CallSpec, out: Host, x: Host) -> None:
    axis = spec.attributes["axis"]
    at = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis, keepdims=spec.attributes["keepdims"])
    out[...] = at
