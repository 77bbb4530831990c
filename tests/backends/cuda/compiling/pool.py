"""Compilations side by side. NVRTC compiles one program of a process at a time, so it takes several processes."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor

from opmux.backends.cuda.compiling.cubin import Resources, resources
from opmux.backends.cuda.compiling.nvrtc import NvrtcCompiler, default_cache
from opmux.backends.cuda.compiling.targets import TARGETS
from opmux.backends.cuda.device.runtime import CudaError
from opmux.backends.cuda.products import wgmma_kernels
from opmux.core.devices.host import usable_cpus

#: A text, its shared parts, the name of a target.
Job = tuple[str, tuple[str, ...], str]


def targets_for(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the targets that a text is for, by the shared parts that it uses.

    >>> targets_for(("elementwise",))[:2], targets_for(wgmma_kernels.PARTS)
    (('sm_80', 'sm_86'), ('sm_90a',))
    """
    return (wgmma_kernels.TARGET,) if "wgmma" in parts else tuple(TARGETS)


def compile_one(job: Job) -> dict[str, Resources] | str:
    """Return what each entry of a kernel needs, or what the compiler said; the cubin stays in the cache."""
    body, parts, target = job
    try:
        return resources(NvrtcCompiler(TARGETS[target], default_cache()).image(body, parts))
    except CudaError as error:
        return str(error)


def compile_all(jobs: Iterable[Job]) -> dict[Job, dict[str, Resources] | str]:
    """Compile on every core, each job once."""
    each = list(dict.fromkeys(jobs))
    return dict(zip(each, _pool().map(compile_one, each, chunksize=4), strict=True))


@functools.cache
def _pool() -> ProcessPoolExecutor:
    # Not forked: the process that tests has threads, and locks that a child would find taken.
    return ProcessPoolExecutor(usable_cpus(), multiprocessing.get_context("spawn"))
