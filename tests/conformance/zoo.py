"""Backends with one planted fault each, of the kinds that real ones have had, and their unfaulted twins."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import opmux as ox
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


# The unfaulted twins.


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


def scatter(spec: CallSpec, out: Host, x: Host, indices: Host, updates: Host) -> None:
    if spec.attributes["mode"] != "drop" or spec.attributes["reduction"] != "set":
        raise NotImplementedError  # the twin serves what its fault is about
    out[...] = x
    axis = spec.attributes["axis"]
    for i, at in enumerate(indices.ravel()):
        place = at + x.shape[axis] if at < 0 else at
        if 0 <= place < x.shape[axis]:
            np.moveaxis(out, axis, 0)[place] = np.moveaxis(updates, axis, 0)[i]


TWINS = {
    f.__name__: f for f in (exp, negative, add, multiply, hypot, floor_divide, matmul, sum, max, argmax)
}  # fmt: skip


# The faults.


def last_lane(spec: CallSpec, out: Host, x: Host) -> None:
    exp(spec, out, x)
    if out.ndim == 1 and out.size % 8:
        out[-1] = 0


def tail_of_the_block(spec: CallSpec, out: Host, x: Host) -> None:
    exp(spec, out, x)
    if out.ndim == 1 and out.size > 256:
        out[256:] = out[255]


def stale_code() -> Compute:
    seen: list[int] = []

    def compute(spec: CallSpec, out: Host, x: Host) -> None:
        seen.append(x.size)
        exp(spec, out, x)
        if out.ndim == 1 and out.size > seen[0]:
            out[seen[0] :] = 0

    return compute


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


def two_ulp_off(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    hypot(spec, out, x, y)
    out[...] = np.where(out > 2, np.nextafter(np.nextafter(out, np.float32(0)), np.float32(0)), out)


def clears_out_first(spec: CallSpec, out: Host, x: Host) -> None:
    out[...] = 0
    np.subtract(-0.0, x, out=out)


def truncating_division(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    np.floor_divide(x, y, out=out)
    wrong = (y != 0) & (np.remainder(x, np.where(y == 0, 1, y)) != 0) & ((x < 0) != (y < 0))
    out[wrong] += 1


def last_of_ties(spec: CallSpec, out: Host, x: Host) -> None:
    axis = spec.attributes["axis"]
    at = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis, keepdims=spec.attributes["keepdims"])
    out[...] = at


def empty_is_garbage(spec: CallSpec, out: Host, x: Host) -> None:
    sum(spec, out, x)
    if not x.size:
        out[...] = 1


def keepdims_order(spec: CallSpec, out: Host, x: Host) -> None:
    sum(spec, out, x)
    if spec.attributes["keepdims"] and out.ndim == 3:
        out[...] = np.flip(out)


def secret_fallback(spec: CallSpec, out: Host, x: Host) -> None:
    with ox.policy(backends={"numpy"}):
        out[...] = ox.exp(ox.asarray(x.copy())).numpy()


def writes_operand(spec: CallSpec, out: Host, x: Host) -> None:
    exp(spec, out, x)
    x[...] = 0


def swallowed_error(spec: CallSpec, out: Host, x: Host) -> None:
    raise RuntimeError("the unit is off")


def wraps_out_of_range(spec: CallSpec, out: Host, x: Host) -> None:
    out[...] = x.astype(np.float64).astype(np.int64).astype(out.dtype)


def truncating_cast(spec: CallSpec, out: Host, x: Host) -> None:
    if out.dtype.name == "bfloat16":
        cut = x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
        out[...] = cut.view(np.float32).astype(out.dtype)
    else:
        out[...] = x.astype(out.dtype)


def first_of_duplicates(spec: CallSpec, out: Host, x: Host, indices: Host, updates: Host) -> None:
    axis = spec.attributes["axis"]
    scatter(spec, out, x, indices[::-1], np.flip(updates, axis))


def crash(spec: CallSpec, out: Host, x: Host) -> None:
    exp(spec, out, x)
    if out.ndim == 0:
        os.abort()


def hang(spec: CallSpec, out: Host, x: Host) -> None:
    exp(spec, out, x)
    if out.ndim == 0:
        time.sleep(600)


@dataclass(frozen=True)
class Fault:
    """A fault, and the case that must catch it."""

    name: str
    op: str
    dtype: str
    compute: Compute
    killer: str
    says: str = ""


FLOOR = "floor_divide-int32-special-"
FAULTS = (
    Fault("last-lane", "exp", "float32", last_lane, "exp-float32-shapes-lengths"),
    Fault("block-tail", "exp", "float32", tail_of_the_block, "exp-float32-shapes-lengths"),
    Fault("stale-code", "exp", "float32", stale_code(), "exp-float32-shapes-lengths"),
    Fault("negative-stride", "exp", "float32", negative_stride_ignored, "exp-float32-strides-negative"),
    Fault("writes-operand", "exp", "float32", writes_operand, "exp-float32-values", "wrote to operand 0"),
    Fault("secret-fallback", "exp", "float32", secret_fallback, "exp-float32-values", "in secret"),
    Fault("swallowed-error", "exp", "float32", swallowed_error, "exp-float32-values", "the unit is off"),
    Fault("sign-of-zero", "multiply", "float32", sign_of_zero, "multiply-float32-special-multiply(-1, +0) -> -0"),
    Fault("zero-stride", "add", "float32", zero_stride_ignored, "add-float32-strides-zero"),
    Fault("transposed", "matmul", "float32", transposed_ignored, "matmul-float32-strides-transposed"),
    Fault("two-ulp", "hypot", "float32", two_ulp_off, "hypot-float32-values", "bound 1"),
    Fault("out-alias", "negative", "float32", clears_out_first, "negative-float32-out-operand0"),
    Fault("max-nan", "max", "float32", max_drops_nan, "max-float32-special-max([nan, 1]) -> nan"),
    Fault("narrow-sum", "sum", "float16", narrow_accumulator, "sum-float16-values-growing"),
    Fault("empty-sum", "sum", "float32", empty_is_garbage, "sum-float32-special-sum([]) -> +0"),
    Fault("keepdims", "sum", "float32", keepdims_order, "sum-float32-values-axes-keepdims"),
    Fault("ties", "argmax", "float32", last_of_ties, "argmax-float32-special-argmax([3, 3]) -> 0"),
    Fault("truncation", "floor_divide", "int32", truncating_division, f"{FLOOR}floor_divide(-7, 2) -> -4"),
    Fault("cast-wraps", "cast", "float32", wraps_out_of_range, "cast-float32-special-cast(1e9, int8) -> 127"),
    Fault("cast-truncates", "cast", "float32", truncating_cast, "cast-float32-values-midpoints-to-bfloat16"),
    Fault("duplicates", "scatter", "float32", first_of_duplicates, "scatter-float32-values-set"),
)
