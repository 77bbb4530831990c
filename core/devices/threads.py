"""A small pool of threads that run native calls side by side.

`ctypes` releases the interpreter's lock during a call, so Python threads are enough. Work is cut into
parts by the caller, in a way that no bit of the result depends on; the pool only runs them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from ..errors import ArgumentError
from .host import usable_cpus

Task: TypeAlias = Callable[[], object]
_MOST_DIGITS: Final = 9
_PATIENCE_SECONDS: Final = 0.05


def thread_count() -> int:
    """How many threads a call may use: `OPMUX_NUM_THREADS`, else the CPUs that this process may run on.

    Raises ArgumentError, a ValueError, where the variable is not a positive whole number.
    """
    text = os.environ.get("OPMUX_NUM_THREADS", "")
    if not text:
        return usable_cpus()
    # Python refuses to read integers of thousands of digits, in an error of its own.
    if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) < 1:
        raise ArgumentError(
            f"OPMUX_NUM_THREADS={text[:40]!r} is not a number of threads; give a whole number of at least 1, "
            f"or unset it",
            variable="OPMUX_NUM_THREADS",
            value=text,
        )
    return int(text)


def run_all(tasks: Sequence[Task]) -> None:
    """Run every task, here and in the pool, and return when all are done. Raises what a failed one raised, after all.

    An interrupt gives up the tasks that have not begun, and comes out when the others are done: they write to memory of
    the caller, which is free as soon as this returns. May be called from several threads at once, also by a task.
    """
    if len(tasks) == 1:
        tasks[0]()
        return
    call = _Call(tasks)
    late: BaseException | None = None
    try:
        _pool.wake(call, len(tasks) - 1)
        call.work()
    finally:
        call.tasks.clear()
        while call.is_running():
            try:
                call.wait()
            except BaseException as error:
                late = error
    if late is not None:
        raise late
    if call.failures:
        raise call.failures[0]


class _Call:
    """Tasks of one call, which the caller and workers take until none is left.

    Attributes:
        tasks: not begun.
        failures: what failed tasks raised.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = deque(tasks)
        self.failures: list[BaseException] = []
        self._entered: list[None] = []
        self._left: list[None] = []
        self._signal: SimpleQueue[None] = SimpleQueue()

    def work(self) -> None:
        """Run tasks until none is left."""
        while True:
            try:
                task = self.tasks.popleft()
            except IndexError:
                return
            try:
                task()
            except Exception as error:
                self.failures.append(error)

    def help(self) -> None:
        """Do the same in a worker, and say so before the first task is taken and after the last."""
        self._entered.append(None)
        try:
            self.work()
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._left.append(None)
            self._signal.put(None)

    def is_running(self) -> bool:
        """Return whether a worker is in the middle of a task. Once no task is left, no other begins."""
        return len(self._left) < len(self._entered)

    def wait(self) -> None:
        """Return when a worker has left, or after a while: an interrupt may have swallowed the signal."""
        with suppress(Empty):
            self._signal.get(timeout=_PATIENCE_SECONDS)


class _Pool:
    """Worker threads, started as they are needed and kept."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._workers = 0
        self._calls: SimpleQueue[_Call] = SimpleQueue()

    def wake(self, call: _Call, count: int) -> None:
        """Offer a call to so many workers. Where no more threads can be started, fewer do it, or the caller alone."""
        with self._lock, suppress(RuntimeError):
            while self._workers < count:
                name = f"opmux-worker-{self._workers + 1}"
                threading.Thread(target=_serve, args=(self._calls,), name=name, daemon=True).start()
                self._workers += 1
        for _ in range(count):
            self._calls.put(call)


def _serve(calls: SimpleQueue[_Call]) -> None:
    while True:
        calls.get().help()


_pool: Final = _Pool()
# A child of `fork` has none of the workers, and must not inherit a lock held by a thread that it lacks.
os.register_at_fork(after_in_child=_pool.__init__)  # type: ignore[misc]
