"""NumPy as a backend: every primitive on every dtype, and the host's BLAS as a contender.

What NumPy computes right is one row with its ufunc. For the rest the recipe of the op is interpreted, which is slow and
gives the canonical bits.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...plugin import Kernel, hookimpl


@hookimpl
def opmux_kernels() -> Iterable[Kernel]:
    """Return every kernel of this backend."""
    from . import collectives, contraction, creation, elementwise, movement, reductions

    return (
        *elementwise.KERNELS,
        *reductions.KERNELS,
        *contraction.KERNELS,
        *movement.KERNELS,
        *creation.KERNELS,
        *collectives.KERNELS,
    )


@hookimpl
def opmux_profiles() -> tuple[str, ...]:
    """Return the names of the profiles that it passes: all there are."""
    return ("core-f32", "core-f16", "core-bf16", "core-int8", "core-f64", "complex", "full", "collectives", "async")
