"""What a measurement depends on: the machine, its load, versions of everything."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from opmux.core.devices.host import cpu_name, usable_cpus

from .pool import ROOT, ignored_settings

_DISTRIBUTIONS: Final = (
    "opmux", "numpy", "llvmlite", "ml_dtypes", "torch", "jax", "jaxlib", "numba", "numexpr", "scipy",
)  # fmt: skip


def load_average() -> list[float]:
    """Return the load averages over 1, 5 and 15 minutes; empty where the system has none."""
    return [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else []


def versions() -> dict[str, str]:
    """Return the versions of what is installed and matters."""
    found = {"python": platform.python_version(), "implementation": sys.implementation.name}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the checkout's commit, with a plus sign where the tree differs from it; None outside of git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def describe() -> dict[str, Any]:
    """Return the machine as plain data; the load is that of now."""
    return {
        "cpu": cpu_name(),
        "cores": usable_cpus(),
        "platform": platform.platform(),
        "load_before": load_average(),
        "load_after": [],
        "commit": commit(),
        "versions": versions(),
        "ignored_settings": ignored_settings(),
    }
