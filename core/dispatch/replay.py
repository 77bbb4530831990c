"""Compiled functions on devices that replay work: all launches of a plan made as one, and put on the queue at once.

The first call runs the plan step by step and notes its launches. From then on the plan is one kernel to the core: its
results are allocated, its intermediates lie in one workspace, and its operands and results are put in order once. So
intermediates are ordered, released and poisoned with the call, and nothing outlives it but the notes.

What the device replays is bound to addresses. A loop of equal calls gets the same memory again and again, so replays
are kept by the addresses of everything that they touch; a call whose memory is new makes the launches one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from weakref import WeakKeyDictionary

from ..arrays.array import Array
from ..devices.device import Buffer, Device
from ..devices.driver import Replay, ReplayingDriver
from ..devices.status import Completion, outcome
from ..errors import OutOfMemoryError
from ..kernel import Launch
from ..signature import Signature
from .decision import Operands, Run
from .observe import STEP_OBSERVERS

#: Calls after which a plan whose launches could not be noted runs step by step for good.
_TRIES: Final = 3
#: Replays that a plan keeps, and addresses that it remembers to have seen once.
_MOST_REPLAYS: Final = 8
_MOST_SEEN: Final = 64
#: Calls that pay for one recording beyond those that are kept: to record takes a driver longer than to launch, and
#: where more memory comes by turns than is kept, every call would record what is dropped before it comes again.
_CALLS_PER_RECORDING: Final = 16
#: Bytes that arrays in the workspace lie at multiples of: what CUDA's allocators give.
_ALIGNMENT: Final = 256


#: Types what a launch raised.
Fail = Callable[[BaseException], Exception]


@dataclass(frozen=True, slots=True)
class Place:
    """An array of a noted launch.

    Attributes:
        slot: which memory: what the call is given comes first, then each result in order; constants count from -1 down.
        sig: how it is looked at.
        offset: bytes from the beginning of what was given, or of the result.
    """

    slot: int
    sig: Signature
    offset: int


@dataclass(frozen=True, slots=True, eq=False)
class Noted:
    """A launch.

    Attributes:
        launch: makes it.
        fail: what it raises, as opmux reports it.
        backend: whose kernel it is.
        outs: its results, each the whole of a slot.
        ins: its operands.
        scratch: its workspace.
    """

    launch: Launch
    fail: Fail
    backend: str
    outs: tuple[Place, ...]
    ins: tuple[Place | None, ...]
    scratch: Place | None


@dataclass(slots=True, eq=False)
class Notes:
    """The launches of one call.

    Attributes:
        device: where all of them have to be.
        given: operands.
        constants: what launches read of the constants of graphs.
        launches: in order.
        whole: whether they are all that was done.
    """

    device: Device
    given: tuple[Array, ...]
    constants: list[Array] = field(default_factory=list)
    launches: list[Noted] = field(default_factory=list)
    whole: bool = True
    _slots: WeakKeyDictionary[Buffer, int] = field(default_factory=WeakKeyDictionary)
    _known: WeakKeyDictionary[Buffer, Array] = field(default_factory=WeakKeyDictionary)
    _count: int = 0

    def __post_init__(self) -> None:
        for x in self.given:
            # Operands that share memory in this call need not in the next: whose a view is would be a guess.
            self.whole = self.whole and x._buffer not in self._slots
            self._slots[x._buffer] = self._count
            self._count += 1

    def place(self, x: Array) -> Place | None:
        """Return where an array lies; None for memory that came from elsewhere."""
        slot = self._slots.get(x._buffer)
        if slot is None and x._buffer in self._known:
            self.constants.append(self._known[x._buffer])
            slot = self._slots[x._buffer] = -len(self.constants)
        if slot is None or x.device is not self.device:
            self.whole = False
            return None
        start = 0
        if slot < len(self.given):
            start = (self.given[slot] if slot >= 0 else self.constants[-1 - slot])._offset
        return Place(slot, x._sig, x._offset - start)

    def know(self, constants: Sequence[Array]) -> None:
        """Take in the constants of a graph that is about to run; if one is an operand too, that is by chance."""
        for x in constants:
            self.whole = self.whole and self._slots.get(x._buffer, -1) < 0
            self._known.setdefault(x._buffer, x)

    def add(
        self, launch: Launch, fail: Fail, backend: str, outs: Sequence[Array], ins: Operands, workspace: Array | None,
        completion: Completion | None,
    ) -> None:  # fmt: skip
        """Note a launch that was made."""
        operands = tuple([None if x is None else self.place(x) for x in ins])
        results = [self._made(y) for y in outs]
        scratch = None if workspace is None else self._made(workspace)
        self.whole = self.whole and completion is None
        self.launches.append(Noted(launch, fail, backend, tuple(results), operands, scratch))

    def _made(self, x: Array) -> Place:
        """Return the place of memory that is the launch's own."""
        self._slots[x._buffer] = self._count
        self._count += 1
        self.whole = self.whole and x.device is self.device
        return Place(self._count - 1, x._sig, 0)


