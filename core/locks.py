"""Locks of the process that survive ``fork``."""

from __future__ import annotations

import os
import threading
from enum import IntEnum
from typing import Final


class Order(IntEnum):
    """In which order a thread may hold several: a lock is taken only while those held come before it."""

    MEASURING = 0  # threads that measured at once would measure each other, and a fork inside of BLAS may hang
    TABLE = 1  # tables of the process; while one is held nothing else is taken but memory
    MEMORY = 2  # the collector may free an array, hence take this, while any other is held


_locks: Final[list[tuple[Order, threading.RLock]]] = []
_in_fork: Final[list[threading.RLock]] = []


def held_across_fork(order: Order) -> threading.RLock:
    """Return a reentrant lock that every ``fork`` holds.

    Without it, a child that is forked while another thread holds the lock waits forever for a thread that it does not
    have, and may see the half-made change that the lock was for. For locks that live as long as the process, and under
    which no code of anybody else runs: a fork also holds locks of the standard library, which such code might want.
    """
    made = threading.RLock()
    _locks.append((order, made))
    _locks.sort(key=lambda pair: pair[0])
    return made


def _acquire_all() -> None:
    taken = [lock for _, lock in _locks]
    for lock in taken:
        lock.acquire()
    _in_fork[:] = taken


def _release_all() -> None:
    for lock in reversed(_in_fork):
        lock.release()


os.register_at_fork(before=_acquire_all, after_in_parent=_release_all, after_in_child=_release_all)
