"""Meshes: an ordered set of devices, in this process or across processes, over which collectives run."""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import weakref
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from ..devices.device import DEVICES, Device, find_device
from ..errors import ArgumentError, ArgumentTypeError, CollectiveError, DeviceError, shown
from ..locks import Order, held_across_fork
from .communicator import Communicator, Endpoint
from .meeting import Member, check_not_launched, identity, meet
from .turn import is_held

if TYPE_CHECKING:  # messages between processes are loaded with the first one
    from ..arrays.array import Array
    from ..dispatch.decision import Decision
    from .begun import Begun
    from .control import Control
    from .failure import MeshFailure
    from .watch import Running

#: Seconds after which a rank that does not answer counts as failed, where the mesh says nothing else.
TIMEOUT: Final = 60.0
#: Seconds that a call waits at most for a thread that only looks for news, which takes microseconds.
_LOOK: Final = 1.0
#: Held while a turn that was left behind is looked into.
_taking_over: Final = held_across_fork(Order.TABLE)


class Mesh:
    """An ordered set of devices; rank i is the i-th of them.

    In one process a mesh is over devices of that process: all those of the default device's kind, or the ones given
    (``OPMUX_CPU_DEVICES=4`` makes the host four devices). In a program that a launcher such as ``mpiexec`` started many
    times it is over the processes, each of which brings its own devices, by default the one default device. A
    collective takes one array per *local* rank, so the same program runs both ways.

    Args:
        devices: this process's devices in order, by name or as objects.
        communicator: by name what carries messages between processes; None takes the one of the launcher. ``"none"``
            makes a mesh of this process alone.
        timeout: seconds after which a rank that does not answer counts as failed.

    Attributes:
        members: of every rank its device's name and its process.
        local_ranks: the ranks of this process.
        local_devices: their devices.
        timeout: as given.

    Raises:
        DeviceError: for a device that is absent, or given twice.
        ArgumentError: for a time that is not positive.
        CollectiveError: the processes do not agree with each other.

    >>> import opmux as ox
    >>> mesh = ox.Mesh(["cpu:0"])
    >>> mesh.size, mesh.local_ranks
    (1, (0,))
    """

    def __init__(
        self,
        devices: Sequence[Device | str] | None = None,
        *,
        communicator: str | Communicator | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        limit = _seconds(timeout)
        carrier = _communicator(communicator)
        own = _devices(devices, alone=carrier is None)
        members = meet(carrier, own, limit)
        self._set(carrier, members, own, limit, "mesh")
        self._open()

    def _set(
        self,
        communicator: Communicator | None,
        members: tuple[Member, ...],
        own: Sequence[Device],
        timeout: float,
        path: str,
    ) -> None:
        self.communicator = communicator
        self.members = members
        self.timeout = timeout
        process = 0 if communicator is None else communicator.process
        self.local_ranks = tuple(i for i, m in enumerate(members) if m.process == process)
        self.local_devices = tuple(own)
        self.failure: MeshFailure | None = None
        #: How calls over this mesh are done, by the tables in force, op, arguments as given, and the operands'
        #: signatures. Decisions go with the mesh, whose messages end when nobody uses it any more.
        self.decisions: dict[tuple[Any, ...], Decision] = {}
        self._path = path
        self._calls = itertools.count(1)
        self._lines: tuple[tuple[Endpoint, Control], ...] | None = None
        #: Calls under way that nobody has waited for yet.
        self.begun: list[Begun] = []
        #: Held while a thread makes a call or moves those on that it has begun: their order is what ranks agree on.
        #: Whoever takes it has it in a variable named ``turn``.
        self.in_use = threading.Lock()
        #: Held while a thread looks for news outside of a call.
        self._news = threading.Lock()
        self._pairs: dict[tuple[int, int], Mesh] = {}
        #: Arrays on their way between two ranks of this process, for a mesh made by :meth:`pair`.
        self.mailbox: deque[Array] = deque()
        self._made: dict[tuple[int, ...], Iterator[int]] = {}
        #: Keeps the messages of meshes apart; all processes make their groups in the same order, so they agree on it.
        self.number = zlib.crc32(path.encode())

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return len(self.members)

    @property
    def is_local(self) -> bool:
        """Whether every rank is in this process."""
        return len(self.local_ranks) == len(self.members)

    def group(self, ranks: Sequence[int]) -> Mesh:
        """Return a mesh of some of the ranks, in the order given; every process of this mesh makes the same groups.

        Args:
            ranks: numbers within this mesh, each once.

        Raises:
            ArgumentError: for none, for one that is not in the mesh, and for one given twice.
        """
        self.check()
        found = tuple(ranks)
        for r in found:
            if type(r) is not int or not 0 <= r < self.size:
                raise ArgumentError(f"Mesh.group: {shown(r)} is no rank of {self}", rank=r)
        if not found or len(set(found)) < len(found):
            raise ArgumentError(f"Mesh.group: ranks {shown(list(found))}; give each rank of it once", ranks=found)
        nth = next(self._made.setdefault(found, itertools.count(1)))  # in one step, whichever thread asks
        made = self._part(found, f"{self._path}/{','.join(map(str, found))}#{nth}")
        made._open()
        return made

    def _part(self, ranks: tuple[int, ...], path: str) -> Mesh:
        device_of = dict(zip(self.local_ranks, self.local_devices, strict=True))
        own = [device_of[r] for r in ranks if r in device_of]
        made = Mesh.__new__(Mesh)
        made._set(self.communicator, tuple(self.members[r] for r in ranks), own, self.timeout, path)
        return made

    def pair(self, source: int, target: int) -> Mesh:
        """Return the mesh of two ranks that messages from one to the other go over; no other rank need make it."""
        found = self._pairs.get((source, target))
        if found is None:
            found = self._pairs[source, target] = self._part((source, target), f"{self._path}/{source}>{target}")
        return found

    def split(self, shape: Sequence[int], axis: int) -> tuple[Mesh, ...]:
        """Return the groups of ranks that differ only along one axis, the ranks laid out in a grid in row-major order.

        >>> import opmux as ox
        >>> [m.size for m in ox.Mesh(["cpu:0"]).split((1, 1), 0)]
        [1]

        Raises:
            ArgumentError: when the grid has another number of places, or no such axis.
        """
        grid = tuple(shape)
        count = 1
        for n in grid:
            count *= n
        if count != self.size or not -len(grid) <= axis < len(grid):
            raise ArgumentError(
                f"Mesh.split: {self.size} ranks as a grid of {grid} along axis {axis}; the grid needs {self.size} "
                f"places and the axis must be one of its own",
                shape=grid,
                axis=axis,
            )
        step = 1
        for n in grid[axis % len(grid) + 1 :]:
            step *= n
        length = grid[axis]
        first = (r for r in range(self.size) if r // step % length == 0)
        return tuple(self.group([r + i * step for i in range(length)]) for r in first)

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What every header says of this process beside the call."""
        from .agreement import digest

        said = identity()
        return {"opmux": said["opmux"], "plugins": digest(said["plugins"])}

    def lines(self) -> tuple[tuple[Endpoint, Control], ...]:
        """Return for each local rank its messages, and its side of the control messages."""
        if self._lines is None:
            from .begun import end_at_exit
            from .control import Control

            carrier = self.communicator
            assert carrier is not None  # a mesh of one process sends no messages
            owners = [m.process for m in self.members]
            opened = [carrier.open(self.number, owners, rank) for rank in self.local_ranks]
            self._lines = tuple((endpoint, Control(endpoint)) for endpoint in opened)
            weakref.finalize(self, _close, self._lines)
            end_at_exit(self)
        return self._lines

    def _open(self) -> None:
        """Open the messages of a mesh that every process of it makes now; those of a pair wait for the first call."""
        if self.local_ranks and not self.is_local:
            self.lines()

    def begin(self, parts: list[Running]) -> Begun:
        """Begin a collective: its first messages go out."""
        from .begun import Begun

        begun = Begun(parts, self.begun, self.fail)
        begun.round()
        return begun

    def take_turn(self) -> threading.Lock:
        """Return the lock of the mesh, taken; to be released in the ``finally`` of a ``try`` that follows at once.

        Raises:
            CollectiveError: another thread is in a call.
        """
        turn = self.in_use
        if not turn.acquire(False):
            turn = self._left_behind(turn, sys._getframe())
        return turn

    def take_over(self, old: threading.Lock) -> threading.Lock:
        """Return a lock in place of one that is taken, where the call that took it has ended without giving it back.

        Args:
            old: what :attr:`in_use` was, which the caller has in its variable ``turn``.

        Raises:
            CollectiveError: it is taken by a call.
        """
        return self._left_behind(old, sys._getframe(1))

    def _left_behind(self, old: threading.Lock, asking: FrameType) -> threading.Lock:
        """Return a new lock, taken, in place of one that nobody will release.

        Who only looks for news is waited for. Holders are looked for once the new one is in place: whoever comes from
        then on meets that, and who came before is found. The new one is in a variable ``turn`` all the while, so that
        nobody who meets it takes it for left behind.

        Raises:
            CollectiveError: somebody will release it.
        """
        if old.acquire(timeout=_LOOK if self._news.locked() else 0):
            return old
        turn, is_free = threading.Lock(), False
        turn.acquire()
        with _taking_over:
            if self.in_use is old:  # else another thread was first
                try:
                    self.in_use = turn
                    is_free = not is_held(old, asking)
                finally:
                    if not is_free:
                        self.in_use = old
        if not is_free:
            raise self.used_by_another()
        return turn

    def used_by_another(self) -> CollectiveError:
        """Return what a thread is told that comes while another one is in a call."""
        return CollectiveError(
            f"{self}: another thread is in a call on it; ranks tell calls apart by their order, so one thread at a "
            f"time makes them, and waits for their handles. Make a mesh for each thread",
            cause="busy",
        )

    def next_call(self) -> int:
        """Return the number of the call that begins now: all processes count alike."""
        return next(self._calls)

    def check(self) -> None:
        """Raise again why this mesh cannot be used, if so.

        Raises:
            CollectiveError: with the attributes of the first failure.
        """
        if self.failure is not None:
            raise self.failure.again()
        if not self._lines:
            return
        if not self._news.locked():
            with self._news:
                self._look()
        for _, control in self._lines:
            if control.failure is not None:
                raise control.failure.again()

    def _look(self) -> None:
        """Take what other ranks may have seen that this one has not, unless a call of another thread does that.

        Two that look at once would take the same message, and lose the one after it.
        """
        turn = self.in_use
        if not turn.acquire(False):
            return
        try:
            for _, control in self._lines or ():
                control.poll()
        finally:
            turn.release()

    def fail(self, error: CollectiveError) -> None:
        """Note a failure after which ranks may be out of step; the first one stays."""
        if self.failure is None:
            self.failure = error.failure

    def __repr__(self) -> str:
        kinds = ", ".join(sorted({m.device.partition(":")[0] for m in self.members}))
        processes = len({m.process for m in self.members})
        ranks = f"{self.size} rank{'s' * (self.size > 1)}"
        return f"<mesh of {ranks} on {kinds} in {processes} process{'es' * (processes > 1)}>"


def _close(lines: Sequence[tuple[Endpoint, Control]]) -> None:
    """End the messages of a mesh that nobody uses any more, or of a process that ends."""
    for endpoint, control in lines:
        control.close()
        endpoint.close()


def _seconds(given: Any) -> float:
    """Return a time limit."""
    if not isinstance(given, int | float) or isinstance(given, bool) or not given > 0:
        raise ArgumentError(f"Mesh: timeout={shown(given)} is not a positive number of seconds", timeout=given)
    return float(given)


def _devices(given: Sequence[Device | str] | None, alone: bool) -> tuple[Device, ...]:
    """Return this process's devices."""
    from ..arrays import defaults

    if given is None:
        default = defaults.device()
        return tuple(d for d in DEVICES if d.kind == default.kind) if alone else (default,)
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ArgumentTypeError(f"Mesh: devices={shown(given)} is not a list of devices", devices=given)
    found = tuple(find_device(d) for d in given)
    if not found:
        raise ArgumentError("Mesh: no devices; give at least one, or leave out devices=", devices=given)
    for i, d in enumerate(found):
        if d in found[:i]:
            raise DeviceError(
                f"Mesh: {d} is given twice, as rank {found.index(d)} and rank {i}; a device is one rank "
                f"(OPMUX_CPU_DEVICES=N makes the host N devices)",
                device=d.name,
            )
    return found


def _communicator(given: str | Communicator | None) -> Communicator | None:
    """Return what carries messages to other processes, or None where there are none."""
    from .. import runtime
    from ..dispatch.registry import REGISTRY

    if given is not None and not isinstance(given, str):
        return given
    if given == "none":
        return None
    runtime.ensure_loaded()
    present = REGISTRY.communicators()
    if given is None:
        found = next((c for c in present if c.processes > 1), None)
        if found is None:
            check_not_launched()
        return found
    found = next((c for c in present if c.name == given), None)
    if found is None:
        names = ", ".join(c.name for c in present) or "none"
        raise CollectiveError(
            f"Mesh: no communicator {given!r}; present: {names}. `opmux doctor` says why a backend is missing",
            communicator=given,
        )
    return found
