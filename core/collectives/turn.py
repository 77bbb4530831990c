"""One call at a time on a mesh: a lock, and how one that was left behind is told from one that a call holds.

A turn is a plain lock that is taken and given back by hand, since what else would close the gap between the taking and
``try`` takes longer. So an interrupt in that gap leaves it taken, as a fork does while another thread is in a call: in
the child nobody will give it back. Whoever holds a turn has it in a local variable named ``turn`` of a function that
runs, so where it is found taken the stacks of all threads say whether a call still has it.
"""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Final

_NAME: Final = "turn"


def is_held(lock: threading.Lock, asking: FrameType) -> bool:
    """Return whether a function that runs in any thread holds a turn, or is about to take it.

    Args:
        lock: the turn.
        asking: the function that wants to know, which has it in a variable too.
    """
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None:
            if frame is not asking and _NAME in frame.f_code.co_varnames and frame.f_locals.get(_NAME) is lock:
                return True
            frame = frame.f_back
    return False
