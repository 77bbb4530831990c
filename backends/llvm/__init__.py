"""LLVM as a backend: code generated for the host's vectors from recipes, in the canonical orders, through llvmlite."""

from __future__ import annotations

from collections.abc import Iterable

from ...plugin import Kernel, hookimpl


@hookimpl
def opmux_kernels() -> Iterable[Kernel]:
    """Return every kernel of this backend; LLVM itself is loaded when the first one is compiled."""
    from .kernels import KERNELS

    return KERNELS
