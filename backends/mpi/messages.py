"""Messages over MPI that are under way, as the core asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ...plugin import CollectiveError, Ticket

Guard = AbstractContextManager[Any] | None


class Message:
    """One message under way.

    Attributes:
        request: MPI's request, which keeps the memory alive.
        needed: whether it belongs to a call, and not to the control messages.
        peer: the other rank; -1 for a collective of MPI's own.
    """

    __slots__ = ("_error", "_guard", "_mpi", "_size", "_status", "needed", "peer", "request")

    def __init__(self, mpi: Any, request: Any, peer: int, size: int, needed: bool, guard: Guard) -> None:
        self.request = request
        self.needed = needed
        self._mpi = mpi
        self.peer = peer
        self._size = size  # of what is received; -1 of what is sent
        self._status = mpi.Status() if size >= 0 else None
        self._error: CollectiveError | None = None
        self._guard = guard

    def fail(self, error: CollectiveError) -> None:
        """Say from now on why it never will arrive, or leave."""
        self._error = error

    def done(self) -> bool:
        """Return whether it has arrived, or has left.

        Raises:
            CollectiveError: it never will, or another one came.
        """
        if self.request is None:
            return True
        if self._error is not None:
            raise self._error
        if self._mpi.Is_finalized():  # of a handle that nobody waited for: MPI would end the process as failed
            raise CollectiveError("MPI has ended in this process", rank=self.peer, cause="left")
        try:
            if self._guard is None:
                over = self.request.Test(self._status)
            else:
                with self._guard:
                    over = self.request.Test(self._status)
        except self._mpi.Exception as error:
            self._error = error_of(self._mpi, error, self.peer)
            raise self._error from error
        if not over:
            return False
        if self._status is not None and (count := self._status.Get_count(self._mpi.BYTE)) != self._size:
            said = f"a message of {count} bytes came from rank {self.peer} where {self._size} were expected"
            self._error = CollectiveError(said, rank=self.peer, cause="mismatch")
            raise self._error
        self.request = None
        return True


class StandingMessages:
    """Messages that go again and again between the same memory, as persistent requests.

    Args:
        mpi: the module ``mpi4py.MPI``.
        coming: requests of receives, by source.
        going: requests of sends, by target.
        is_closed: whether MPI has ended here.
    """

    def __init__(
        self,
        mpi: Any,
        coming: Mapping[int, Any],
        going: Mapping[int, Any],
        is_closed: Callable[[], bool],
    ) -> None:
        self._mpi = mpi
        self._requests = coming, going
        self._starts = tuple(request.Start for request in (*coming.values(), *going.values()))
        self._coming = tuple(request.Test for request in coming.values())
        self._going = tuple(request.Test for request in going.values())
        self._errors: dict[int, CollectiveError] = {}
        self._came = self._left = self._started = 0
        self._is_closed = is_closed

    def start(self, tag: int) -> None:
        """Post all of them."""
        self._came = self._left = self._started = 0
        if self._is_closed():
            return
        try:
            for start in self._starts:
                start()
                self._started += 1
        except self._mpi.Exception as error:
            self._note(self._started, error)

    def free(self) -> None:
        """Give back what MPI holds for them; a message that is still under way, after a failure, keeps it."""
        for request in (r for requests in self._requests for r in requests.values()):
            try:
                if request != self._mpi.REQUEST_NULL and request.Test():
                    request.Free()
            except self._mpi.Exception:  # its other side is gone, and MPI may hold on to it
                continue

    def _note(self, number: int, error: Any) -> None:
        """Keep why a message never comes, or goes."""
        peers = [peer for requests in self._requests for peer in requests]
        self._errors[number] = error_of(self._mpi, error, peers[number])

    def have_come(self, polls: int) -> bool:
        """Return whether all have arrived."""
        number = self._came
        if self._started < len(self._starts):
            return False
        try:
            while number < len(self._coming):
                if not _passes(self._coming[number], polls):
                    return False
                number += 1
        except self._mpi.Exception as error:
            self._note(number, error)
            return False
        finally:
            self._came = number
        return True

    def have_left(self, polls: int) -> bool:
        """Return whether all have left."""
        number = self._left
        try:
            while number < len(self._going):
                if not _passes(self._going[number], polls):
                    return False
                number += 1
        except self._mpi.Exception as error:
            self._note(len(self._coming) + number, error)
            return False
        finally:
            self._left = number
        return True

    def tickets(self) -> tuple[Mapping[int, Ticket], Mapping[int, Ticket]]:
        """Return them one by one. One that is over is not asked for again: MPI would say of it that it is empty."""
        coming, going = self._requests
        first = len(coming)
        return (
            {p: self._ticket(i, p, r, i < self._came) for i, (p, r) in enumerate(coming.items())},
            {p: self._ticket(first + i, p, r, i < self._left) for i, (p, r) in enumerate(going.items())},
        )

    def _ticket(self, number: int, peer: int, request: Any, is_over: bool) -> Message:
        made = Message(self._mpi, None if is_over else request, peer, -1, True, None)
        if number in self._errors:
            made.fail(self._errors[number])
        elif number >= self._started:
            why = "MPI has ended in this process" if self._is_closed() else "an interrupt came before it was posted"
            made.fail(CollectiveError(f"a header from or to rank {peer}: {why}", rank=peer, cause="left"))
        return made


def _passes(test: Callable[[], bool], polls: int) -> bool:
    """Return whether a message is over soon. Where processes share processors, MPI lets others run in every test."""
    for _ in range(polls):  # noqa: SIM110 - a generator would be asked in place of MPI
        if test():
            return True
    return False


class Parts:
    """A long message in parts."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages

    def done(self) -> bool:
        """Return whether all of it has arrived, or has left."""
        return all(m.done() for m in self.messages)


def error_of(mpi: Any, error: Any, peer: int) -> CollectiveError:
    died = error.Get_error_class() == getattr(mpi, "ERR_PROC_FAILED", None)
    return CollectiveError(f"MPI: {error.Get_error_string()}", rank=peer, cause="died" if died else "error")
