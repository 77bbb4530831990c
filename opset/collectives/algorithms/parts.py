"""What algorithms are made of: steps over a group of ranks that differ in one digit of their number."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ....core.collectives.schedule import INPUT, OUTPUT, Schedule, Step, Transfer
from ....core.kernel import Reason, Rejection


@dataclass(frozen=True, slots=True)
class Group:
    """The ranks that differ in one digit, and the rows of chunks that belong to them.

    Attributes:
        radices: of a rank's number.
        places: what one of each digit is worth in chunks, see :class:`~opmux.core.collectives.schedule.Step`.
        digit: which one differs.
    """

    radices: tuple[int, ...]
    places: tuple[int, ...]
    digit: int

    @property
    def size(self) -> int:
        """How many ranks differ in the digit."""
        return self.radices[self.digit]

    @property
    def row(self) -> int:
        """How many chunks belong to each of them."""
        return self.places[self.digit]

    @property
    def apart(self) -> int:
        """By how much the numbers of neighbours differ."""
        return math.prod(self.radices[self.digit + 1 :])

    def step(self, *transfers: Transfer, times: int = 1, shift: int = 0) -> Step:
        """Return a step that every rank makes alike."""
        return Step(transfers, self.radices, self.places, times=times, shift=shift)

    def bits(self, near_first: bool) -> tuple[Group, tuple[tuple[int, int], ...]]:
        """Return the group with its digit, a power of two, taken apart into bits.

        Args:
            near_first: whether neighbours differ in half of the chunks, instead of ranks far apart.

        Returns:
            the group, and for each bit, from the smallest row of chunks up, the distance of ranks and the row.
        """
        k = self.size.bit_length() - 1
        rows = [self.row << (k - 1 - i if near_first else i) for i in range(k)]
        halves = sorted(((self.apart << i, rows[i]) for i in range(k)), key=lambda half: half[1])
        radices = (*self.radices[: self.digit], *(2,) * k, *self.radices[self.digit + 1 :])
        places = (*self.places[: self.digit], *reversed(rows), *self.places[self.digit + 1 :])
        return Group(radices, places, self.digit), tuple(halves)


def flat(ranks: int) -> Group:
    """Return all ranks as one group, a chunk each."""
    return Group((ranks,), (1,), 0)


def ring_scatter(group: Group, source: int, kept: int, result: int) -> tuple[Step, ...]:
    """Return the ring that leaves on each rank the reduction of its own row.

    Args:
        group: the ranks.
        source: the slot of the contributions.
        kept: the slot of what is reduced on the way.
        result: the slot of each rank's own row.
    """
    n, row, back = group.size, group.row, (group.size - 1) * group.apart

    def step(number: int, slot: int, into: int, times: int = 1) -> Step:
        chunk = (n - 1 - number) % n * row
        return group.step(Transfer(0, group.apart, chunk, row, slot, into, source), times=times, shift=back)

    if n == 2:
        return (step(0, source, result),)
    middle = (step(1, kept, kept, n - 3),) if n > 3 else ()
    return (step(0, source, kept), *middle, step(n - 2, kept, result))


def ring_gather(group: Group, slot: int = OUTPUT, chunk: int = 0) -> tuple[Step, ...]:
    """Return the ring that brings every rank's own row to all; *chunk* is where rank 0's own row begins."""
    n, row, back = group.size, group.row, (group.size - 1) * group.apart
    return (group.step(Transfer(0, group.apart, chunk, row, slot, slot), times=n - 1, shift=back),)


def halving(group: Group, source: int, kept: int, result: int, near_first: bool) -> tuple[Step, ...]:
    """Return the exchange of halves that leaves on each rank the reduction of one row; slots as in a ring."""
    group, halves = group.bits(near_first)
    steps = []
    for i, (distance, row) in enumerate(reversed(halves)):
        slot = source if i == 0 else kept
        into = result if i == len(halves) - 1 else kept
        steps.append(group.step(Transfer(0, distance, row, row, slot, into, slot)))
        # Rank 0 keeps the first half: what it sends, the second, is where its partner's row lies.
    return tuple(steps)


def doubling(group: Group, slot: int, near_first: bool) -> tuple[Step, ...]:
    """Return the exchange of growing rows that brings every rank's own row to all."""
    group, halves = group.bits(near_first)
    return tuple(group.step(Transfer(0, distance, 0, row, slot, slot)) for distance, row in halves)


def direct_gather(ranks: int, source: int = OUTPUT) -> Step:
    """Return the step in which every rank sends its own chunk to every other."""
    return flat(ranks).step(*(Transfer(0, k, 0, 1, source, OUTPUT) for k in range(1, ranks)))


def alone(collective: str, algorithm: str) -> Schedule:
    """Return what one rank by itself does: its operand is its result."""
    return Schedule(collective, algorithm, 1, 1, 2, (Step((Transfer(0, 0, 0, 1, INPUT, OUTPUT),)),))


def is_power_of_two(n: int) -> bool:
    """Return whether n is one of 1, 2, 4, ..."""
    return n & (n - 1) == 0


def only_powers_of_two(ranks: int) -> Rejection:
    """Return the refusal of an algorithm that exchanges halves."""
    return Rejection(Reason.SIZE, f"{ranks} ranks; it exchanges halves, which takes a power of two")
