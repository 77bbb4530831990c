"""The messages of one rank over MPI, in the caller's own memory: nothing is copied and nothing pickled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from ...plugin import CollectiveError, HostBytes, Ticket

#: Counts of MPI are C integers; what is longer goes as several messages.
_LONGEST: Final = 1 << 30
#: A tag of the core is the number of the call above this many bits, and the number of the message below.
_NUMBER_BITS: Final = 16
#: The fewest calls of one mesh whose messages may be under way at once.
_FEWEST_CALLS: Final = 16
#: Seconds for which a receive that has begun to arrive may hold up its cancelling.
_CANCEL: Final = 0.1
#: Seconds between looks at which processes have failed.
_LOOK: Final = 0.005


class Message:
    """One message under way, or the parts of a long one."""

    __slots__ = ("_check", "_data", "_error", "_peer", "_requests", "_sizes", "needed")

    def __init__(
        self, requests: list[Any], sizes: list[int], peer: int, check: Callable[..., bool], needed: bool
    ) -> None:
        self._requests = requests
        self._sizes = sizes
        self._peer = peer
        self._check = check
        self._error: CollectiveError | None = None
        self.needed = needed

    @property
    def requests(self) -> list[Any]:
        """MPI's requests; each keeps its memory alive."""
        return self._requests

    def done(self) -> bool:
        """Return whether all of it has arrived, or has left.

        Raises:
            CollectiveError: it never will.
        """
        if self._error is not None:
            raise self._error
        while self._requests:
            try:
                if not self._check(self._requests[-1], self._sizes):
                    return False
            except CollectiveError as error:
                error.culprits["rank"] = self._peer
                self._error = error
                raise
            self._requests.pop()
        return True


class MpiEndpoint:
    """One rank of one mesh.

    Args:
        mpi: the module ``mpi4py.MPI``.
        comm: a communicator of the processes of the mesh, used by this mesh alone.
        owners: of each rank, its process within *comm*.
        rank: this rank.
        largest_tag: the largest tag that the MPI allows.
        guard: held in every call of MPI.
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
        guard: AbstractContextManager[Any],
        troubled: Callable[[], None],
        is_closed: Callable[[], bool],
    ) -> None:
        self.rank = rank
        self.ranks = len(owners)
        self.comm = comm
        self._mpi = mpi
        self._byte = mpi.BYTE
        self._owners = tuple(owners)
        self._guard = guard
        self._troubled = troubled
        self._is_closed = is_closed
        self._status = mpi.Status()
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
        """Return a tag within the room that a pair of ranks has; call 0, which control messages use, stays apart."""
        call = tag >> _NUMBER_BITS
        field = 1 + (call - 1) % (self._calls - 1) if call else 0
        return field << _NUMBER_BITS | tag & ((1 << _NUMBER_BITS) - 1)

    def send(self, target: int, tag: int, data: HostBytes) -> Message:
        """Post a message."""
        at = self._out[target] + self._tag(tag)
        return self._post(self.comm.Isend, target, at, data, self._has_left, bool(tag))

    def receive(self, source: int, tag: int, into: HostBytes) -> Message:
        """Post where a message goes."""
        at = self._in[source] + self._tag(tag)
        return self._post(self.comm.Irecv, source, at, into, self._has_come, bool(tag))

    def _post(
        self, call: Any, peer: int, tag: int, data: HostBytes, check: Callable[..., bool], needed: bool
    ) -> Message:
        if self._is_closed():
            raise CollectiveError("MPI has ended in this process", rank=self.rank, cause="left")
        process, size = self._owners[peer], data.nbytes
        parts = [data] if size <= _LONGEST else [data[i : i + _LONGEST] for i in range(0, size, _LONGEST)]
        try:
            with self._guard:
                requests = [call((part, part.nbytes, self._byte), process, tag) for part in parts]
        except self._mpi.Exception as error:
            raise self._error(error, peer) from error
        return Message(requests[::-1], [part.nbytes for part in parts][::-1], peer, check, needed)

    def _has_left(self, request: Any, sizes: list[int]) -> bool:
        try:
            with self._guard:
                left: bool = request.Test()
        except self._mpi.Exception as error:
            raise self._error(error) from error
        return left

    def _has_come(self, request: Any, sizes: list[int]) -> bool:
        try:
            with self._guard:
                if not request.Test(self._status):
                    return False
                count = self._status.Get_count(self._byte)
        except self._mpi.Exception as error:
            raise self._error(error) from error
        if count != (wanted := sizes.pop()):
            raise CollectiveError(f"a message of {count} bytes came where {wanted} were expected", cause="mismatch")
        return True

    def _error(self, error: Any, peer: int = -1) -> CollectiveError:
        self._looked = 0.0  # ask at once who has failed
        return CollectiveError(f"MPI: {error.Get_error_string()}", rank=peer, code=error.Get_error_class())

    def cancel(self, ticket: Ticket) -> None:
        """Give up a message; one that has begun to arrive, or is going out, keeps its memory."""
        if not isinstance(ticket, Message):
            raise TypeError(f"{ticket!r} is no message of MPI")
        if self._is_closed():
            return
        until = self.now() + _CANCEL
        for request in ticket.requests:
            try:
                with self._guard:
                    if request.Test():
                        continue
                    if ticket.needed:
                        self._troubled()
                    request.Cancel()
                while True:
                    with self._guard:
                        if request.Test():
                            break
                    if self.now() > until:
                        self._kept.append(ticket)
                        break
            except self._mpi.Exception:
                continue  # its other side is gone, so nothing comes any more

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
            self._failed = {r: "its process ended" for r, p in enumerate(self._owners) if p in failed}

    def close(self) -> None:
        """Do nothing: what MPI holds for a mesh is used by no later one, so that no late message reaches one."""


def failed_processes(mpi: Any, comm: Any, guard: AbstractContextManager[Any]) -> frozenset[int]:
    """Return the processes of a communicator that are known to have failed; none where the MPI cannot tell."""
    try:
        with guard:
            failed, everyone = comm.Get_failed(), comm.Get_group()
            if failed.Get_size() == 0:
                return frozenset()
            return frozenset(mpi.Group.Translate_ranks(failed, None, everyone))
    except (NotImplementedError, AttributeError, mpi.Exception):
        return frozenset()
