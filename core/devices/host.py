"""The machine that the process runs on: its processor's name, and how much of it the process may use."""

from __future__ import annotations

import os
import platform


def cpu_name() -> str:
    """Return the processor's name, for people and for the keys of what was measured on it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cpus() -> int:
    """Return how many CPUs this process may use, at least 1; in a container or under ``taskset`` fewer than there are.

    >>> usable_cpus() >= 1
    True
    """
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1
