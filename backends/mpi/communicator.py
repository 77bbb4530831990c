"""The processes of an MPI job: their meeting, the links between them, and how the job ends after a failure."""

from __future__ import annotations

import atexit
import faulthandler
import hashlib
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...plugin import CollectiveError, Link
from .endpoint import MpiEndpoint, failed_processes
from .launch import mpi

#: Tags on the communicator of all processes: records of a gathering, meetings of a mesh, probes of a link.
_GATHER, _OPEN, _PROBE = 1, 2, 3
#: Seconds for meetings that have no limit of their own: joining the job and opening a mesh.
_JOIN: Final = 60.0
#: Seconds that MPI gets to end in order after a failure; a stalled process would hold it up for ever.
_END: Final = 5.0
#: What is sent back and forth to measure a link: bytes, and how often; the fastest counts.
_PROBES: Final = ((8, 100), (1 << 20, 10))
#: Probes between two pauses, of so many seconds: whoever wakes is put on a free core, where two had been sharing one.
_BURST: Final = 5
_PAUSE: Final = 1e-3
#: For a kind of link that no two processes have: the latency and bandwidth of gigabit Ethernet.
_ASSUMED: Final = Link(5e-5, 1.2e8, "declared")
#: The longest latency within a machine of a core for each process, and the shortest where processes take turns: 2.7 to
#: 3.4 and 18 to 24 us between Open MPI's on a machine of two cores, up to 54 us while another program was at work.
_ALONE: Final = 5e-6
_CROWDED: Final = 1.5e-5
#: Polls of a wait before it lets others run, before it sleeps, and for how long. A small message takes a few polls; to
#: give up the processor in between would be measured with the link.
_AT_ONCE: Final = 100
_SPINS: Final = 1000
_NAP: Final = 1e-4


@dataclass
class _Room:
    """What the ranks of one process share of a mesh.

    Attributes:
        comm: MPI's communicator of its processes.
        places: the process of each rank, within *comm*.
        opened: the ranks that have an endpoint.
    """

    comm: Any
    places: tuple[int, ...]
    opened: set[int] = field(default_factory=set)


