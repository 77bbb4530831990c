"""Kernels of the remote device: contiguous operands only, computed by NumPy on the queue thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from opmux.conformance.planted.twin.accelerator import put
from opmux.plugin import Accepts, Array, CallSpec, Completion, Kernel, Layout, Prepared

from .driver import RemoteQueue

Compute = Callable[..., Any]


class RemoteFault(Exception):
    """What a planted fault fails with, late."""


def _kernel(op: str, compute: Callable[[CallSpec], Compute], layout: Layout = Layout.CONTIGUOUS) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared:
        bound = compute(spec)

        def work(out: Any, operands: Sequence[Any], workspace: None) -> None:
            with np.errstate(all="ignore"):
                out[...] = bound(*operands)

        def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Any, queue: RemoteQueue) -> Completion:
            return put(queue, work, outs[0], ins, workspace)

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
            lambda spec: (
                lambda x: np.sum(
                    x,
                    axis=spec.attributes["axis"],
                    keepdims=spec.attributes["keepdims"],
                    dtype=spec.outputs[0].dtype.numpy,
                )
            ),
        ),
        _kernel("cast", lambda spec: lambda x: x.astype(spec.outputs[0].dtype.numpy)),
    )
