"""What a process sets up once: the cpu device at import, the backends on first use."""

from __future__ import annotations

import threading

from .device import DEVICES, Device
from .memory import CpuDriver

_lock = threading.RLock()
_loaded = False
_loading = False


def open_cpu() -> None:
    """Put the cpu device in place."""
    DEVICES.add(Device(CpuDriver(), 0, "opmux", is_host=True))


def ensure_loaded() -> None:
    """Load every usable backend, once; a broken one is quarantined and hurts nobody."""
    global _loaded, _loading  # noqa: PLW0603 - the process loads its backends once
    if _loaded:
        return
    with _lock:  # other threads wait here until the backends are there
        if _loaded or _loading:  # a plugin that calls opmux while it is being loaded sees what there is so far
            return
        _loading = True
        from .plugins import manager

        manager.load_all()
        _loaded = True


open_cpu()
