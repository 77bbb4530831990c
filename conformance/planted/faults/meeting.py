"""Where threads of a faulty backend meet, so that a race is lost for certain and not by chance."""

from __future__ import annotations

import threading
from typing import Final

#: Seconds that one thread waits for another, and all threads together: a race needs two.
_EACH: Final = 0.25
_ALL: Final = 5.0


class Meeting:
    """A place in the middle of a race. A thread that comes there waits until another one does, but not for long."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._came = 0
        self._left = _ALL

    def wait(self) -> None:
        """Wait for another thread; the main thread, which has none beside it in most cases, does not."""
        if threading.current_thread() is threading.main_thread():
            return
        with self._changed:
            self._came += 1
            mine = self._came
            self._changed.notify_all()
            limit = min(_EACH, self._left)
            if limit > 0 and not self._changed.wait_for(lambda: self._came > mine, limit):
                self._left -= limit
