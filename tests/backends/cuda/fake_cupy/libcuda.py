"""The driver's library over a fake machine: maps as the driver would encode them, of memory that is there."""

from __future__ import annotations

import ctypes
from typing import Any

from opmux.backends.cuda.device.tensor_maps import Tiling
from tests.backends.cuda.host.tensor_maps import MapError, checked

from .machine import FakeCuda, MisuseError

_ITEMSIZES = {0: 1, 1: 2, 2: 4}


class FakeDriverLibrary:
    """``libcuda``, as far as it is called without CuPy."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda

    def cuDevicePrimaryCtxRetain(self, out: Any, device: ctypes.c_int) -> int:
        status = self._cuda.failing("cuDevicePrimaryCtxRetain")
        if not status:
            out._obj.value = self._cuda.context(device.value)
        return status

    def cuThreadExchangeStreamCaptureMode(self, mode: Any) -> int:
        thread = self._cuda.thread
        thread.captures, mode._obj.value = mode._obj.value, thread.captures
        return 0

    def cuTensorMapEncodeTiled(
        self,
        out: ctypes.c_void_p,
        kind: int,
        rank: ctypes.c_uint32,
        pointer: ctypes.c_void_p,
        lengths: Any,
        strides: Any,
        box: Any,
        every: Any,
        *modes: int,
    ) -> int:
        status = self._cuda.failing("cuTensorMapEncodeTiled")
        if status:
            return status
        self._cuda.check(self._cuda.thread.context is not None, "a map without a GPU that is current")
        self._cuda.check((out.value or 1) % 64 == 0, "a map that does not lie at a multiple of 64")
        self._cuda.check(set(every) == {1}, "elements are left out")
        self._cuda.check(modes == (0, 3, 3, 0), f"modes {modes}")
        self._cuda.check(rank.value == len(lengths), "a rank that is not that of the lengths")
        tiling = Tiling(_ITEMSIZES[kind], tuple(lengths), tuple(strides), tuple(box))
        address = pointer.value or 0
        start = max((p for p in self._cuda.blocks if p <= address), default=0)
        block = self._cuda.blocks.get(start)
        inside = block is not None and address + tiling.nbytes <= start + block.nbytes
        self._cuda.check(inside, f"a map of {tiling} at {address:#x} is not within live memory")
        try:
            made = checked(address, tiling)
        except MapError as error:
            raise MisuseError(str(error)) from error
        ctypes.memmove(out, made, len(made))
        self._cuda.maps.append((address, tiling))
        return 0
