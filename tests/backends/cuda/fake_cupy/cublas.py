"""cuBLAS over a fake machine: a real library with its C interface, whose calls are held to its rules.

A handle is of the GPU that was current when it was made; a product needs a stream and a workspace that were set since,
in that order, and no two calls may use a handle at once. What a product reads and writes is live memory.
"""

from __future__ import annotations

import ctypes
import functools
import subprocess
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from tests.backends.cuda.host.compiler import _compiler, _folder

from .machine import FakeCuda, MisuseError, Work

_OBSERVER: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int64))
_ITEMSIZE: Final = {0: 4, 1: 8, 2: 2, 3: 1, 4: 8, 5: 16, 10: 4, 14: 2}


@functools.cache
def _library() -> Path:
    made = _folder() / "libcublas.so.13"
    source = Path(__file__).with_suffix(".cpp")
    subprocess.run([*_compiler(), "-std=c++17", "-O1", "-fPIC", "-shared", "-o", str(made), str(source)], check=True)
    return made


@dataclass(frozen=True)
class Product:
    """A product as cuBLAS was asked for it."""

    transposed: tuple[int, int]
    extents: tuple[int, int, int]
    types: tuple[int, int, int]
    leading: tuple[int, int, int]
    strides: tuple[int, int, int]
    count: int
    compute: int
    factors: tuple[int, int]
    stream: int
    workspace: int


@dataclass
class _Handle:
    device: int
    pointers: int = 1
    math: int = -1
    stream: int | None = None
    workspace: tuple[int, int] | None = None
    thread: int = 0


@dataclass
class FakeCublas:
    """The library's state.

    Attributes:
        cuda: the machine.
        products: all products, in order.
        misuse: what was done that cuBLAS forbids; C lets no exception pass.
    """

    cuda: FakeCuda
    products: list[Product] = field(default_factory=list)
    misuse: list[str] = field(default_factory=list)
    handles: dict[int, _Handle] = field(default_factory=dict)

    def pathfinder(self) -> ModuleType:
        """Return the module that finds libraries; the library found reports to this object."""
        library = ctypes.CDLL(str(_library()))
        self._observer = _OBSERVER(self._called)  # kept: C has only its address
        library.observe(self._observer)
        module = ModuleType("cuda.pathfinder")

        def load_nvidia_dynamic_lib(name: str) -> SimpleNamespace:
            if name != "cublas":
                raise RuntimeError(f"no {name}")
            return SimpleNamespace(abs_path=str(_library()))

        module.load_nvidia_dynamic_lib = load_nvidia_dynamic_lib  # type: ignore[attr-defined]
        return module

    def _called(self, name: bytes, count: int, arguments: Any) -> int:
        call = name.decode()
        with self.cuda.lock:
            status = self.cuda.failing(call)
            if status:
                return status
            try:
                return int(getattr(self, f"_{call.removesuffix('_64').removesuffix('_v2')}")(*arguments[:count]) or 0)
            except MisuseError as error:
                self.misuse.append(f"{call}: {error}")
                return 14

    def _cublasCreate(self, at: int) -> int:
        if self.cuda.captured_elsewhere and self.cuda.thread.captures == 0:
            return 14
        number = self.cuda.number()
        self.handles[number] = _Handle(self.cuda.thread.device)
        ctypes.c_void_p.from_address(at).value = number
        return 0

    def _known(self, handle: int) -> _Handle:
        self.cuda.check(handle in self.handles, f"there is no handle {handle:#x}")
        return self.handles[handle]

    def _cublasSetPointerMode(self, handle: int, mode: int) -> None:
        self._known(handle).pointers = mode

    def _cublasSetMathMode(self, handle: int, mode: int) -> None:
        self._known(handle).math = mode

    def _cublasSetStream(self, handle: int, stream: int) -> None:
        known = self._known(handle)
        self.cuda.check(known.device == self.cuda.thread.device, "a handle of another GPU")
        known.stream, known.workspace, known.thread = stream, None, threading.get_ident()

    def _cublasSetWorkspace(self, handle: int, workspace: int, nbytes: int) -> None:
        self.cuda.check(workspace % 256 == 0, "the workspace is not aligned")
        self._known(handle).workspace = workspace, nbytes

    def _cublasGemmEx(self, handle: int, *rest: int) -> None:
        self._product(handle, *rest)

    _cublasGemmStridedBatchedEx = _cublasGemmEx

    def _product(
        self, handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int, atype: int, lda: int,
        stridea: int, b: int, btype: int, ldb: int, strideb: int, beta: int, c: int, ctype: int, ldc: int,
        stridec: int, count: int, compute: int, algorithm: int,
    ) -> None:  # fmt: skip
        known, check = self._known(handle), self.cuda.check
        check(known.thread == threading.get_ident(), "two threads use a handle at once")
        if known.stream is None or known.workspace is None:
            raise MisuseError("no stream, or no workspace since the stream was set")
        check((known.pointers, known.math, algorithm) == (0, 16, -1), "modes")
        fours = (m, k, lda, ldb, ldc, stridea, strideb, a, b, c)
        check(atype != 3 or all(n % 4 == 0 for n in fours), "bytes that do not come in fours")
        scale = {68: ctypes.c_float, 69: ctypes.c_float, 70: ctypes.c_double, 71: ctypes.c_double, 72: ctypes.c_int}
        factors = tuple(int(scale[compute].from_address(at).value) for at in (alpha, beta))
        uses = [known.workspace]
        for at, rows, columns, leading, stride, of, transposed in (
            (a, m, k, lda, stridea, atype, ta), (b, k, n, ldb, strideb, btype, tb), (c, m, n, ldc, stridec, ctype, 0),
        ):  # fmt: skip
            if transposed:
                rows, columns = columns, rows
            check(leading >= rows, "columns overlap")
            elements = (count - 1) * stride + (columns - 1) * leading + rows
            uses.append((at, elements * _ITEMSIZE[of]))
        product = Product(
            (ta, tb),
            (m, n, k),
            (atype, btype, ctype),
            (lda, ldb, ldc),
            (stridea, strideb, stridec),
            count,
            compute,
            factors,
            known.stream,
            known.workspace[1],
        )
        note = self.products.append
        self.cuda.compute(known.stream, Work(tuple(uses), lambda stream: note(replace(product, stream=stream))))
