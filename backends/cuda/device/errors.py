"""What CUDA answers, in this backend's terms: numbers and CuPy's exceptions become typed errors.

Numbers: CUDA runtime API, ``cudaError``; the driver API has the same ones.
"""

from __future__ import annotations

from typing import Final

from .runtime import CudaError

OUT_OF_MEMORY: Final = 2
INSUFFICIENT_DRIVER: Final = 35
NO_DEVICE: Final = 100
#: Errors after which "the process must be terminated and relaunched" or the GPU is gone: ECC 214, NVLink 220, illegal
#: address 700, timeout 702, context destroyed 709, assertion 710, hardware stack 714, illegal instruction 715,
#: misaligned address 716, address space 717, program counter 718, launch failure 719, tensor memory 721, contained 226,
#: devices unavailable 46, MPS client terminated 810, external device 911.
STICKY: Final = frozenset({46, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911})


def translated(error: Exception) -> CudaError | MemoryError:
    """Return what an exception of CuPy's bindings says."""
    status = getattr(error, "status", None)
    if status == OUT_OF_MEMORY:
        return MemoryError("CUDA has none left")
    code, _, message = str(error).partition(": ")
    return CudaError(code, message, sticky=status in STICKY)


def check(status: int, what: str) -> None:
    """Raise what a function of the driver's library returned, where that is no success.

    Args:
        status: what it returned.
        what: was asked of it.
    """
    if status == OUT_OF_MEMORY:
        raise MemoryError(f"CUDA has none left: {what}")
    if status:
        raise CudaError(f"CUDA_ERROR_{status}", what, sticky=status in STICKY)
