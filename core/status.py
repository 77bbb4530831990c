"""How launches that may fail late went, and what their failure poisons."""

from __future__ import annotations

from typing import Protocol

from .errors import KernelError, OpmuxError


class Completion(Protocol):
    """What ``launch`` returns on a device that works asynchronously and may fail late.

    A kernel whose launch is complete, or cannot fail, when it returns, returns None instead.
    """

    def done(self) -> bool:
        """Return whether the work has ended, well or badly, without waiting."""

    def error(self) -> BaseException | None:
        """Wait for the end of the work and return what it failed with, or None."""


class Status:
    """The fate of one launch: its own failure, or the first failure among what it depended on.

    Args:
        completion: the launch; None for one that was never made because an input was poisoned already.
        parents: statuses of the inputs that were not known to be good at launch.
        op, kernel, backend: for the message.
    """

    __slots__ = ("_completion", "_error", "_parents", "_resolved", "_seen", "backend", "kernel", "op")

    def __init__(
        self, completion: Completion | None, parents: tuple[Status, ...], op: str, kernel: str, backend: str
    ) -> None:
        self._completion = completion
        self._parents = parents
        self._error: OpmuxError | None = None
        self._resolved = False
        self._seen = False
        self.op = op
        self.kernel = kernel
        self.backend = backend

    def error(self) -> OpmuxError | None:
        """Wait for the launch and return its failure; the failure of an input comes before its own."""
        if self._resolved:
            return self._error
        found: OpmuxError | None = None
        for parent in _ancestors_first(self):
            parent._resolve_alone()
            found = parent._error
        return found

    def _resolve_alone(self) -> None:
        if self._resolved:
            return
        for parent in self._parents:
            if parent._error is not None:
                self._error = parent._error
                break
        own = self._completion.error() if self._completion is not None else None
        if self._error is None and own is not None:
            self._error = late_error(own, self.op, self.kernel, self.backend)
        self._resolved = True
        self._parents = ()
        self._completion = None

    def settled_well(self) -> bool:
        """Return whether the launch is known, without waiting, to have ended well."""
        if not self._resolved:
            if self._completion is not None and not self._completion.done():
                return False
            if any(not p._resolved for p in self._parents):
                return False
            self._resolve_alone()
        return self._error is None

    def known_error(self) -> OpmuxError | None:
        """Return the failure if it is known already; never waits."""
        return self._error if self._resolved else None

    def seen(self) -> bool:
        """Return whether somebody has been told of the failure."""
        return bool(self._error is not None and self._error.culprits.get("told")) or self._seen

    def mark_seen(self) -> None:
        """Note that somebody has been told."""
        self._seen = True
        if self._error is not None:
            self._error.culprits["told"] = True

    def raise_if_failed(self) -> None:
        """Wait, and raise the failure if there is one."""
        error = self.error()
        if error is not None:
            self.mark_seen()
            raise error


def _ancestors_first(status: Status) -> list[Status]:
    """Return unresolved ancestors before their descendants; iterative, since a chain can be long."""
    order: list[Status] = []
    visited: set[int] = set()
    stack: list[tuple[Status, bool]] = [(status, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
            continue
        if id(node) in visited:
            continue
        visited.add(id(node))
        stack.append((node, True))
        stack.extend((p, False) for p in node._parents if not p._resolved)
    return order


def late_error(cause: BaseException, op: str, kernel: str, backend: str) -> OpmuxError:
    """Return the failure of a launch as opmux reports it, with the op that caused it."""
    if isinstance(cause, OpmuxError):
        cause.culprits.setdefault("op", op)
        return cause
    error = KernelError(
        f"{op} failed in kernel {kernel} of backend {backend}: {cause!r}; the arrays that it made, and those made from them, are lost",
        op=op,
        kernel=kernel,
        backend=backend,
    )
    error.__cause__ = cause
    return error
