"""Kernels of the remote device: contiguous operands only, computed by NumPy on the queue thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from opmux.plugin import Accepts, Array, CallSpec, Completion, Kernel, Layout, Prepared

from .driver import Pointer, RemoteQueue

Compute = Callable[..., Any]


class RemoteFault(Exception):
    """What a planted fault fails with, late."""


@dataclass(frozen=True)
class View:
    """What a launch keeps of an array: where it is, not the array, so that memory may be freed while work is queued."""

    pointer: Pointer
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]

    def content(self) -> np.ndarray[Any, Any]:
        raw = self.pointer.block.content()
        step = self.dtype.itemsize
        return np.ndarray(self.shape, self.dtype, raw, self.pointer.offset, tuple(s * step for s in self.strides))


def _view(x: Array) -> View:
    assert isinstance(x.ptr, Pointer)
    return View(x.ptr, x.shape, x.strides, x.dtype.numpy)


def _kernel(op: str, compute: Callable[[CallSpec], Compute], layout: Layout = Layout.CONTIGUOUS) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared:
        bound = compute(spec)

        def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Any, queue: RemoteQueue) -> Completion:
            out, operands = _view(outs[0]), [_view(x) for x in ins]

            def work() -> None:
                with np.errstate(all="ignore"):
                    out.content()[...] = bound(*[x.content() for x in operands])

            return queue.put(work)

        return Prepared(launch)

    return Kernel(op, op, "remote", prepare, Accepts(layout=layout))


def _fail_on_negative(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if (x < 0).any():
        raise RemoteFault("the square root unit met a negative number")
    return np.sqrt(x)


def kernels() -> Iterable[Kernel]:
    """Return every kernel; ``sqrt`` fails late on negative numbers."""
    return (
        _kernel("add", lambda spec: np.add),
        _kernel("multiply", lambda spec: np.multiply),
        _kernel("negative", lambda spec: np.negative),
        _kernel("sqrt", lambda spec: _fail_on_negative),
        _kernel("exp", lambda spec: np.exp),
        _kernel("copy", lambda spec: np.array, Layout.STRIDED),
        _kernel(
            "sum",
            lambda spec: lambda x: np.sum(
                x, axis=spec.attributes["axis"], keepdims=spec.attributes["keepdims"], dtype=spec.outputs[0].dtype.numpy
            ),
        ),
        _kernel("cast", lambda spec: lambda x: x.astype(spec.outputs[0].dtype.numpy)),
    )