class MpiCommunicator:
    """All processes that the launcher started."""

    name = "mpi"

    def __init__(self) -> None:
        MPI = self._mpi = mpi()
        safe = MPI.Query_thread() == MPI.THREAD_MULTIPLE
        self._lock = threading.RLock()
        self._guard = None if safe else self._lock
        self._round = 0
        self._rooms: dict[tuple[int, tuple[int, ...]], list[_Room]] = {}
        self._is_troubled = False
        # Of its own, so that messages of the program and of other libraries never meet ours.
        self._world, request = MPI.COMM_WORLD.Idup()
        self.process: int = MPI.COMM_WORLD.Get_rank()
        self.processes: int = MPI.COMM_WORLD.Get_size()
        self._wait(request.Test, _JOIN, lambda: None, "joining the MPI job")
        self._world.Set_errhandler(MPI.ERRORS_RETURN)
        self._largest_tag = int(MPI.COMM_WORLD.Get_attr(MPI.TAG_UB))
        atexit.register(self._leave)
        self._hosts = [r.decode() for r in self.gather(MPI.Get_processor_name().encode(), _JOIN)]
        self._links = self._measure()

    def _wait(self, over: Callable[[], bool], timeout: float, whose: Callable[[], int | None], what: str) -> None:
        """Poll until something is over.

        Raises:
            CollectiveError: it is not, within the limit.
        """
        start, polls = time.monotonic(), 0
        while not over():
            polls += 1
            if polls > _SPINS:
                time.sleep(_NAP)
            elif polls > _AT_ONCE and hasattr(os, "sched_yield"):
                os.sched_yield()
            if polls % 64 == 0:
                failed = failed_processes(self._mpi, self._world, self._guard) if polls > _SPINS else frozenset()
                late = time.monotonic() - start > timeout
                process = whose() if late or failed else None
                if late or process in failed:
                    self._troubled()
                    raise _late(what, process, timeout, died=process in failed)

    def gather(self, record: bytes, timeout: float) -> tuple[bytes, ...]:
        """Return every process's record, by process."""
        self._round += 1
        number = struct.pack("<q", self._round)
        found: dict[int, bytes] = {self.process: record}
        said = np.frombuffer(number + record, np.uint8)
        pending: list[Any] = []
        with self._lock:
            for process in self._others():
                pending.append(self._world.Isend((said, said.nbytes, self._mpi.BYTE), process, _GATHER))

        def missing() -> int | None:
            return next((p for p in range(self.processes) if p not in found), None)

        def over() -> bool:
            for process in self._others():
                while process not in found and (data := self._taken(process)) is not None:
                    if data[:8] == number:  # an earlier one is of a gathering that was given up here
                        found[process] = data[8:]
            while pending and pending[-1].Test():
                pending.pop()
            return len(found) == self.processes and not pending

        self._wait(over, timeout, missing, "meeting the other processes")
        self._is_troubled = False  # all are here and in step, whatever failed before
        return tuple(found[p] for p in range(self.processes))

    def _others(self) -> Iterator[int]:
        """Iterate over the other processes, the next one first, so that none is met by all at once."""
        return ((self.process + i) % self.processes for i in range(1, self.processes))

    def _taken(self, process: int) -> bytes | None:
        """Return a record that has come from a process; None where none has."""
        status = self._mpi.Status()
        with self._lock:
            message = self._world.Improbe(process, _GATHER, status)
            if message is None:
                return None
            data = np.empty(status.Get_count(self._mpi.BYTE), np.uint8)
            message.Recv((data, data.nbytes, self._mpi.BYTE))
        return data.tobytes()

    def open(self, mesh: int, owners: Sequence[int], rank: int) -> MpiEndpoint:
        """Return the endpoint of a local rank of a mesh."""
        key = mesh, tuple(owners)
        rooms = self._rooms.setdefault(key, [])
        room = next((r for r in rooms if rank not in r.opened), None)
        if room is None:
            room = self._enter(mesh, owners)
            rooms.append(room)
        room.opened.add(rank)
        return MpiEndpoint(
            self._mpi,
            room.comm,
            room.places,
            rank,
            self._largest_tag,
            self._guard,
            self._troubled,
            self._mpi.Is_finalized,
        )

    def _enter(self, mesh: int, owners: Sequence[int]) -> _Room:
        """Make a communicator of a mesh's processes, once all of them have come to the same mesh."""
        MPI, members = self._mpi, list(dict.fromkeys(owners))  # in their order, which MPI's own collectives go by
        plan = hashlib.blake2b(str((mesh, *owners)).encode(), digest_size=8).digest()
        others = [p for p in members if p != self.process]
        said = np.frombuffer(plan, np.uint8)
        came = {p: np.zeros(8, np.uint8) for p in others}
        with self._lock:
            pending = {p: self._world.Irecv((came[p], 8, MPI.BYTE), p, _OPEN) for p in others}
            sends = [self._world.Isend((said, 8, MPI.BYTE), p, _OPEN) for p in others]

        def over() -> bool:
            for process in [p for p, request in pending.items() if request.Test()]:
                del pending[process]
            return not pending and all(s.Test() for s in sends)

        self._wait(over, _JOIN, lambda: next(iter(pending), None), "opening a mesh")
        wrong = [p for p in others if came[p].tobytes() != plan]
        if wrong:
            raise CollectiveError(
                f"process {wrong[0]} opens another mesh than process {self.process}; every process makes the same "
                "meshes, of the same ranks in the same order",
                rank=wrong[0],
                process=wrong[0],
                cause="mismatch",
            )
        with self._lock:
            group = self._world.Get_group().Incl(members)
            comm = self._world.Create_group(group, mesh % self._largest_tag)
        comm.Set_errhandler(MPI.ERRORS_RETURN)
        return _Room(comm, tuple(members.index(p) for p in owners))

    def link(self, first: int, second: int) -> Link:
        """Return what a message between two processes costs."""
        return self._links[self._hosts[first] == self._hosts[second]]

    def _measure(self) -> dict[bool, Link]:
        """Measure one link within a machine and one between two, from process 0; all processes take what it found."""
        here = self._hosts[0]
        partners = {
            same: next((p for p in range(1, self.processes) if (self._hosts[p] == here) == same), None)
            for same in (True, False)
        }
        found = {}
        for same, partner in partners.items():
            if partner is not None and self.process in (0, partner):
                found[same] = self._ping(partner if self.process == 0 else 0)
        if True in found:
            found[True] = _usual(found[True][0], self._hosts.count(here) > (os.cpu_count() or 1)), found[True][1]
        record = json.dumps([found.get(same) for same in (True, False)]).encode()
        measured = json.loads(self.gather(record, _JOIN)[0])
        links = [Link(m[0], m[1], "measured") if m else None for m in measured]
        known = next((link for link in links if link is not None), _ASSUMED)
        return {True: links[0] or known, False: links[1] or known}

    def _ping(self, partner: int) -> tuple[float, float]:
        """Return latency in seconds and bandwidth in bytes per second between this process and another one."""
        times = []
        for size, count in _PROBES:
            data = np.zeros(size, np.uint8)
            taken = []
            for i in range(count):
                if i % _BURST == 0:
                    time.sleep(_PAUSE)
                start = time.perf_counter()
                for first in (True, False):
                    post = self._world.Isend if (self.process == 0) == first else self._world.Irecv
                    with self._lock:
                        request = post((data, size, self._mpi.BYTE), partner, _PROBE)
                    self._wait(request.Test, _JOIN, lambda: partner, "measuring a link")
                taken.append((time.perf_counter() - start) / 2)
            times.append(min(taken))
        (small, _), (large, _) = _PROBES
        return times[0], (large - small) / max(times[1] - times[0], 1e-9)

    def _troubled(self) -> None:
        """Note that messages were given up: the processes may be out of step for good."""
        self._is_troubled = True

    def _leave(self) -> None:
        """End MPI. After a failure that may wait for ever, for a process that never comes; then this one ends alone."""
        MPI = self._mpi
        if MPI.Is_finalized():
            return
        if not self._is_troubled:
            MPI.Finalize()
            return
        said = f"a collective failed; process {self.process} ends alone if the others do not within {_END:g} s"
        print(f"opmux: {said}", file=sys.stderr, flush=True)
        with Path(os.devnull).open("w") as silence:
            # Its clock is a thread of C: MPI lets no Python run while it waits, and no thread can start at this point.
            faulthandler.dump_traceback_later(_END, exit=True, file=silence)
            MPI.Finalize()
            faulthandler.cancel_dump_traceback_later()


def _usual(latency: float, is_crowded: bool) -> float:
    """Return a latency within a machine as it is when no other program is at work, which passes and links are kept.

    >>> _usual(5e-5, is_crowded=False), _usual(3e-6, is_crowded=True)
    (5e-06, 1.5e-05)
    """
    return max(latency, _CROWDED) if is_crowded else min(latency, _ALONE)


def _late(what: str, process: int | None, timeout: float, died: bool) -> CollectiveError:
    who = "a process" if process is None else f"process {process}"
    said = f"{who} died" if died else f"{who} did not come within {timeout:g} s"
    return CollectiveError(
        f"{what}: {said}; look at its output, and whether every process makes the mesh",
        rank=process,
        process=process,
        cause="died" if died else "late",
    )


_made: list[MpiCommunicator] = []
_making: Final = threading.Lock()


def connect() -> MpiCommunicator:
    """Join the job, the first time.

    Raises:
        CollectiveError: MPI is missing, or another process does not join.
    """
    with _making:
        if not _made:
            _made.append(MpiCommunicator())
        return _made[0]
