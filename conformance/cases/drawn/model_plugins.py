"""Backends that come and go in the model's programs: one that must never be asked, and one with a device of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.devices.driver import DeviceDriver, DeviceInfo, HostBytes
from ....core.hooks import hookimpl
from ....core.kernel import Accepts, CallSpec, Kernel, Layout, Prepared
from ....core.signature import ALIGNMENT
from ...oracle.formats import Host

#: The kind of the device that the visitor owns.
KIND: Final = "modelled"
STRANGER: Final = "conformance-stranger"
VISITOR: Final = "conformance-visitor"


class Stranger:
    """A backend with the cheapest kernels for somebody else's device, which only fail.

    Args:
        kind: of the device.
        ops: what it has kernels for.
    """

    def __init__(self, kind: str, ops: Sequence[str]) -> None:
        self._kind, self._ops = kind, ops

    @hookimpl
    def opmux_kernels(self) -> Iterable[Kernel]:
        """Return the kernels."""
        return [Kernel(op, op, self._kind, lambda spec: Prepared(_fail)) for op in self._ops]


def _fail(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
    raise RuntimeError("a kernel of another backend ran, which the policy forbids")


class Memory:
    """A device whose memory is blocks of bytes that only its own kernels look into; work is done at once.

    Attributes:
        live: blocks that are not given back.
    """

    def __init__(self) -> None:
        self.info = DeviceInfo(KIND, "the model's device", 1 << 24)
        self.live = 0

    def open_queue(self) -> Any:
        return object()

    def alloc(self, nbytes: int, queue: Any) -> HostBytes:
        raw = np.full(nbytes + ALIGNMENT, 0xA5, np.uint8)
        self.live += 1
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + nbytes]

    def free(self, handle: HostBytes, last_uses: Sequence[Any]) -> None:
        self.live -= 1

    def pointer(self, handle: HostBytes, offset: int) -> tuple[HostBytes, int]:
        return handle, offset

    def upload(self, handle: HostBytes, offset: int, source: HostBytes, queue: Any) -> None:
        handle[offset : offset + source.size] = source

    def download(self, target: HostBytes, handle: HostBytes, offset: int, queue: Any) -> None:
        target[:] = handle[offset : offset + target.size]

    def record(self, queue: Any) -> Any:
        return None

    def wait(self, queue: Any, event: Any) -> None:
        return None

    def synchronize(self, queue: Any) -> None:
        return None


def _content(x: Array) -> Host:
    block, offset = x.ptr
    step = x.dtype.itemsize
    return np.ndarray(x.shape, x.dtype.numpy, block, offset, tuple(s * step for s in x.strides))


def _kernel(op: str, compute: Callable[[Host], Host], layout: Layout) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared:
        def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Any, queue: Any) -> None:
            _content(outs[0])[...] = compute(_content(ins[0]))

        return Prepared(launch)

    return Kernel(op, op, KIND, prepare, Accepts(layout=layout))


class Visitor:
    """A backend with a device of its own, which negates and copies."""

    def __init__(self) -> None:
        self.memory = Memory()

    @hookimpl
    def opmux_devices(self) -> Iterable[DeviceDriver]:
        """Return the device."""
        return [self.memory]

    @hookimpl
    def opmux_kernels(self) -> Iterable[Kernel]:
        """Return the kernels."""
        return [_kernel("negative", np.negative, Layout.CONTIGUOUS), _kernel("copy", np.array, Layout.STRIDED)]
