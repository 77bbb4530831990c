"""The messages of one rank over MPI, in the caller's own memory: nothing is copied and nothing pickled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final, cast

import numpy as np

from ...plugin import CollectiveError, HostBytes, NativeStart, Ticket
from .messages import Guard, Message, Parts, StandingMessages, error_of
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
            raise error_of(self._mpi, error, peer) from error
        return Message(self._mpi, request, peer, -1 if out else size, tag != 0, self._guard)

    def standing(self, into: Mapping[int, HostBytes], out: Mapping[int, HostBytes]) -> StandingMessages | None:
        """Return MPI's persistent requests for headers.

        None where MPI is called under a lock, and where it makes none: each header is posted by itself then, and where
        that fails too, the call does, on every rank.
        """
        if self._guard is not None:
            return None
        coming: dict[int, Any] = {}
        going: dict[int, Any] = {}
        try:
            for requests, init, rooms, messages in (
                (coming, self.comm.Recv_init, self._in, into),
                (going, self.comm.Send_init, self._out, out),
            ):
                for peer, data in messages.items():
                    requests[peer] = init((data, data.nbytes, self._byte), self._owners[peer], rooms[peer] + _HEADERS)
        except self._mpi.Exception:
            StandingMessages(self._mpi, coming, going, self._is_closed).free()
            return None
        found = StandingMessages(self._mpi, coming, going, self._is_closed)
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
                raise error_of(self._mpi, error, -1) from error
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
