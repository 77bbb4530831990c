"""A small pool of threads that run native calls side by side.

`ctypes` releases the interpreter's lock during a call, so Python threads are enough. Work is cut into
parts by the caller, in a way that no bit of the result depends on; the pool only runs them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final, TypeAlias

from ...plugin import ArgumentError

Task: TypeAlias = Callable[[], object]
_MOST_DIGITS: Final = 9
_Answers: TypeAlias = "SimpleQueue[BaseException | None]"


def thread_count() -> int:
    """How many threads a call may use: `OPMUX_NUM_THREADS`, else the CPUs that this process may run on.

    Raises ArgumentError, a ValueError, where the variable is not a positive whole number.
    """
    text = os.environ.get("OPMUX_NUM_THREADS", "")
    if not text:
        return _available_cpus()
    # Python refuses to read integers of thousands of digits, in an error of its own.
    if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) < 1:
        raise ArgumentError(
            f"OPMUX_NUM_THREADS={text[:40]!r} is not a number of threads; give a whole number of at least 1, "
            f"or unset it",
            variable="OPMUX_NUM_THREADS",
            value=text,
        )
    return int(text)


def _available_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_all(tasks: Sequence[Task]) -> None:
    """Run every task and wait for all; the first runs in the calling thread. Raises what the first failed one raised.

    May be called from several threads at once. A task must not call this function.
    """
    if len(tasks) == 1:
        tasks[0]()
        return
    answers: _Answers = SimpleQueue()
    _pool.submit(tasks[1:], answers)
    failure: BaseException | None = None
    try:
        tasks[0]()
    except BaseException as error:
        failure = error
    # The other tasks write to memory of the caller: leave only after the last of them.
    for _ in tasks[1:]:
        failure = answers.get() or failure
    if failure is not None:
        raise failure


class _Pool:
    """Worker threads, started as they are needed and kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers = 0
        self._queue: SimpleQueue[tuple[Task, _Answers]] = SimpleQueue()

    def submit(self, tasks: Sequence[Task], answers: _Answers) -> None:
        with self._lock:
            while self._workers < len(tasks):
                self._workers += 1
                name = f"opmux-llvm-{self._workers}"
                threading.Thread(target=_work, args=(self._queue,), name=name, daemon=True).start()
        for task in tasks:
            self._queue.put((task, answers))


def _work(queue: SimpleQueue[tuple[Task, _Answers]]) -> None:
    while True:
        task, answers = queue.get()
        try:
            task()
        except BaseException as error:
            answers.put(error)
        else:
            answers.put(None)


_pool: Final = _Pool()
# A child of `fork` has none of the workers, and must not inherit a lock held by a thread that it lacks.
os.register_at_fork(after_in_child=_pool.__init__)  # type: ignore[misc]
