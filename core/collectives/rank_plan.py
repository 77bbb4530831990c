"""A rank's part of a schedule bound to a layout: which elements it sends, receives and combines, step by step.

What can be known before the call is settled here: whether a message may be received where it belongs, or beside it,
because something else of the step still reads that memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from .layout import Layout
from .schedule import Schedule, Transfer


@dataclass(frozen=True, slots=True)
class Region:
    """A row of elements of a slot."""

    slot: int
    first: int
    length: int

    def overlaps(self, other: Region) -> bool:
        """Return whether they share an element."""
        return (
            self.slot == other.slot
            and min(self.length, other.length) > 0
            and self.first < other.first + other.length
            and other.first < self.first + self.length
        )


@dataclass(frozen=True, slots=True)
class Send:
    """A message to another rank.

    Attributes:
        target: the rank it goes to.
        number: counts those from here to there, from 1: number 0 is the header.
        data: what is sent.
        first: whether it is the first from here to there, of the first step with messages, and of what a rank brings:
            nothing has to come before it, so it may go along with the header.
    """

    target: int
    number: int
    data: Region
    first: bool = False


@dataclass(frozen=True, slots=True)
class Receive:
    """What comes into a region, from another rank or from this one.

    Attributes:
        source: the rank it comes from.
        number: as of :class:`Send`; 0 for local work.
        data: what is read, for local work only.
        base: with what it is combined; None to overwrite.
        into: where the result goes.
        beside: whether the message is received beside its place.
        copied: whether local work, or the base, is read before anything of the step is written.
        first: as of :class:`Send`.
    """

    source: int
    number: int
    data: Region | None
    base: Region | None
    into: Region
    beside: bool
    copied: bool
    first: bool = False


@dataclass(frozen=True, slots=True)
class RankStep:
    """What a rank does in a step.

    Attributes:
        sends: messages out.
        receives: messages in.
        locals: work of its own.
        copied: of the latter two those that read what the step itself overwrites.
    """

    sends: tuple[Send, ...]
    receives: tuple[Receive, ...]
    locals: tuple[Receive, ...]
    copied: tuple[Receive, ...]


@dataclass(frozen=True)
class RankPlan:
    """What a rank does in a collective.

    Attributes:
        rank: the rank.
        ranks: how many there are.
        sizes: elements of each slot.
        steps: what happens, in order; steps in which this rank does nothing are left out.
    """

    rank: int
    ranks: int
    sizes: tuple[int, ...]
    steps: tuple[RankStep, ...]

    @cached_property
    def opening(self) -> RankStep:
        """The first step in which this rank sends or receives."""
        return next((s for s in self.steps if s.sends or s.receives), RankStep((), (), (), ()))


def plan_rank(schedule: Schedule, layout: Layout, rank: int, most: int | None = None) -> RankPlan:
    """Return a rank's part of a schedule.

    Args:
        schedule: what all ranks do.
        layout: where the chunks lie.
        rank: the rank.
        most: elements of a message that is combined; one of more goes in pieces, so that what came last is still in
            the processor's cache. The same on every rank.

    >>> from .schedule import Step, Transfer
    >>> swap = Schedule("permute", "direct", 2, 1, 2, (Step((Transfer(0, 1, 0), Transfer(1, 0, 0))),))
    >>> [(s.sends[0].target, s.receives[0].source) for s in plan_rank(swap, Layout((5,)), 1).steps]
    [(0, 0)]

    Raises:
        ValueError: two transfers of one step write the same elements; the schedule is wrong.
    """
    sent = [0] * schedule.ranks
    received = [0] * schedule.ranks
    steps = []
    lead = _lead(schedule)
    for index, (outgoing, incoming) in enumerate(schedule.of_rank(rank)):
        sends = []
        turns: dict[int, int] = {}  # of a piece of a message, by identity: how many come before it
        for t in outgoing:
            origin = _origin(schedule, lead, t) if index == lead and not sent[t.target] else None
            slot, chunk = origin or (t.slot, t.chunk)
            for i, part in enumerate(_pieces(_region(layout, rank, slot, chunk, t.count), t, most)):
                sent[t.target] += 1
                sends.append(Send(t.target, sent[t.target], part, origin is not None and not i))
                turns[id(sends[-1])] = i
        into = [_region(layout, rank, t.into, t.at, t.count) for t in incoming]
        base = [None if t.base is None else _region(layout, rank, t.base, t.at, t.count) for t in incoming]
        data = [_region(layout, rank, t.slot, t.chunk, t.count) if t.is_local else None for t in incoming]
        _check(schedule, rank, into)
        reads = [r for r in (*(s.data for s in sends), *base, *data) if r is not None]
        arriving: list[Receive] = []
        local: list[Receive] = []
        for i, t in enumerate(incoming):
            overwritten = _must_copy(i, into, base[i], data[i])
            if t.is_local:
                local.append(Receive(t.source, 0, data[i], base[i], into[i], False, overwritten))
                continue
            beside = t.base is not None or any(into[i].overlaps(r) for r in reads)
            first = index == lead and not received[t.source] and _origin(schedule, lead, t) is not None
            parts = _pieces(into[i], t, most)
            own = base[i]
            for k, part in enumerate(parts):
                onto = None if own is None else Region(own.slot, own.first + part.first - into[i].first, part.length)
                received[t.source] += 1
                number = received[t.source]
                arriving.append(Receive(t.source, number, None, onto, part, beside, overwritten, first and not k))
                turns[id(arriving[-1])] = k
        if sends or arriving or local:
            copied = tuple(r for r in (*arriving, *local) if r.copied)
            made = RankStep(tuple(sends), tuple(arriving), tuple(local), copied)
            steps += _in_turn(made, turns)
    sizes = tuple(layout.size(rank, slot) for slot in range(schedule.slots))
    return RankPlan(rank, schedule.ranks, sizes, tuple(steps))


def _pieces(region: Region, t: Transfer, most: int | None) -> list[Region]:
    """Return the parts in which a transfer's region goes, the same on both ends."""
    if most is None or t.base is None or region.length <= most:
        return [region]
    ends = range(region.first, region.first + region.length, most)
    return [Region(region.slot, a, min(most, region.first + region.length - a)) for a in ends]