_NOTES: Final[ContextVar[Notes | None]] = ContextVar("opmux_notes", default=None)
#: Not empty while some context notes launches; launches take the short way while it is.
NOTING: Final[list[Notes]] = []


def note_launch(
    launch: Launch, fail: Fail, backend: str, outs: Sequence[Array], ins: Operands, workspace: Array | None,
    completion: Completion | None,
) -> None:  # fmt: skip
    """Note a launch, where this context notes launches."""
    notes = _NOTES.get()
    if notes is not None:
        notes.add(launch, fail, backend, outs, ins, workspace, completion)


def note_constants(constants: Sequence[Array]) -> None:
    """Tell of the constants of a graph that is about to run, where this context notes launches."""
    notes = _NOTES.get()
    if notes is not None:
        notes.know(constants)


@contextlib.contextmanager
def _noting(notes: Notes) -> Iterator[None]:
    token = _NOTES.set(notes)
    NOTING.append(notes)
    try:
        yield
    finally:
        NOTING.remove(notes)
        _NOTES.reset(token)


#: Makes a kernel's runner: ``make(launch, outputs, workspace)``.
MakeRunner = Callable[[Launch, tuple[Signature, ...], int], Run]


def replayed(run: Run, device: Device, driver: ReplayingDriver, make: MakeRunner) -> Run:
    """Return the function that runs a plan, from its second call on as one kernel.

    Args:
        run: runs the plan step by step.
        device: where.
        driver: the device's.
        make: makes the runner of that one kernel, which gets the plan's constants as its last operands.
    """
    tries = _TRIES
    flat: Run | None = None

    def run_replayed(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        nonlocal tries, flat
        if flat is not None and not STEP_OBSERVERS:
            try:
                return flat(operands, into)
            except OutOfMemoryError:
                pass  # results lie beside all intermediates there; step by step, what is read is free before the next
        if tries < 1 or STEP_OBSERVERS:  # less where threads counted at once
            return run(operands, into)
        tries -= 1
        notes = Notes(device, tuple([x for x in operands if x is not None]))
        with _noting(notes):
            results = run(operands, into)
        places = [p for p in map(notes.place, results) if p is not None]
        if notes.whole:
            tries = 0
            made = _Flat(notes, places, driver).runner(make)
            flat = None if made is None else _with(made, tuple(notes.constants))
        return results

    return run_replayed


def _with(run: Run, constants: tuple[Array, ...]) -> Run:
    """Return the function that adds constants to the operands."""
    return lambda operands, into: run((*operands, *constants), None)


#: A launch with its results, operands and workspace.
_Bound = tuple[Noted, list[Array], list[Any], "Array | None"]


class _Flat:
    """Launches as one."""

    def __init__(self, notes: Notes, results: Sequence[Place], driver: ReplayingDriver) -> None:
        self._launches = notes.launches
        self._given = len(notes.given)
        self._results = results
        self._driver = driver
        self._owned = all(noted.backend == notes.device.owner for noted in notes.launches)
        made = {p.slot: p.sig for noted in notes.launches for p in noted.outs}
        kept = list(dict.fromkeys(p.slot for p in results if p.slot >= self._given))
        #: Slots that are results, by their position among the kernel's.
        self._kept = {slot: k for k, slot in enumerate(kept)}
        self._outputs = tuple([made[slot] for slot in kept])
        self._inside, self._workspace = _arena(notes.launches, self._kept)
        self._replays: dict[tuple[Any, ...], Replay] = {}
        self._seen: dict[tuple[Any, ...], bool] = {}
        self._credit = _MOST_REPLAYS * _CALLS_PER_RECORDING

    def runner(self, make: MakeRunner) -> Run | None:
        """Return the function that runs them; None where one launch, or none, is nothing to put together."""
        if len(self._launches) < 2 or not self._kept:
            return None
        run, results, given = make(self._launch, self._outputs, self._workspace), self._results, self._given
        whole = [(p.slot, p.sig, p.offset) for p in results]
        if whole == [(slot, sig, 0) for slot, sig in zip(self._kept, self._outputs, strict=True)]:
            return run  # the results as the kernel makes them

        def run_flat(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
            made = run(operands, into)
            bases = [operands[self._at(p)] if p.slot < given else made[self._kept[p.slot]] for p in results]
            return tuple([_seen_as(p, x) for p, x in zip(results, bases, strict=True) if x is not None])

        return run_flat

    def _launch(self, outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        used = (*ins, *outs) if workspace is None else (*ins, *outs, workspace)
        key = tuple([x.ptr for x in used])
        self._credit += 1
        replay = self._replays.get(key)
        if replay is not None:
            replay(queue)
            return
        bound = self._bound(outs, ins, workspace)
        for noted, results, operands, scratch in bound:
            try:
                completion = noted.launch(results, operands, scratch, queue)
            except Exception as error:
                _raise(noted.fail(error), error)
            late = None if completion is None else outcome(completion)
            if late is not None:
                _raise(noted.fail(late), late)
        if self._owned and self._credit >= _CALLS_PER_RECORDING:
            self._remember(key, bound)

    def _remember(self, key: tuple[Any, ...], bound: list[_Bound]) -> None:
        """Let the device record the launches, the second time that they come with the same memory."""
        # One step each: other threads do the same, and only one of them is to record.
        if self._seen.pop(key, True):
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[key] = False
            return

        def put(queue: Any) -> None:
            for noted, results, operands, scratch in bound:
                noted.launch(results, operands, scratch, queue)

        self._credit -= _CALLS_PER_RECORDING
        replay = self._driver.replayable(put)
        if replay is None:
            self._owned = False
            return
        for oldest in list(self._replays)[: 1 - _MOST_REPLAYS]:
            self._replays.pop(oldest, None)
        self._replays[key] = replay

    def _at(self, place: Place) -> int:
        """Return which operand of the kernel an operand or a constant is."""
        return place.slot if place.slot >= 0 else self._given - 1 - place.slot

    def _bound(self, outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None) -> list[_Bound]:
        """Return every launch with its arrays."""

        def at(place: Place | None) -> Any:
            if place is None:
                return None
            if place.slot < self._given:
                return _seen_as(place, ins[self._at(place)])
            if place.slot in self._kept:
                return _seen_as(place, outs[self._kept[place.slot]])
            return None if workspace is None else _seen_as(place, workspace, self._inside[place.slot])

        return [
            (noted, [at(p) for p in noted.outs], [at(p) for p in noted.ins], at(noted.scratch))
            for noted in self._launches
        ]


def _seen_as(place: Place, x: Array, start: int = 0) -> Array:
    return Array(x._buffer, place.sig, x._offset + start + place.offset)


def _arena(launches: Sequence[Noted], kept: Container[int]) -> tuple[dict[int, int], int]:
    """Return where intermediates and workspaces lie in one workspace, by slot, and its size.

    Memory is given again once the last launch that uses it is made: a queue does them in order.
    """
    last = {p.slot: i for i, noted in enumerate(launches) for p in noted.ins if p is not None}
    lying: list[tuple[int, int, int]] = []  # from, to, and the last launch that uses it
    inside: dict[int, int] = {}
    for i, noted in enumerate(launches):
        for p in (*noted.outs, noted.scratch):
            if p is None or p.slot in kept:
                continue
            size = -(-max(p.sig.nbytes, 1) // _ALIGNMENT) * _ALIGNMENT
            at = 0
            for start, end, used in sorted(lying):
                if used >= i and start < at + size and at < end:
                    at = end
            lying.append((at, at + size, last.get(p.slot, i)))
            inside[p.slot] = at
    return inside, max((end for _, end, _ in lying), default=0)


def _raise(typed: Exception, cause: BaseException) -> NoReturn:
    if typed is cause:
        raise typed
    raise typed from cause
