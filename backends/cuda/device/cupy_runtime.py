"""GPUs through CuPy: its bindings of the CUDA runtime and driver, called directly.

Only ``cupy_backends`` is imported, which takes a tenth of the time of ``cupy``. Numbers of attributes and errors: CUDA
runtime API, ``cudaDeviceAttr`` and ``cudaError``; the driver API has the same numbers.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ....plugin import DeviceError, HostBytes
from ..compiling import nvrtc
from ..compiling.targets import refusal, target_for
from . import cublas, tensor_maps
from .cublas import Cublas
from .runtime import CudaError, Extent, ForkedError, Gemm, Properties
from .tensor_maps import Tiling

R = TypeVar("R")

_log: Final = logging.getLogger("opmux")

_OUT_OF_MEMORY: Final = 2
_INSUFFICIENT_DRIVER: Final = 35
_NO_DEVICE: Final = 100
#: Errors after which "the process must be terminated and relaunched" or the GPU is gone: ECC 214, NVLink 220, illegal
#: address 700, timeout 702, context destroyed 709, assertion 710, hardware stack 714, illegal instruction 715,
#: misaligned address 716, address space 717, program counter 718, launch failure 719, tensor memory 721, contained 226,
#: devices unavailable 46.
_STICKY: Final = frozenset({46, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721})
_CLOCK, _MULTIPROCESSORS, _MEMORY_CLOCK, _BUS, _CACHE, _MAJOR, _MINOR, _POOLS = 13, 16, 36, 37, 38, 75, 76, 115
_HOST_PAGE_TABLES: Final = 100
_HOST_TO_DEVICE: Final = 1
_DEVICE_TO_HOST: Final = 2
_NON_BLOCKING: Final = 1
_RELAXED: Final = 2
_WITHOUT_TIMING: Final = 2
_RELEASE_THRESHOLD: Final = 4
_KEEP_ALL: Final = 2**64 - 1
_MAX_DYNAMIC_SHARED: Final = 8
#: Dynamic shared memory that a kernel may have without asking (CUDA C++ Programming Guide, compute capabilities).
_SHARED_UNASKED: Final = 48 << 10


class _Thread(threading.local):
    """Whether a thread has ever made the GPU current."""

    ready = False


class _Process:
    """Whether CUDA was started in a process that this one was forked from."""

    started = False
    forked = False

    def after_fork(self) -> None:
        self.forked = self.forked or self.started


_process: Final = _Process()
os.register_at_fork(after_in_child=_process.after_fork)


def runtimes() -> list[CupyRuntime]:
    """Return the GPUs that the CUDA driver shows to this process and that kernels run on; none where there is none.

    Raises:
        DeviceError: the driver or an installation is wrong, or no GPU is new enough; what it is and what to do.
    """
    from cupy_backends.cuda.api import driver, runtime

    if _process.forked:
        raise DeviceError(_after_fork())
    if runtime.driverGetVersion() == 0:  # no driver: nothing to complain of
        return []
    try:
        count = runtime.getDeviceCount()
        _process.started = True
        found = [CupyRuntime(runtime, driver, i, alone=count == 1) for i in range(count)]
    except runtime.CUDARuntimeError as error:
        if error.status == _NO_DEVICE:
            return []
        raise DeviceError(_why(runtime, error)) from error
    fit = [r for r in found if r.refusal is None]
    refused = [r.refusal for r in found if r.refusal is not None]
    if refused and not fit:
        raise DeviceError("; ".join(refused))
    for why in refused:
        _log.warning("a GPU is left out: %s", why)
    if fit:
        nvrtc.library_path()
    return fit


def _why(runtime: Any, error: Exception) -> str:
    if getattr(error, "status", None) == _INSUFFICIENT_DRIVER:
        has, needs = (_version(v()) for v in (runtime.driverGetVersion, runtime.runtimeGetVersion))
        return (
            f"the NVIDIA driver serves CUDA {has} and CuPy is made for CUDA {needs}: install a newer driver, or a CuPy "
            f"for CUDA {has.partition('.')[0]}.x"
        )
    return f"CUDA cannot be started: {error}; nvidia-smi says what the driver sees"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _after_fork() -> str:
    return "this process was forked from one that had started CUDA, and CUDA does not follow a fork"


class _Owned:
    """What CUDA made for this process; it is given back with the object, once its work is done."""

    __slots__ = ("_destroy", "_owner", "handle")

    def __init__(self, owner: CupyRuntime, handle: int, destroy: Callable[[int], None]) -> None:
        self._owner = owner
        self._destroy = destroy
        self.handle = handle

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Held here: when the interpreter ends, the names of the module may be gone before the object is.
        if not (is_finalizing() or _process.forked):
            with contextlib.suppress(CudaError):
                self._owner.call(self._destroy, self.handle)


class _Stream(_Owned):
    """A stream.

    Attributes:
        whole: what :attr:`handle` is, for all but kernels: a stream that is captured takes only those.
    """

    __slots__ = ("whole",)

    def __init__(self, owner: CupyRuntime) -> None:
        handle = owner.call(owner.runtime.streamCreateWithFlags, _NON_BLOCKING)
        super().__init__(owner, handle, owner.runtime.streamDestroy)
        self.whole = self.handle


class _Capture:
    """A stream that is captured, and that nobody else has: what other threads put on it would be noted too."""

    __slots__ = ("handle", "stream")

    def __init__(self, stream: _Stream) -> None:
        self.stream = stream
        self.handle = stream.handle

    @property
    def whole(self) -> int:
        raise CudaError("cudaErrorStreamCaptureUnsupported", "only kernels are captured")


class _Graph(_Owned):
    """Work that is ready to be done. Calls on one graph at once are left to callers to prevent (CUDA driver API, graph
    object thread safety), and functions are called by several threads.
    """

    __slots__ = ("lock",)

    def __init__(self, owner: CupyRuntime, handle: int) -> None:
        super().__init__(owner, handle, owner.runtime.graphExecDestroy)
        self.lock = threading.RLock()


class _Event:
    """An event; it is used again once nobody has it: a stream that waits has noted what for when it was told to."""

    __slots__ = ("_spare", "handle")

    def __init__(self, handle: int, spare: deque[int]) -> None:
        self.handle = handle
        self._spare = spare

    def __del__(self) -> None:
        self._spare.append(self.handle)


class CupyRuntime:
    """One GPU.

    Memory comes from a pool of its own, which keeps what is released until :meth:`trim`: other libraries of the process
    share none of it.

    Args:
        runtime: CuPy's module of the CUDA runtime.
        driver: CuPy's module of the CUDA driver.
        ordinal: the number of the GPU.
        alone: whether it is the only one; if so no other can become current between two calls.
    """

    def __init__(self, runtime: Any, driver: Any, ordinal: int, *, alone: bool) -> None:
        self.runtime = runtime
        self._driver = driver
        self.ordinal = ordinal
        self._alone = alone
        self._errors = (runtime.CUDARuntimeError, driver.CUDADriverError)
        self._launch = driver.launchKernel
        self._thread = _Thread()
        self._spare: deque[int] = deque()
        self._lock = threading.RLock()
        self._pool_made: int | None = None
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

    def call(self, function: Callable[..., R], *args: object) -> R:
        """Call CUDA with this GPU current, and leave current what the caller had.

        Raises:
            CudaError: what CUDA reports.
            MemoryError: the GPU has not enough.
        """
        if _process.forked:
            raise ForkedError(_after_fork())
        try:
            if self._alone:
                if not self._thread.ready:
                    self.runtime.setDevice(self.ordinal)
                    self._thread.ready = True
                return function(*args)
            before = self.runtime.getDevice()
            if before == self.ordinal:
                if not self._thread.ready:  # current by number alone, which the driver does not take
                    self.runtime.setDevice(self.ordinal)
                    self._thread.ready = True
                return function(*args)
            self.runtime.setDevice(self.ordinal)
            try:
                return function(*args)
            finally:
                self.runtime.setDevice(before)
        except self._errors as error:
            raise _translated(error) from error

    def _pool(self) -> int:
        """Return the pool that memory comes from, made when the first is wanted: that starts the GPU."""
        with self._lock:
            if self._pool_made is None:
                pinned, no_handle, device = 1, 0, 1
                properties = self.runtime.MemPoolProps(pinned, no_handle, device, self.ordinal)
                made = self.runtime.memPoolCreate(properties)
                self.runtime.memPoolSetAttribute(made, _RELEASE_THRESHOLD, _KEEP_ALL)
                self._pool_made = int(made)
            return self._pool_made

    @functools.cached_property
    def _reads_pages(self) -> bool:
        """Whether the GPU copies from any host memory by itself, hence later than it is told to."""
        return bool(self._attribute(_HOST_PAGE_TABLES))

    def open_stream(self) -> _Stream:
        """Return a stream that orders itself with no other one."""
        return _Stream(self)

    def stream_handle(self, stream: _Stream) -> int:
        """Return a stream as CUDA's own libraries take it."""
        return stream.whole

    def allocate(self, nbytes: int, stream: _Stream) -> int:
        """Return memory that later work of a stream may use, aligned to 256.

        Raises:
            MemoryError: it does not fit.
        """
        pool = self._pool_made or self.call(self._pool)
        return int(self.call(self.runtime.mallocFromPoolAsync, nbytes, pool, stream.whole))

    def release(self, pointer: int, stream: _Stream) -> None:
        """Give memory back once all that is on a stream now is done."""
        self.call(self.runtime.freeAsync, pointer, stream.whole)

    def trim(self) -> None:
        """Give memory that was released, and is kept for later, back to the device."""
        if self._pool_made is not None:
            self.call(self.runtime.memPoolTrimTo, self._pool_made, 0)

    def upload(self, pointer: int, source: HostBytes, stream: _Stream) -> None:
        """Copy from host memory, which may be written again when this returns."""
        self.call(self._upload, pointer, source.ctypes.data, source.nbytes, stream.whole)

    def _upload(self, pointer: int, source: int, nbytes: int, stream: int) -> None:
        # From memory that CUDA does not know it copies to memory of its own before it returns (CUDA runtime API, API
        # synchronization behavior); from any other the copy may come later.
        known = self.runtime.pointerGetAttributes(source).type > 0
        self.runtime.memcpyAsync(pointer, source, nbytes, _HOST_TO_DEVICE, stream)
        if known or self._reads_pages:
            self.runtime.streamSynchronize(stream)

    def download(self, target: HostBytes, pointer: int, stream: _Stream) -> None:
        """Copy to host memory after the stream's work, and wait for it."""
        self.call(self.runtime.memcpyAsync, target.ctypes.data, pointer, target.nbytes, _DEVICE_TO_HOST, stream.whole)
        self.call(self.runtime.streamSynchronize, stream.whole)

    def copy_peer(self, pointer: int, source: int, source_pointer: int, nbytes: int, stream: _Stream) -> None:
        """Put a copy from the memory of another GPU on a stream; without a way between them CUDA goes over the host."""
        copy = self.runtime.memcpyPeerAsync
        self.call(copy, pointer, self.ordinal, source_pointer, source, nbytes, stream.whole)

    def record(self, stream: _Stream) -> _Event:
        """Return an event that happens when all that is on a stream now is done."""
        try:
            handle = self._spare.pop()
        except IndexError:
            handle = self.call(self.runtime.eventCreateWithFlags, _WITHOUT_TIMING)
        event = _Event(handle, self._spare)
        self.call(self.runtime.eventRecord, handle, stream.whole)
        return event

    def wait(self, stream: _Stream, event: _Event) -> None:
        """Let later work of a stream begin after an event, which may be another GPU's."""
        self.call(self.runtime.streamWaitEvent, stream.whole, event.handle)

    def synchronize(self, stream: _Stream) -> None:
        """Wait for all that is on a stream."""
        self.call(self.runtime.streamSynchronize, stream.whole)

    def begin_capture(self) -> _Capture:
        """Return a stream that notes kernels and products and does none of them; it takes nothing else."""
        stream = self.open_stream()
        # Relaxed: other threads may allocate and load meanwhile.
        self.call(self.runtime.streamBeginCapture, stream.handle, _RELAXED)
        return _Capture(stream)

    def end_capture(self, stream: _Capture) -> _Graph:
        """Return what was put on such a stream, ready to be done; it is given back with the object."""
        graph = self.call(self.runtime.streamEndCapture, stream.handle)
        try:
            return _Graph(self, self.call(self.runtime.graphInstantiate, graph))
        finally:
            self.call(self.runtime.graphDestroy, graph)

    def replay(self, graph: _Graph, stream: _Stream) -> None:
        """Put all that was noted on a stream, in its order."""
        self.call(self._replay, graph, stream.whole)

    def _replay(self, graph: _Graph, stream: int) -> None:
        with graph.lock:  # not before `call` has turned a child of a fork away, which may find it taken
            self.runtime.graphLaunch(graph.handle, stream)

    def load(self, image: bytes) -> int:
        """Load device code."""
        return int(self.call(self._driver.moduleLoadData, image))

    def function(self, module: int, name: str, dynamic_shared: int) -> int:
        """Return an entry of a module, allowed so much dynamic shared memory per block."""
        entry = int(self.call(self._driver.moduleGetFunction, module, name))
        with self._lock:  # the same entry may be asked for again with less
            if dynamic_shared > self._allowed.get(entry, _SHARED_UNASKED):
                self.call(self._driver.funcSetAttribute, entry, _MAX_DYNAMIC_SHARED, dynamic_shared)
                self._allowed[entry] = dynamic_shared
        return entry

    def tensor_map(self, pointer: int, tiling: Tiling) -> bytes:
        """Return how the copy engine goes through an array at an address, as a kernel takes it."""
        code, made = self.call(tensor_maps.encoded, tensor_maps.driver_library(), pointer, tiling)
        if code:
            raise CudaError(f"CUDA_ERROR_{code}", f"cuTensorMapEncodeTiled at {pointer:#x}: {tiling}")
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

    def gemm(
        self, product: Gemm, a: int, b: int, c: int, workspace: tuple[int, int], stream: _Stream | _Capture
    ) -> None:
        """Put matrix products by cuBLAS on a stream; *workspace* is memory for this call alone and its bytes.

        Raises:
            MemoryError: cuBLAS has not enough.
        """
        if isinstance(self._blas, str):
            raise CudaError("CUBLAS_STATUS_NOT_INITIALIZED", self._blas)
        self.call(self._blas.gemm, product, a, b, c, workspace, stream.handle)

    def launch(
        self, function: int, grid: Extent, block: Extent, shared: int, stream: _Stream | _Capture, arguments: int
    ) -> None:
        """Put a kernel on a stream; *arguments* is the address of an array with the address of each argument."""
        if self._alone and self._thread.ready and not _process.forked:  # what `call` does, without the price of it
            try:
                self._launch(function, *grid, *block, shared, stream.handle, arguments, 0)
            except self._errors as error:
                raise _translated(error) from error
        else:
            self.call(self._launch, function, *grid, *block, shared, stream.handle, arguments, 0)


def _translated(error: Exception) -> CudaError | MemoryError:
    status = getattr(error, "status", None)
    if status == _OUT_OF_MEMORY:
        return MemoryError("CUDA has none left")
    code, _, message = str(error).partition(": ")
    return CudaError(code, message, sticky=status in _STICKY)
