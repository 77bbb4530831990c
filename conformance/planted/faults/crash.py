"""What takes the process down, or keeps it for ever."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Final

from ...results.outcome import Outcome
from ..fault import Family
from ..twin.call import Call

FAMILY: Final = Family("crash")
_NUMBER: Final = "exp-float32-shapes-0d"


def _is_number(call: Call) -> bool:
    call.finish()
    return call.out.ndim == 0


@FAMILY.plant("segfault", "exp", _NUMBER, outcome=Outcome.CRASH, says="SIGSEGV", isolate=True)
def segfault(call: Call) -> None:
    """The shape of an array without axes is read through a null pointer."""
    if _is_number(call):
        ctypes.string_at(0)


@FAMILY.plant("abort", "exp", _NUMBER, outcome=Outcome.CRASH, says="SIGABRT", isolate=True)
def abort(call: Call) -> None:
    """An assertion of the library fails and aborts."""
    if _is_number(call):
        os.abort()


@FAMILY.plant("divide-trap", "floor_divide", "floor_divide-int32-values",
              outcome=Outcome.CRASH, says="SIGFPE", isolate=True)  # fmt: skip
def divide_trap(call: Call) -> None:
    """The smallest integer divided by -1 traps, as the instruction of x86 does."""
    x, y = call.ins
    call.finish()
    if x.dtype.kind == "i" and ((y == -1) & (x == -(2 ** (8 * x.itemsize - 1)))).any():
        os.kill(os.getpid(), signal.SIGFPE)


@FAMILY.plant("out-of-memory", "sum", "sum-float32-large-rows", outcome=Outcome.CRASH, says="SIGKILL", isolate=True)
def out_of_memory(call: Call) -> None:
    """A table is allocated per row, and the system ends the process."""
    call.finish()
    if call.out.size > 1 << 16:
        os.kill(os.getpid(), signal.SIGKILL)


@FAMILY.plant("exits", "exp", _NUMBER, outcome=Outcome.CRASH, says="exit status 0", isolate=True)
def exits(call: Call) -> None:
    """The library ends the process as if all were well."""
    if _is_number(call):
        os._exit(0)


@FAMILY.plant("exits-by-exception", "exp", _NUMBER, outcome=Outcome.CRASH, says="exit status 3", isolate=True)
def exits_by_exception(call: Call) -> None:
    """A script that was wrapped ends with sys.exit."""
    if _is_number(call):
        sys.exit(3)


@FAMILY.plant("hang", "exp", _NUMBER, outcome=Outcome.TIMEOUT, isolate=True, limit=3.0)
def hang(call: Call) -> None:
    """A loop over axes never ends where there are none."""
    if _is_number(call):
        time.sleep(600)


@FAMILY.plant(
    "deadlock", "negative", "negative-float32-shapes-lengths", outcome=Outcome.TIMEOUT, isolate=True, limit=3.0
)
def deadlock(call: Call) -> None:
    """A lock is taken for a line longer than a block while it is held, by a kernel that calls itself."""
    call.finish()
    if call.out.size > 1000:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
