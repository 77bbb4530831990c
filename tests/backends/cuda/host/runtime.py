"""A GPU's runtime on the host: memory of the host under addresses of its own, streams that are done at once."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from opmux.backends.cuda.device.cublas import MISSING
from opmux.backends.cuda.device.runtime import CudaError, Extent, Gemm, Properties
from opmux.backends.cuda.device.tensor_maps import Tiling
from opmux.plugin import HostBytes

from .blas import carry_out
from .compiler import HostCompiler
from .tensor_maps import checked

_U3 = ctypes.c_uint * 3


class HostRuntime:
    """One pretended GPU.

    Args:
        memory: bytes that it has.
        reversed_turns: whether the threads of a block take their turns from the last to the first.
        ordinal: its number.
        blas: whether it has cuBLAS.

    Attributes:
        peers: the GPUs of the machine, by number.
        copies: the numbers of the GPUs that memory was copied from.
        maps: the tensor maps that were encoded.
    """

    def __init__(
        self, memory: int = 1 << 28, *, reversed_turns: bool = False, ordinal: int = 0, blas: bool = False
    ) -> None:
        self.ordinal = ordinal
        self.peers: dict[int, HostRuntime] = {ordinal: self}
        self.copies: list[int] = []
        self.maps: list[Tiling] = []
        self.properties = Properties("a GPU on the host", (9, 0), memory, 4, 1e9, 1e11, 1 << 20)
        self.compiler = HostCompiler()
        self.blocks: dict[int, Any] = {}
        self.left = memory
        self.launches: list[str] = []
        self._reversed = reversed_turns
        self._blas = blas
        self._lock = threading.RLock()

    def open_stream(self) -> object:
        return object()

    def stream_handle(self, stream: object) -> int:
        return id(stream)

    def allocate(self, nbytes: int, stream: object) -> int:
        with self._lock:
            if nbytes > self.left:
                raise MemoryError(f"{nbytes} bytes asked for, {self.left} left")
            memory = np.full(nbytes + 256, 0xA5, np.uint8)
            pointer = -(-memory.ctypes.data // 256) * 256
            self.left -= nbytes
            self.blocks[pointer] = memory, nbytes
            return pointer

    def release(self, pointer: int, stream: object) -> None:
        with self._lock:
            self.left += self.blocks.pop(pointer)[1]

    def trim(self) -> None:
        """Nothing is kept for later."""

    def upload(self, pointer: int, source: HostBytes, stream: object) -> None:
        ctypes.memmove(pointer, source.ctypes.data, source.nbytes)

    def download(self, target: HostBytes, pointer: int, stream: object) -> None:
        ctypes.memmove(target.ctypes.data, pointer, target.nbytes)

    def copy_peer(self, pointer: int, source: int, source_pointer: int, nbytes: int, stream: object) -> None:
        self.check(pointer, nbytes)
        self.peers[source].check(source_pointer, nbytes)
        self.copies.append(source)
        ctypes.memmove(pointer, source_pointer, nbytes)

    def check(self, pointer: int, nbytes: int) -> None:
        """Refuse memory that is not this GPU's."""
        with self._lock:
            if not any(start <= pointer and pointer + nbytes <= start + n for start, (_, n) in self.blocks.items()):
                raise CudaError("cudaErrorInvalidValue", f"{nbytes} bytes at {pointer:#x} are not GPU {self.ordinal}'s")

    def record(self, stream: object) -> object:
        return object()

    def wait(self, stream: object, event: object) -> None:
        """All that was put on a stream is done."""

    def synchronize(self, stream: object) -> None:
        """All that was put on a stream is done."""

    def tensor_map(self, pointer: int, tiling: Tiling) -> bytes:
        self.check(pointer, tiling.nbytes)
        self.maps.append(tiling)
        return checked(pointer, tiling)

    def load(self, image: bytes) -> ctypes.CDLL:
        return ctypes.CDLL(image.decode())

    def function(self, module: ctypes.CDLL, name: str, dynamic_shared: int) -> Any:
        return getattr(module, f"{name}_on_host"), name

    def begin_capture(self) -> object:
        raise CudaError("cudaErrorStreamCaptureUnsupported", "streams of the host are done at once")

    end_capture = replay = begin_capture

    def lacks_blas(self) -> str | None:
        return None if self._blas else MISSING

    def gemm(self, product: Gemm, a: int, b: int, c: int, workspace: tuple[int, int], stream: object) -> None:
        self.check(*workspace)
        self.launches.append("gemm")
        carry_out(product, a, b, c)

    def launch(self, function: Any, grid: Extent, block: Extent, shared: int, stream: object, arguments: int) -> None:
        entry, name = function
        self.launches.append(name)
        fault = ctypes.c_char_p()
        where = ctypes.c_void_p(arguments)
        code = entry(_U3(*grid), _U3(*block), shared, int(self._reversed), where, ctypes.byref(fault))
        if code:
            why = {1: "a barrier that not every thread reaches", 2: "a block of no threads, or of too many"}
            raise CudaError("cudaErrorLaunchFailure", f"{name}: {(fault.value or b'').decode() or why[code]}")
