"""The machine that code is generated for: CPU name, features, vector width, registers, cache sizes.

llvmlite is imported on first use only, so that importing this package stays cheap.
"""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

_CPU_CACHE_DIRECTORY: Final = Path("/sys/devices/system/cpu/cpu0/cache")

_initialise_lock: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class CacheSizes:
    """Data cache sizes in bytes: `l1` and `l2` of one core, `l3` of the whole socket (0 where there is none)."""

    l1: int
    l2: int
    l3: int


# Small enough that blocks chosen from them still fit the caches of any x86-64 or aarch64 server core.
_CONSERVATIVE_CACHES: Final = CacheSizes(l1=32 << 10, l2=256 << 10, l3=0)


@dataclass(frozen=True, slots=True)
class Target:
    """What a code generator must know of the machine.

    `features` is LLVM's flattened list (`+avx2,-amx-fp8`); `vector_bytes` the widest vector that has
    registers of its own; `vector_registers` how many of those there are; `fma` whether the machine has a
    fused multiply-add instruction (without one `llvm.fma` becomes a correct but slow library call).
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    fma: bool
    caches: CacheSizes
    llvm_version: str
    llvmlite_version: str

    def lanes(self, element_bytes: int) -> int:
        """Elements of `element_bytes` bytes in one vector."""
        return self.vector_bytes // element_bytes

    def with_vectors(self, vector_bytes: int, vector_registers: int) -> Target:
        """The same machine, but code for it uses `vector_bytes` wide vectors and so many registers.

        Results must not depend on the vector width; tests compare narrow code with wide code by this.
        """
        return replace(self, vector_bytes=vector_bytes, vector_registers=vector_registers)


@functools.cache
def llvm() -> Any:
    """`llvmlite.binding` with the native target initialised; thread safe, imported on the first call."""
    import llvmlite.binding as binding

    with _initialise_lock:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    return binding


@functools.cache
def host_target() -> Target:
    """The machine that this process runs on."""
    import llvmlite

    binding = llvm()
    features: dict[str, bool] = dict(binding.get_host_cpu_features())
    triple = str(binding.get_process_triple())
    vector_bytes, vector_registers, fma = vector_unit(triple, features)
    # LLVM's tuning for several AVX-512 CPUs prefers 256-bit vectors in the auto-vectoriser.
    if vector_bytes == 64:
        features["prefer-256-bit"] = False
    return Target(
        triple=triple,
        cpu=str(binding.get_host_cpu_name()),
        features=",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(features.items())),
        vector_bytes=vector_bytes,
        vector_registers=vector_registers,
        fma=fma,
        caches=cache_sizes(),
        llvm_version=".".join(str(part) for part in binding.llvm_version_info),
        llvmlite_version=str(llvmlite.__version__),
    )


def vector_unit(triple: str, features: dict[str, bool]) -> tuple[int, int, bool]:
    """(vector bytes, vector registers, has fma) of a machine with these LLVM features.

    >>> vector_unit("x86_64-unknown-linux-gnu", {"avx2": True, "fma": True})
    (32, 16, True)
    """
    if triple.startswith("aarch64"):
        return 16, 32, True
    fma = features.get("fma", False)
    if features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq"):
        return 64, 32, fma
    if features.get("avx2"):
        return 32, 16, fma
    return 16, 16, fma


def cache_sizes(directory: Path = _CPU_CACHE_DIRECTORY) -> CacheSizes:
    """Data cache sizes from sysfs, then from sysconf; conservative values where neither answers."""
    found = {1: 0, 2: 0, 3: 0}
    try:
        entries = sorted(directory.glob("index*"))
        for entry in entries:
            level = int((entry / "level").read_text())
            if (entry / "type").read_text().strip() != "Instruction" and level in found:
                found[level] = max(found[level], _parse_size((entry / "size").read_text()))
    except (OSError, ValueError):
        pass
    return CacheSizes(
        l1=found[1] or _sysconf("SC_LEVEL1_DCACHE_SIZE") or _CONSERVATIVE_CACHES.l1,
        l2=found[2] or _sysconf("SC_LEVEL2_CACHE_SIZE") or _CONSERVATIVE_CACHES.l2,
        l3=found[3] or _sysconf("SC_LEVEL3_CACHE_SIZE") or _CONSERVATIVE_CACHES.l3,
    )


def _parse_size(text: str) -> int:
    text = text.strip()
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    return int(text.rstrip("KMGkmg")) * unit


def _sysconf(name: str) -> int:
    try:
        return max(os.sysconf(name), 0)
    except (OSError, ValueError):
        return 0
