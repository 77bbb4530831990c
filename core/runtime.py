"""What a process sets up once: the cpu device at import, the backends on first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .devices.device import DEVICES, Device
from .devices.memory import CpuDriver
from .errors import PluginError

_lock = threading.RLock()
_loaded = False
_loader: int | None = None  # the thread that is loading
_orphaned = False


def open_cpu() -> None:
    """Put the host in place, as one device or as several."""
    driver = CpuDriver()
    for index in range(driver.devices):
        DEVICES.add(Device(driver, index, "opmux", is_host=True))


@contextmanager
def several_hosts(count: int) -> Iterator[tuple[Device, ...]]:
    """Make the host so many devices for the time of a block, where it is fewer; meshes are tried on them.

    Yields:
        the first *count* devices of the host.
    """
    hosts = [d for d in DEVICES if d.is_host]
    made = [Device(hosts[0].driver, index, "opmux", is_host=True) for index in range(len(hosts), count)]
    for device in made:
        DEVICES.add(device)
    try:
        yield tuple((*hosts, *made)[:count])
    finally:
        for device in made:
            DEVICES.remove(device.name)


def ensure_loaded() -> None:
    """Load every usable backend, once; a broken one is quarantined and hurts nobody.

    Raises:
        PluginError: in a process that was forked while another thread was loading.
    """
    if not _loaded:
        load_once(_load_all)


def _load_all() -> None:
    from .plugins import manager  # under the lock, so that a fork in the middle of the import is noticed

    manager.load_all()


def load_once(load: Callable[[], object]) -> None:
    """Call *load* unless the backends are loaded or being loaded; other threads wait here until they are."""
    global _loaded, _loader  # noqa: PLW0603 - the process loads its backends once
    if _orphaned:
        raise PluginError(
            "this process was forked while another thread was loading the backends, so it has half of them; call "
            "opmux.devices() before starting threads and processes, or start processes with the 'spawn' method"
        )
    with _lock:
        if _loaded or _loader is not None:
            return  # a plugin that calls opmux while it is being loaded sees what there is so far
        _loader = threading.get_ident()
        try:
            load()
            _loaded = True
        finally:  # after an interrupt the next call tries again
            _loader = None


def _after_fork_in_child() -> None:
    # The thread that holds the lock, and those of half-imported modules, is not in the child: waiting would be forever.
    global _orphaned  # noqa: PLW0603
    _orphaned = _loader is not None and _loader != threading.get_ident()


os.register_at_fork(after_in_child=_after_fork_in_child)
open_cpu()
