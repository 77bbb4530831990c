"""Kernels as shared libraries of the host: g++ where there is one, else the C++ compiler that comes with ziglang."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from opmux.backends.cuda.device.runtime import CudaError
from opmux.backends.cuda.source import whole

HERE: Final = Path(__file__).parent
#: No contraction: products and sums round one by one, as for the GPU. No aliasing rules: kernels read bytes as vectors.
#: Hidden: libraries must not share the shared memory of templates that have the same name in two of them.
_FLAGS: Final = (
    "-std=c++17", "-O1", "-march=native", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-fPIC", "-shared",
    "-fno-strict-aliasing", "-fvisibility=hidden", "-w",
)  # fmt: skip


#: Files of instructions, beside the intrinsics of all kernels.
_INSTRUCTIONS: Final = ("mbarrier", "tma", "wgmma")


@functools.cache
def _text(name: str) -> str:
    return (HERE / f"{name}.hpp").read_text(encoding="utf-8")


@functools.cache
def _compiler() -> tuple[str, ...]:
    found = shutil.which("g++")
    # Not its `c++`, which first makes a C++ library of its own: that took a minute of a core, and kernels need none.
    return (found,) if found else (sys.executable, "-m", "ziglang", "cc", "-x", "c++")


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="cuda-on-host-"))


class HostCompiler:
    """Compiles a kernel for the host; an image is the path of a library, as bytes.

    Args:
        replaced: texts of shared files, by name, that are not as they are in the tree: planted faults.
    """

    def __init__(self, replaced: Mapping[str, str] = MappingProxyType({})) -> None:
        self._stand_ins = {name: _text(name) for name in _INSTRUCTIONS} | dict(replaced)

    def image(self, body: str, parts: Sequence[str]) -> bytes:
        text = '#include "cuda_on_host.hpp"\n' + whole(
            body, *parts, intrinsics=_text("intrinsics"), stand_ins=self._stand_ins
        )
        path = _folder() / hashlib.sha256(text.encode()).hexdigest()[:24]
        library = path.with_suffix(".so")
        if not library.exists():
            source, made = path.with_suffix(".cpp"), path.with_suffix(".tmp")
            source.write_text(text, encoding="utf-8")
            command = [*_compiler(), *_FLAGS, "-I", str(HERE), "-o", str(made), str(source)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise CudaError("NVRTC_ERROR_COMPILATION", done.stderr)
            made.replace(library)
        return str(library).encode()
