"""Kernels to device code: NVRTC, called directly, so that a machine without a GPU and without CuPy compiles as well.

The library comes with the package ``nvidia-cuda-nvrtc``; a CUDA toolkit's own serves where that is not installed. Its
functions and codes: NVRTC documentation, and ``nvrtc.h`` of that package.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.util
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ....plugin import DeviceError, FileCache, cache_key, cache_root
from ..device.runtime import CudaError
from ..source import whole
from .targets import Target

#: Rounding is that of the text: no contraction, no flushing, division and square root rounded correctly. The last three
#: are NVRTC's defaults, said so that no later version changes a bit. Nothing outside of the text is read.
FLAGS: Final = (
    "-std=c++17", "-default-device", "-fmad=false", "-ftz=false", "-prec-div=true", "-prec-sqrt=true",
    "-no-source-include",
)  # fmt: skip
_LIMIT_BYTES: Final = 256 << 20
#: ``nvrtcResult``, by number.
_RESULTS: Final = {
    0: "NVRTC_SUCCESS", 1: "NVRTC_ERROR_OUT_OF_MEMORY", 2: "NVRTC_ERROR_PROGRAM_CREATION_FAILURE",
    3: "NVRTC_ERROR_INVALID_INPUT", 4: "NVRTC_ERROR_INVALID_PROGRAM", 5: "NVRTC_ERROR_INVALID_OPTION",
    6: "NVRTC_ERROR_COMPILATION", 7: "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE", 11: "NVRTC_ERROR_INTERNAL_ERROR",
}  # fmt: skip
_MISSING: Final = "NVRTC, the compiler of CUDA C++ at run time, is not installed: pip install 'opmux[cuda]'"

# One program at a time, and none while a fork is made: the child could not end what another thread has begun.
_lock: Final = threading.RLock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What NVRTC made.

    Attributes:
        image: the cubin.
        log: what it printed.
    """

    image: bytes
    log: str


class NvrtcCompiler:
    """Compiles for one target, and remembers on disk what was compiled.

    Args:
        target: the architecture.
        cache: where to remember; None where the environment wants no files.
    """

    def __init__(self, target: Target, cache: FileCache | None = None) -> None:
        self.target = target
        self._cache = cache

    def image(self, body: str, parts: Sequence[str]) -> bytes:
        """Compile a kernel with the shared files that it uses, or find what was compiled before.

        Raises:
            CudaError: NVRTC refuses it, with what it printed.
            DeviceError: there is no NVRTC.
        """
        text = whole(body, *parts)
        if self._cache is None:
            return compiled(text, self.target).image
        # The host's architecture is no part: the same text gives the same cubin everywhere.
        key = cache_key("cubin", text, self.target.name, *map(str, version()), *FLAGS)
        found = self._cache.get(key)
        if found is None:
            found = compiled(text, self.target).image
            self._cache.put(key, found)
        return found


@functools.cache
def _cache_in(root: Path) -> FileCache:
    return FileCache(root / "cubins", _LIMIT_BYTES)


def default_cache() -> FileCache | None:
    """Return the cache that the environment asks for now, one object per directory; None under ``OPMUX_CACHE=0``."""
    root = cache_root()
    return None if root is None else _cache_in(root)


def compiled(text: str, target: Target, options: Sequence[str] = ()) -> Compiled:
    """Compile a translation unit.

    Args:
        text: CUDA C++.
        target: the architecture.
        options: flags beside :data:`FLAGS`.

    Raises:
        CudaError: NVRTC refuses it, with what it printed.
        DeviceError: there is no NVRTC.
    """
    nvrtc = _library()
    flags = [f"-arch={target.name}".encode(), *(f.encode() for f in (*FLAGS, *options))]
    program = ctypes.c_void_p()
    with _lock:
        _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None), "")
        try:
            result = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
            log = _answer(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
            printed = log.rstrip(b"\0").decode(errors="replace").strip()
            _check(result, f"for {target.name}: {printed}")
            image = _answer(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        finally:
            nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return Compiled(image, printed)


@functools.cache
def version() -> tuple[int, int]:
    """Return NVRTC's version.

    Raises:
        DeviceError: there is no NVRTC.
    """
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "")
    return major.value, minor.value


def library_path() -> str:
    """Return the file of NVRTC, or the name under which the loader finds it.

    Raises:
        DeviceError: there is none, and how to get it.
    """
    found = [p for folder in _folders() for p in folder.glob("libnvrtc.so.*") if p.suffix[1:].isdigit()]
    if found:
        return str(max(found, key=lambda p: int(p.suffix[1:])))
    name = ctypes.util.find_library("nvrtc")
    if name is None:
        raise DeviceError(_MISSING)
    return name


def _folders() -> list[Path]:
    """Return where NVIDIA's packages put libraries: ``nvidia/cu13/lib`` now, ``nvidia/cuda_nvrtc/lib`` before."""
    spec = importlib.util.find_spec("nvidia")
    roots = [] if spec is None else map(Path, spec.submodule_search_locations or ())
    return [folder for root in roots for folder in root.glob("cu*/lib")]


@functools.cache
def _library() -> ctypes.CDLL:
    path = library_path()
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise DeviceError(f"NVRTC cannot be loaded: {error}; reinstall it: pip install 'opmux[cuda]'") from error


def _answer(size: Callable[..., int], fill: Callable[..., int], program: ctypes.c_void_p) -> bytes:
    nbytes = ctypes.c_size_t()
    _check(size(program, ctypes.byref(nbytes)), "")
    buffer = ctypes.create_string_buffer(max(nbytes.value, 1))
    _check(fill(program, buffer), "")
    return buffer.raw[: nbytes.value]


def _check(result: int, message: str) -> None:
    if result:
        raise CudaError(_RESULTS.get(result, f"nvrtcResult {result}"), message)
