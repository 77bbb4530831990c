"""``python -m benchmarks.probe_table``: the machine's limits as JSON, on one thread and on all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from opmux.conformance.performance.stats import spread
from opmux.core.devices.host import usable_cpus

from .probes import TRAFFIC, FlopsProbe, TrafficProbe, levels

_DTYPES: Final = ("float32", "float64")


def _physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _rate(probe: FlopsProbe | TrafficProbe, quick: bool) -> dict[str, Any]:
    """Return billions of operations or bytes per second: the best burst is the limit, the median shows the noise."""
    burst, count = (1e-3, 3) if quick else (1e-2, 7)
    once = probe.seconds(1)
    repetitions = max(1, round(burst / max(once, 1e-9)))
    bursts = count if once < 3 * burst else 3
    rates = [probe.work * repetitions / probe.seconds(repetitions) / 1e9 for _ in range(bursts)]
    return {"value": max(rates), "median": spread(rates).median}


def _threads() -> list[int]:
    return sorted({1, usable_cpus()})


def rows(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield one row per probe; ``when`` is for the caller to fill in."""
    for threads in _threads():
        for dtype in _DTYPES:
            flops = FlopsProbe(dtype, threads)
            common = {"name": f"fma {dtype}", "unit": "GFLOP/s", "threads": threads}
            yield {**common, "level": None, "bytes": None, "stores": None, **_rate(flops, quick)}
        for level, size, per_thread in levels(quick):
            nbytes = min(size * (threads if per_thread else 1), _physical_memory() // 8)
            for traffic in TRAFFIC:
                moved = TrafficProbe(traffic, nbytes, threads)
                common = {"name": traffic, "unit": "GB/s", "threads": threads}
                yield {**common, "level": level, "bytes": nbytes, "stores": moved.stores, **_rate(moved, quick)}


if __name__ == "__main__":
    json.dump(list(rows("--quick" in sys.argv)), sys.stdout)
