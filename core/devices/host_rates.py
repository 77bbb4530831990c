"""The host's own rates, measured: what the cost model needs to know of ``cpu``.

The probe takes some tens of milliseconds, on first use, and its result is kept in the cache directory, so that
every process on a machine decides by the same numbers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final

import numpy as np

from ..filecache import FileCache, cache_key, cache_root
from .driver import Rates
from .host import usable_cpus

#: Working sets probed, in bytes: within a first and a second-level cache, two that a last level may hold, and beyond.
WORKING_SETS: Final = (1 << 14, 1 << 18, 1 << 22, 1 << 24, 1 << 26)
#: Matrices probed: large ones for all threads, and one so small that BLAS keeps to one thread. Where other work holds a
#: core, threads that wait for each other are slower than one alone (80 times was seen), and that rate would be kept.
_PRODUCTS: Final = (384, 192, 64)
# Part of the key: step it when the probe or the format changes.
_FORMAT: Final = "host-rates-5"


def _best_seconds(action: Callable[[], Any], repeats: int) -> float:
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)  # the best of several: what the machine can do when nothing else runs on it


def _bandwidth(nbytes: int) -> float:
    """Return bytes read and written per second by a copy whose two arrays together are *nbytes*."""
    source = np.ones(nbytes // 2, np.uint8)
    target = np.empty_like(source)
    inner = max(1, (1 << 20) // nbytes)

    def copy() -> None:
        for _ in range(inner):
            np.copyto(target, source)

    return nbytes * inner / _best_seconds(copy, 9)


def _flops(dtype: str) -> float:
    """Return operations per second of a matrix product, the densest arithmetic that the host's NumPy has."""
    return max(_product_flops(dtype, n) for n in _PRODUCTS)


def _product_flops(dtype: str, n: int) -> float:
    a = np.full((n, n), 0.5, dtype)
    out = np.empty_like(a)
    return 2.0 * n**3 / _best_seconds(lambda: np.matmul(a, a, out=out), 9)


def _by_level(found: list[float]) -> tuple[tuple[int, float], ...]:
    """Return the rates of levels from those probed: none is below that of a larger level.

    A smaller working set is only slower where something else ran beside its probe, or by what a call costs.
    """
    best = accumulate(reversed(found), max)
    return tuple(zip((*WORKING_SETS[:-1], 1 << 62), reversed(list(best)), strict=True))


def measure() -> Rates:
    """Return the host's rates, measured now."""
    single, double = _flops("float32"), _flops("float64")
    return Rates(
        flops=(
            ("default", double),
            ("float32", single),
            ("float64", double),
            ("float16", single),
            ("bfloat16", single),
        ),
        bandwidth=_by_level([_bandwidth(size) for size in WORKING_SETS]),
        launch=1e-6,
        source="measured",
    )


def host_rates(cpu: str) -> Rates:
    """Return the rates kept for this machine, measuring them where none, or none that can be read, are kept."""
    root = cache_root()
    if root is None:
        return measure()
    cache, key = FileCache(root / "rates"), cache_key(_FORMAT, cpu, str(usable_cpus()))
    kept = _parsed(cache.get(key))
    if kept is None:
        kept = measure()
        cache.put(key, json.dumps({"flops": kept.flops, "bandwidth": kept.bandwidth, "launch": kept.launch}).encode())
    return kept


def _parsed(content: bytes | None) -> Rates | None:
    try:
        data = json.loads(content or b"")
        flops = tuple((str(k), float(v)) for k, v in data["flops"])
        bandwidth = tuple((int(k), float(v)) for k, v in data["bandwidth"])
        launch = float(data["launch"])
    except (ValueError, KeyError, TypeError):
        return None
    positive = all(v > 0 for _, v in (*flops, *bandwidth)) and launch > 0
    return Rates(flops, bandwidth, launch, "measured") if positive and dict(flops).get("default") else None
