"""What carries messages between processes: the interface that communicators implement.

Nothing here waits. A rank's part of a collective is a generator that posts messages, and yields while there is nothing
to do; so one process can drive several ranks, and a test can drive all ranks of a mesh under a clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..devices.driver import HostBytes


@dataclass(frozen=True, slots=True)
class Link:
    """What it costs to send a message of S bytes: ``latency + S / bandwidth``.

    Attributes:
        latency: seconds.
        bandwidth: bytes per second, in each direction.
        source: where the numbers come from: ``"measured"``, ``"declared"``, ``"model"``.
        is_shared: whether all that a rank sends and receives goes over one bus, which has this bandwidth in both
            directions together.
    """

    latency: float
    bandwidth: float
    source: str = "declared"
    is_shared: bool = False


class Ticket(Protocol):
    """A message that was posted."""

    def done(self) -> bool:
        """Return whether it has arrived, or has left; never waits.

        Raises:
            CollectiveError: it never will; ``rank`` says whose fault that is, where it is known, and ``cause`` is
                ``"died"`` where that rank is gone.
        """


#: Starts a communicator's own collective: what the rank brings, where its result goes, the lengths of the parts that
#: are cut or joined (for an all_to_all those to each rank, then those from each), and the root, or -1.
NativeStart = Callable[[NDArray[Any], NDArray[Any], Sequence[Sequence[int]], int], Ticket]


class Standing(Protocol):
    """The headers of calls, to and from every other rank, posted again and again from the same memory."""

    def start(self, tag: int) -> None:
        """Post all of them, once those of the call before are over; what fails is what its ticket says."""

    def have_come(self, polls: int) -> bool:
        """Return whether all that come have arrived, looking so often for each; False also where one never will."""

    def have_left(self, polls: int) -> bool:
        """Return whether all that go out have left, likewise."""

    def tickets(self) -> tuple[Mapping[int, Ticket], Mapping[int, Ticket]]:
        """Return those in and those out since they were last posted, by rank, to be asked one by one from now on."""


class Endpoint(Protocol):
    """The messages of one rank of one mesh. Messages of one source, target and tag arrive in the order of posting.

    It may have a method ``standing(into, out)`` too, which returns a :class:`Standing` for memory by source and by
    target, or None. Such messages meet those posted one by one with the same tag: number 0 of a call.

    Attributes:
        rank: this rank.
        ranks: how many there are.
    """

    rank: int
    ranks: int

    def send(self, target: int, tag: int, data: HostBytes) -> Ticket:
        """Post a message; *data* stays as it is until the ticket is done."""

    def receive(self, source: int, tag: int, into: HostBytes) -> Ticket:
        """Post where a message goes. One of another length is a ``CollectiveError`` of the ticket."""

    def cancel(self, ticket: Ticket) -> None:
        """Give up a message: nothing is written to its memory any more when this returns.

        What is sent and cannot be taken back may still be read, as long as the endpoint is open.
        """

    def now(self) -> float:
        """Return the time in seconds, from any start, never going back."""

    def lost(self) -> Mapping[int, str]:
        """Return the ranks that are known to be gone, and how that is known; asked while waiting, so it is cheap."""

    def native(self, collective: str, reduction: str, dtype: np.dtype[Any]) -> NativeStart | None:
        """Return what starts the communicator's own collective; None where it has none that keeps the op's contract.

        Args:
            collective: the op's name.
            reduction: ``"sum"``, ``"max"``, ...; empty where nothing is combined.
            dtype: of what is brought.
        """

    def close(self) -> None:
        """Give back what the endpoint holds, for the end of its mesh or of the process; a second time does nothing."""


class Communicator(Protocol):
    """Carries messages between the processes of one job.

    Attributes:
        name: e.g. ``"mpi"``.
        process: this process's number.
        processes: how many there are.
    """

    name: str
    process: int
    processes: int

    def gather(self, record: bytes, timeout: float) -> tuple[bytes, ...]:
        """Return every process's record, by process: what a mesh is agreed upon with. All processes call it at once.

        Raises:
            CollectiveError: a process does not answer in time; ``rank`` names it.
        """

    def open(self, mesh: int, owners: Sequence[int], rank: int) -> Endpoint:
        """Return the endpoint of a local rank of a mesh.

        Args:
            mesh: a number that keeps the messages of meshes apart, the same in every process.
            owners: the process of each rank.
            rank: the rank, one of this process.
        """

    def link(self, first: int, second: int) -> Link:
        """Return what a message between two processes costs; the same answer in every process."""
