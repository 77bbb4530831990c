"""How launches that may fail late went, and what their failure poisons."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..errors import DeviceLostError, KernelError, OpmuxError

if TYPE_CHECKING:
    from .queues import Point

E = TypeVar("E", bound=OpmuxError)


class Completion(Protocol):
    """What ``launch`` returns for work that goes on after it has returned, or that may fail late.

    Both methods may be called from any thread, more than once. An exception that one of them raises counts as what the
    work failed with; ``DeviceLostError``, raised or returned, marks the whole device lost.

    On ``cpu``, whose queues hold no work, opmux calls ``error()`` before the call returns: whatever comes next reads
    the memory at once.
    """

    def done(self) -> bool:
        """Return whether the work has ended, well or badly, without waiting.

        After True all that the work wrote is there for every queue, and since a queue is in order, so is what earlier
        work of the same queue wrote: opmux no longer waits for any of it.
        """

    def error(self) -> BaseException | None:
        """Wait for the end of the work and return what it failed with, or None; must not raise for a failed work."""


class _Broken:
    """The completion of work whose own completion raised."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def done(self) -> bool:
        return True

    def error(self) -> BaseException | None:
        return self._error


class Status:
    """The fate of one launch: its own failure, or the first failure among what it depended on.

    Args:
        completion: the launch; None for one that cannot fail itself, or that was never made because an input was
            poisoned already.
        parents: statuses of the inputs that were not known to be good at launch.
        op, kernel, backend: for the message.
        point: where the launch is on its queue; None for one that was never made.
    """

    __slots__ = (
        "_completion",
        "_error",
        "_origin",
        "_parents",
        "_point",
        "_resolved",
        "_seen",
        "backend",
        "kernel",
        "op",
    )

    def __init__(
        self,
        completion: Completion | None,
        parents: tuple[Status, ...],
        op: str,
        kernel: str,
        backend: str,
        point: Point | None = None,
    ) -> None:
        self._completion = completion
        self._parents = parents
        self._point = point
        self._error: OpmuxError | None = None  # never raised itself: a traceback keeps the locals of its frames alive
        self._origin: Status | None = None  # whose failure it is, where not its own
        self._resolved = False
        self._seen = False
        self.op = op
        self.kernel = kernel
        self.backend = backend

    def error(self) -> OpmuxError | None:
        """Wait for the launch and return its failure, a fresh exception each time; that of an input comes first."""
        if not self._resolved:
            for status in _ancestors_first(self):
                status._resolve()
        return None if self._error is None else again(self._error)

    def ended(self) -> bool:
        """Return whether the fate of the launch is known; asks, and never waits."""
        if self._resolved:
            return True
        if not self._done():  # before its ancestors: of a long chain only the last one is asked
            return False
        for status in _ancestors_first(self):
            if not status._done():
                return False
            status._resolve()
        return True

    def settled_well(self) -> bool:
        """Return whether the launch is known, without waiting, to have ended well."""
        return self.ended() and self._error is None

    def failed(self) -> bool:
        """Return whether the launch is known, without asking, to have failed."""
        return self._error is not None

    @property
    def origin(self) -> Status:
        """Whose failure this is, once it is known: the same for all that one failure has poisoned."""
        return self._origin or self

    def seen(self) -> bool:
        """Return whether somebody has been told of the failure."""
        return self.origin._seen

    def mark_seen(self) -> None:
        """Note that somebody has been told."""
        self.origin._seen = True

    def raise_if_failed(self) -> None:
        """Wait, and raise the failure if there is one."""
        error = self.error()
        if error is not None:
            self.mark_seen()
            raise error

    def _done(self) -> bool:
        completion = self._completion
        try:
            return completion is None or completion.done()
        except Exception as error:
            self._completion = _Broken(error)
            return True

    def _resolve(self) -> None:
        # Several threads may be here at once. What is cleared below is read before the look at _resolved, so none
        # of them takes a launch that another one has settled for one without a completion.
        completion, parents, point = self._completion, self._parents, self._point
        if self._resolved:
            return
        own = None if completion is None else outcome(completion)
        poison = next((p for p in parents if p._error is not None), None)
        if poison is not None:
            self._origin = poison.origin
            self._error = poison._error
        elif own is not None:
            self._error = late_error(own, self.op, self.kernel, self.backend)
        if point is not None and completion is not None:
            point.reached()
            if isinstance(own, DeviceLostError):
                point.queue.device.lose(own)
        self._resolved = True
        self._parents = ()
        self._completion = self._point = None


def outcome(completion: Completion) -> BaseException | None:
    """Wait for the end of a launch and return what it failed with, or None."""
    try:
        return completion.error()
    except Exception as error:
        return error


def _ancestors_first(status: Status) -> Iterator[Status]:
    """Yield unresolved ancestors before their descendants; iterative, since a chain can be long."""
    visited: set[int] = set()
    stack: list[tuple[Status, bool]] = [(status, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            yield node
            continue
        if id(node) in visited:
            continue
        visited.add(id(node))
        stack.append((node, True))
        stack.extend((p, False) for p in node._parents if not p._resolved)


def again(error: E) -> E:
    """Return a copy of an exception, to be raised in its place.

    An exception that is raised twice grows its traceback, and one that is kept keeps alive whatever the frames of its
    traceback hold, arrays too.
    """
    kind = type(error)
    made = kind.__new__(kind, *error.args)
    made.__dict__.update({name: copy(value) for name, value in error.__dict__.items()})  # culprits and notes
    made.__cause__ = error.__cause__
    return made


def late_error(cause: BaseException, op: str, kernel: str, backend: str) -> OpmuxError:
    """Return the failure of a launch as opmux reports it, with the op that caused it."""
    if isinstance(cause, OpmuxError):
        error = again(cause)
        error.culprits.setdefault("op", op)
        return error
    made = KernelError(
        f"{op} failed in kernel {kernel} of backend {backend}: {cause!r}; the arrays that it made, and those made "
        "from them, are lost",
        op=op,
        kernel=kernel,
        backend=backend,
    )
    made.__cause__ = cause
    return made
