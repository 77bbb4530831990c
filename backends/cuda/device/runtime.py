"""What this backend asks of CUDA, and nothing else of it.

:mod:`.cupy_runtime` answers through CuPy. The tests answer on the host, and with a recorder that checks every call; so
all that is above runs without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ....plugin import HostBytes
from .tensor_maps import Tiling

Stream = Any
Event = Any
Module = Any
Function = Any
Graph = Any
Extent = tuple[int, int, int]


class CudaError(RuntimeError):
    """A CUDA call failed.

    Attributes:
        code: what CUDA returned, by name, such as ``"cudaErrorLaunchFailure"``.
        message: what else is known.
        sticky: whether every later call of this process on the device fails too.
    """

    def __init__(self, code: str, message: str, *, sticky: bool = False) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.sticky = sticky


class ForkedError(CudaError):
    """CUDA was started before this process was forked, and does not follow it."""

    def __init__(self, message: str) -> None:
        super().__init__("cudaErrorInitializationError", message, sticky=True)


@dataclass(frozen=True, slots=True)
class Properties:
    """What a GPU says of itself.

    Attributes:
        name: the product's name.
        capability: the compute capability, (major, minor).
        memory: bytes.
        multiprocessors: how many.
        clock: of the multiprocessors, in Hz.
        bandwidth: of its memory, in bytes per second, by bus width and memory clock.
        cache: bytes of the second-level cache.
    """

    name: str
    capability: tuple[int, int]
    memory: int
    multiprocessors: int
    clock: float
    bandwidth: float
    cache: int


class Compiler(Protocol):
    """Makes device code from kernels."""

    def image(self, body: str, parts: Sequence[str]) -> bytes:
        """Compile a kernel with the shared files that it uses, or find what was compiled before.

        Raises:
            CudaError: the compiler refuses it, with what it printed.
        """


@dataclass(frozen=True, slots=True)
class Gemm:
    """Products C[i] = A[i] B[i] of a batch, all matrices by columns, in elements.

    Attributes:
        dtypes: of the operands, and of the result.
        transposed: whether A and B are read as their transposes.
        extents: rows of C, columns of C, terms.
        leading: from a column to the next, of A, B and C as they lie.
        steps: from a matrix to the next, of A, B and C.
        count: how many.
    """

    dtypes: tuple[str, str]
    transposed: tuple[bool, bool]
    extents: tuple[int, int, int]
    leading: tuple[int, int, int]
    steps: tuple[int, int, int]
    count: int


class Watch(Protocol):
    """What is known of a GPU that may be lost."""

    @property
    def lost(self) -> str | None:
        """How it was lost, if it was."""

    def failure(self, error: CudaError) -> Exception:
        """Return what an error of CUDA is reported as."""


#: Puts a kernel on a stream.
Put = Callable[[Stream], None]


class Runtime(Protocol):
    """One GPU. All sizes are bytes, all pointers device addresses; every method may be called from any thread.

    Every method raises :class:`CudaError` for what CUDA reports.
    """

    @property
    def properties(self) -> Properties:
        """What the GPU says of itself."""

    @property
    def ordinal(self) -> int:
        """The number by which CUDA knows it in this process."""

    @property
    def compiler(self) -> Compiler:
        """What makes code for this GPU."""

    def open_stream(self) -> Stream:
        """Return a stream that orders itself with no other one."""

    def stream_handle(self, stream: Stream) -> int:
        """Return a stream as CUDA's own libraries take it."""

    def allocate(self, nbytes: int, stream: Stream) -> int:
        """Return memory that later work of a stream may use, aligned to 256.

        Raises:
            MemoryError: it does not fit.
        """

    def release(self, pointer: int, stream: Stream) -> None:
        """Give memory back once all that is on a stream now is done."""

    def trim(self) -> None:
        """Give memory that was released, and is kept for later, back to the device."""

    def upload(self, pointer: int, source: HostBytes, stream: Stream) -> None:
        """Copy from host memory, which may be written again when this returns."""

    def download(self, target: HostBytes, pointer: int, stream: Stream) -> None:
        """Copy to host memory after the stream's work, and wait for it."""

    def copy_peer(self, pointer: int, source: int, source_pointer: int, nbytes: int, stream: Stream) -> None:
        """Put a copy from the memory of another GPU, given by its number, on a stream of this one."""

    def record(self, stream: Stream) -> Event:
        """Return an event that happens when all that is on a stream now is done."""

    def wait(self, stream: Stream, event: Event) -> None:
        """Let later work of a stream begin after an event, which may be another GPU's."""

    def synchronize(self, stream: Stream) -> None:
        """Wait for all that is on a stream."""

    def load(self, image: bytes) -> Module:
        """Load device code."""

    def function(self, module: Module, name: str, dynamic_shared: int) -> Function:
        """Return an entry of a module, allowed so much dynamic shared memory per block."""

    def tensor_map(self, pointer: int, tiling: Tiling) -> bytes:
        """Return how the copy engine goes through an array at an address, as a kernel takes it."""

    def begin_capture(self) -> Stream:
        """Return a stream that notes kernels and products and does none of them; it takes nothing else."""

    def end_capture(self, stream: Stream) -> Graph:
        """Return what was put on such a stream, ready to be done; it is given back with the object."""

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Put all that was noted on a stream, in its order."""

    def lacks_blas(self) -> str | None:
        """Return why there is no cuBLAS; None where there is."""

    def gemm(self, product: Gemm, a: int, b: int, c: int, workspace: tuple[int, int], stream: Stream) -> None:
        """Put matrix products by cuBLAS on a stream; *workspace* is memory for this call alone and its bytes.

        Raises:
            MemoryError: cuBLAS has not enough.
        """

    def launch(
        self, function: Function, grid: Extent, block: Extent, shared: int, stream: Stream, arguments: int
    ) -> None:
        """Put a kernel on a stream; *arguments* is the address of an array with the address of each argument."""


class WatchedRuntime(Runtime, Protocol):
    """One GPU whose loss is told, and that has launches ready."""

    def launching(self, function: Function, grid: Extent, block: Extent, shared: int, arguments: int) -> Put:
        """Return what makes a launch again and again, as :meth:`~Runtime.launch` does, but for less."""
