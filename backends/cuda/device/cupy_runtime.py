"""One GPU through CuPy: its bindings of the CUDA runtime and driver, called directly.

Numbers of attributes: CUDA runtime API, ``cudaDeviceAttr``; the driver API has the same ones.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Final

from ....plugin import DeviceError, DeviceLostError
from ..compiling import nvrtc
from ..compiling.targets import refusal, target_for
from . import cublas, libcuda, tensor_maps
from .cublas import Cublas
from .current import process
from .errors import check, translated
from .memory import Memory
from .runtime import CudaError, Extent, Gemm, Properties, Watch
from .streams import Capture, Stream
from .tensor_maps import Tiling

_CLOCK, _MULTIPROCESSORS, _MEMORY_CLOCK, _BUS, _CACHE, _MAJOR, _MINOR, _POOLS = 13, 16, 36, 37, 38, 75, 76, 115
#: ``CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES``.
_MAX_DYNAMIC_SHARED: Final = 8
#: Dynamic shared memory that a kernel may have without asking (CUDA C++ Programming Guide, compute capabilities).
_SHARED_UNASKED: Final = 48 << 10


class CupyRuntime(Memory):
    """One GPU: what it is, its memory, its streams, and what is launched on them.

    Args:
        runtime: CuPy's module of the CUDA runtime.
        driver: CuPy's module of the CUDA driver.
        ordinal: the number of the GPU.
        alone: whether it is the only one; if so no other can become current between two calls.
    """

    def __init__(self, runtime: Any, driver: Any, ordinal: int, *, alone: bool) -> None:
        super().__init__(runtime, driver, ordinal, alone=alone)
        self._launch = driver.launchKernel
        self._allowed_lock = threading.RLock()
        self._allowed: dict[int, int] = {}
        self.properties = self._asked()
        why = None
        if target_for(self.properties.capability) is None:
            why = refusal(self.properties.name, self.properties.capability)
        elif not self._attribute(_POOLS):
            why = f"{self.properties.name} has no memory pools, with this driver"
        #: Why it cannot be used, if so.
        self.refusal = why

    def _asked(self) -> Properties:
        described = self.runtime.getDeviceProperties(self.ordinal)
        return Properties(
            described["name"].decode(),
            (self._attribute(_MAJOR), self._attribute(_MINOR)),
            described["totalGlobalMem"],
            self._attribute(_MULTIPROCESSORS),
            self._attribute(_CLOCK) * 1e3,
            2 * self._attribute(_MEMORY_CLOCK) * 1e3 * self._attribute(_BUS) / 8,  # two transfers per clock
            self._attribute(_CACHE),
        )

    def _attribute(self, number: int) -> int:
        return int(self.runtime.deviceGetAttribute(number, self.ordinal))

    @functools.cached_property
    def compiler(self) -> nvrtc.NvrtcCompiler:
        """What makes code for this GPU."""
        target = target_for(self.properties.capability)
        if target is None:
            raise DeviceError(refusal(self.properties.name, self.properties.capability))
        return nvrtc.NvrtcCompiler(target, nvrtc.default_cache())

    def load(self, image: bytes) -> int:
        """Load device code."""
        return int(self.call_during_captures(self.driver.moduleLoadData, image))

    def function(self, module: int, name: str, dynamic_shared: int) -> int:
        """Return an entry of a module, allowed so much dynamic shared memory per block."""
        entry = int(self.call_during_captures(self.driver.moduleGetFunction, module, name))
        with self._allowed_lock:  # the same entry may be asked for again with less
            if dynamic_shared > self._allowed.get(entry, _SHARED_UNASKED):
                self.call(self.driver.funcSetAttribute, entry, _MAX_DYNAMIC_SHARED, dynamic_shared)
                self._allowed[entry] = dynamic_shared
        return entry

    def tensor_map(self, pointer: int, tiling: Tiling) -> bytes:
        """Return how the copy engine goes through an array at an address, as a kernel takes it."""
        code, made = self.call(tensor_maps.encoded, libcuda.library(), pointer, tiling)
        check(code, f"cuTensorMapEncodeTiled at {pointer:#x}: {tiling}")
        return made

    @functools.cached_property
    def _blas(self) -> Cublas | str:
        return cublas.find()

    def lacks_blas(self) -> str | None:
        """Return why there is no cuBLAS; None where there is."""
        if isinstance(self._blas, str):
            return self._blas
        try:
            self.call(self._blas.start)
        except (CudaError, MemoryError) as error:
            if isinstance(error, CudaError) and error.sticky:
                raise
            return f"cuBLAS cannot be started: {error}"
        return None

    def gemm(self, product: Gemm, a: int, b: int, c: int, workspace: tuple[int, int], stream: Stream | Capture) -> None:
        """Put matrix products by cuBLAS on a stream; *workspace* is memory for this call alone and its bytes.

        Raises:
            MemoryError: cuBLAS has not enough.
        """
        if isinstance(self._blas, str):
            raise CudaError("CUBLAS_STATUS_NOT_INITIALIZED", self._blas)
        self.call(self._blas.gemm, product, a, b, c, workspace, stream.handle)

    def launching(
        self, watch: Watch, function: int, grid: Extent, block: Extent, shared: int, arguments: int
    ) -> Callable[[Stream | Capture], None]:
        """Return what makes a launch, see :meth:`launch`, again and again: with the numbers in place, in one call."""
        start = functools.partial(self._launch, function, *grid, *block, shared)
        thread, alone, errors, call = self._thread, self._alone, self._errors, self.call

        def put(stream: Stream | Capture) -> None:
            if watch.lost is not None:
                raise DeviceLostError(watch.lost)
            try:
                if alone and thread.ready and not process.forked:  # what `call` does, without the price of it
                    start(stream.handle, arguments, 0)
                else:
                    call(start, stream.handle, arguments, 0)
            except errors as error:
                told = translated(error)
                raise (told if isinstance(told, MemoryError) else watch.failure(told)) from error
            except CudaError as error:
                raise watch.failure(error) from error

        return put

    def launch(
        self, function: int, grid: Extent, block: Extent, shared: int, stream: Stream | Capture, arguments: int
    ) -> None:
        """Put a kernel on a stream; *arguments* is the address of an array with the address of each argument."""
        self.call(self._launch, function, *grid, *block, shared, stream.handle, arguments, 0)
