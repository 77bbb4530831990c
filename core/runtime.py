"""What a process sets up once: the cpu device at import, the backends on first use."""

from __future__ import annotations

from collections.abc import Callable

from .device import DEVICES, Device
from .locks import held_across_fork
from .memory import CpuDriver

_lock = held_across_fork()
_loaded = False
_loading = False


def open_cpu() -> None:
    """Put the cpu device in place."""
    DEVICES.add(Device(CpuDriver(), 0, "opmux", is_host=True))


def ensure_loaded() -> None:
    """Load every usable backend, once; a broken one is quarantined and hurts nobody."""
    if not _loaded:
        load_once(_load_all)


def _load_all() -> None:
    from .plugins import manager  # imported under the lock: a fork in the middle of an import leaves it half done

    manager.load_all()


def load_once(load: Callable[[], object]) -> None:
    """Call *load* unless the backends are loaded or being loaded; other threads wait here until they are."""
    global _loaded, _loading  # noqa: PLW0603 - the process loads its backends once
    with _lock:
        if _loaded or _loading:  # a plugin that calls opmux while it is being loaded sees what there is so far
            return
        _loading = True
        try:
            load()
            _loaded = True
        finally:  # after an interrupt the next call tries again
            _loading = False


open_cpu()
