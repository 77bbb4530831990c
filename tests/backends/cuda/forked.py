"""A child of ``fork``, and what it answers."""

from __future__ import annotations

import os
import select
import signal
import warnings
from collections.abc import Callable

#: Seconds until a child counts as hung.
PATIENCE = 60


def in_child(call: Callable[[], object]) -> str:
    """Return what a call gives in a child of this process, as text; or what it raises there."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork in a process with threads
        child = os.fork()
    if child == 0:
        try:
            said = str(call())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    try:
        if not select.select([read], [], [], PATIENCE)[0]:
            os.kill(child, signal.SIGKILL)
            return "hung"
        return os.read(read, 1 << 16).decode()
    finally:
        os.close(read)
        os.waitpid(child, 0)