def _in_turn(step: RankStep, turns: Mapping[int, int]) -> list[RankStep]:
    """Return a step as one for each turn of its pieces, where none reads what another one writes."""
    count = max(turns.values(), default=0) + 1
    written = [r.into for r in (*step.receives, *step.locals)]
    if count == 1 or step.copied or any(s.data.overlaps(w) for s in step.sends for w in written):
        return [step]
    return [
        RankStep(
            tuple(s for s in step.sends if turns[id(s)] == turn),
            tuple(r for r in step.receives if turns[id(r)] == turn),
            () if turn else step.locals,
            (),
        )
        for turn in range(count)
    ]


def _lead(schedule: Schedule) -> int:
    """Return how many steps come before the first one with messages."""
    return next((i for i, step in enumerate(schedule.steps) if not all(t.is_local for t in step.transfers)), 0)


def _origin(schedule: Schedule, lead: int, t: Transfer) -> tuple[int, int] | None:
    """Return the slot and the chunk from which a message's data can be read before the leading steps, if they can.

    Both ends come to the same answer: where a leading step copies a row as a whole, it is read where that copy is.
    """
    found = t.slot, t.chunk
    for step in reversed(schedule.steps[:lead]):
        for local in step.received_by(t.source):
            slot, chunk = found
            if local.into != slot or local.at + local.count <= chunk or chunk + t.count <= local.at:
                continue
            if local.base is not None or (local.at, local.count) != (chunk, t.count):
                return None
            found = local.slot, local.chunk
            break
    return found


def _region(layout: Layout, rank: int, slot: int, chunk: int, count: int) -> Region:
    first, length = layout.span(rank, slot, chunk, count)
    return Region(slot, first, length)


def _must_copy(i: int, into: Sequence[Region], base: Region | None, data: Region | None) -> bool:
    """Return whether what transfer *i* reads here is written by another one of the step, or partly by itself."""
    for read in (base, data):
        if read is not None:
            others: Iterable[Region] = (w for j, w in enumerate(into) if j != i)
            if any(read.overlaps(w) for w in others) or (read.overlaps(into[i]) and read != into[i]):
                return True
    return False


def _check(schedule: Schedule, rank: int, into: Sequence[Region]) -> None:
    ordered = sorted((r for r in into if r.length), key=lambda r: (r.slot, r.first))
    for a, b in pairwise(ordered):
        if a.overlaps(b):
            raise ValueError(
                f"schedule {schedule.algorithm} of {schedule.collective}: two transfers of one step write elements "
                f"{b.first} to {min(a.first + a.length, b.first + b.length) - 1} of slot {a.slot} of rank {rank}"
            )
