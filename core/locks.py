"""Locks of the process that survive ``fork``."""

from __future__ import annotations

import os
import threading


def held_across_fork() -> threading.RLock:
    """Return a reentrant lock that every ``fork`` holds.

    Without it, a child that is forked while another thread holds the lock waits forever for a thread that it does not
    have, and may see the half-made change that the lock was for. For locks that live as long as the process.
    """
    made = threading.RLock()
    os.register_at_fork(before=made.acquire, after_in_parent=made.release, after_in_child=made.release)
    return made
