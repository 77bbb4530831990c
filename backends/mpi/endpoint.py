"""The messages of one rank over MPI, in the caller's own memory: nothing is copied and nothing pickled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, cast

import numpy as np

from ...plugin import CollectiveError, HostBytes, NativeStart, Ticket
from .native import Elements, start_of

#: Counts of MPI are C integers; what is longer goes as several messages.
_LONGEST: Final = 1 << 30
#: A tag of the core is the number of the call above this many bits, and the number of the message below.
_NUMBER_BITS: Final = 16
_NUMBER: Final = (1 << _NUMBER_BITS) - 1
#: The tag of headers; control messages have number 0 of call 0.
_HEADERS: Final = 1
#: The fewest calls of one mesh whose messages may be under way at once.
_FEWEST_CALLS: Final = 16
#: Seconds for which a receive that has begun to arrive may hold up its cancelling.
_CANCEL: Final = 0.1
#: Seconds between looks at which processes have failed.
_LOOK: Final = 0.005


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
            self._error = _error_of(self._mpi, error, self.peer)
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
        self._errors[number] = _error_of(self._mpi, error, peers[number])

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


def _error_of(mpi: Any, error: Any, peer: int) -> CollectiveError:
    died = error.Get_error_class() == getattr(mpi, "ERR_PROC_FAILED", None)
    return CollectiveError(f"MPI: {error.Get_error_string()}", rank=peer, cause="died" if died else "error")


class MpiEndpoint:
    """One rank of one mesh.

    Args:
        mpi: the module ``mpi4py.MPI``.
        comm: a communicator of the processes of the mesh, used by this mesh alone.
        owners: of each rank, its process within *comm*.
        rank: this rank.
        largest_tag: the largest tag that the MPI allows.
        guard: held in every call of MPI; None where it may be called by several threads at once.
        troubled: called when a message of a call is given up.
        is_closed: whether MPI has ended here; calling it then ends the process.
    """

    def __init__(
        self,
        mpi: Any,
        comm: Any,
        owners: Sequence[int],
        rank: int,
        largest_tag: int,
        guard: Guard,
        troubled: Callable[[], None],
        is_closed: Callable[[], bool],
    ) -> None:
        self.rank = rank
        self.ranks = len(owners)
        self.comm = comm
        self._mpi = mpi
        self._byte = mpi.BYTE
        self._standing: list[StandingMessages] = []
        self._owners = tuple(owners)
        self._guard = guard
        self._troubled = troubled
        self._is_closed = is_closed
        self._kept: list[Message] = []
        self._failed: dict[int, str] = {}
        self._looked = 0.0
        place = [list(owners[:r]).count(p) for r, p in enumerate(owners)]  # of a rank among those of its process
        most = max(place) + 1
        self._calls = (largest_tag + 1 >> _NUMBER_BITS) // (most * most)
        if self._calls < _FEWEST_CALLS:
            raise CollectiveError(
                f"{most} ranks in one process are too many: this MPI has tags up to {largest_tag}; start more of them",
                rank=rank,
                cause="limit",
            )
        width = self._calls << _NUMBER_BITS
        self._out = [(place[rank] * most + p) * width for p in place]
        self._in = [(p * most + place[rank]) * width for p in place]

    def _tag(self, tag: int) -> int:
        """Return a tag within the room that a pair of ranks has; call 0, which control messages use, stays apart.

        Headers of all calls have one tag, so that their requests can be used again. Ranks post them in the order of
        their calls, and MPI keeps that order and neither loses nor doubles a message; each says of which call it is.
        """
        call = tag >> _NUMBER_BITS
        if call and not tag & _NUMBER:
            return _HEADERS
        field = 1 + (call - 1) % (self._calls - 1) if call else 0
        return field << _NUMBER_BITS | tag & _NUMBER

    def send(self, target: int, tag: int, data: HostBytes) -> Ticket:
        """Post a message."""
        return self._post(self.comm.Isend, target, self._out[target], tag, data, out=True)

    def receive(self, source: int, tag: int, into: HostBytes) -> Ticket:
        """Post where a message goes."""
        return self._post(self.comm.Irecv, source, self._in[source], tag, into, out=False)

    def _post(self, call: Any, peer: int, room: int, tag: int, data: HostBytes, *, out: bool) -> Ticket:
        if self._is_closed():
            raise CollectiveError("MPI has ended in this process", rank=self.rank, cause="left")
        size = data.nbytes
        if size > _LONGEST:
            parts = (data[i : i + _LONGEST] for i in range(0, size, _LONGEST))
            return Parts([cast(Message, self._post(call, peer, room, tag, part, out=out)) for part in parts])
        process, at = self._owners[peer], room + self._tag(tag)
        try:
            if self._guard is None:
                request = call((data, size, self._byte), process, at)
            else:
                with self._guard:
                    request = call((data, size, self._byte), process, at)
        except self._mpi.Exception as error:
            raise _error_of(self._mpi, error, peer) from error
        return Message(self._mpi, request, peer, -1 if out else size, tag != 0, self._guard)

    def standing(self, into: Mapping[int, HostBytes], out: Mapping[int, HostBytes]) -> StandingMessages | None:
        """Return MPI's persistent requests for headers; None where MPI is called under a lock."""
        if self._guard is not None:
            return None
        made = [
            {
                peer: init((data, data.nbytes, self._byte), self._owners[peer], rooms[peer] + _HEADERS)
                for peer, data in messages.items()
            }
            for init, rooms, messages in (
                (self.comm.Recv_init, self._in, into),
                (self.comm.Send_init, self._out, out),
            )
        ]
        found = StandingMessages(self._mpi, made[0], made[1], self._is_closed)
        self._standing.append(found)
        return found

    def cancel(self, ticket: Ticket) -> None:
        """Give up a message; one that has begun to arrive, or is going out, keeps its memory."""
        if isinstance(ticket, Parts):
            for message in ticket.messages:
                self.cancel(message)
        elif isinstance(ticket, Message) and ticket.request is not None and not self._is_closed():
            try:
                with self._guard or nullcontext():
                    self._cancel(ticket)
            except self._mpi.Exception:  # its other side is gone: nothing comes any more, and MPI may wait for it
                self._troubled()

    def _cancel(self, message: Message) -> None:
        request, until = message.request, self.now() + _CANCEL
        if request.Test():
            return
        if message.needed:
            self._troubled()
        if message.peer < 0:  # a collective of MPI's own cannot be cancelled
            self._kept.append(message)
            return
        request.Cancel()
        while not request.Test():
            if self.now() > until:
                self._kept.append(message)
                return

    def now(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def lost(self) -> Mapping[int, str]:
        """Return the ranks whose process has failed, as a fault-tolerant launch tells."""
        now = self.now()
        if now >= self._looked + _LOOK and not self._is_closed():
            self._look(now)
        return self._failed

    def _look(self, now: float) -> None:
        self._looked = now
        failed = failed_processes(self._mpi, self.comm, self._guard)
        if len(failed) > len(self._failed):
            self._troubled()  # MPI may wait for them when it ends
            self._failed = {r: "its process ended" for r, p in enumerate(self._owners) if p in failed}

    def native(self, collective: str, reduction: str, dtype: np.dtype[Any]) -> NativeStart | None:
        """Return what starts MPI's own collective; None where it has none that keeps the op's contract.

        It is called with what the rank brings, where its result goes, the lengths of the parts and the root, and posts.
        """
        if sorted(self._owners) != list(range(self.ranks)):  # several ranks in a process
            return None
        start = start_of(self._mpi, self.comm, collective, reduction, dtype)
        if start is None:
            return None

        def begin(x: Elements, y: Elements, lengths: Sequence[Sequence[int]], root: int) -> Ticket:
            try:
                with self._guard or nullcontext():
                    request = start(x, y, lengths, root)
            except self._mpi.Exception as error:
                raise _error_of(self._mpi, error, -1) from error
            return Message(self._mpi, request, -1, -1, True, self._guard)

        return begin

    def close(self) -> None:
        """Free the requests of headers. MPI's communicator stays this mesh's: no late message reaches a later one."""
        standing, self._standing = self._standing, []
        for messages in standing if not self._is_closed() else ():
            messages.free()


def failed_processes(mpi: Any, comm: Any, guard: Guard) -> frozenset[int]:
    """Return the processes of a communicator that are known to have failed; none where the MPI cannot tell."""
    try:
        with guard or nullcontext():
            failed, everyone = comm.Get_failed(), comm.Get_group()
            if failed.Get_size() == 0:
                return frozenset()
            return frozenset(mpi.Group.Translate_ranks(failed, None, everyone))
    except (NotImplementedError, AttributeError, mpi.Exception):
        return frozenset()
