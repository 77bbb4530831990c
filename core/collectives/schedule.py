"""Schedules: what a collective does, as data. Communicators execute them, the cost model prices them.

Each rank has *slots*, which are vectors cut into numbered *chunks*. A schedule is a sequence of steps, a step a set of
transfers between slots that all read what was there before the step. A transfer within one rank is local work. How
long a chunk is, and where it lies, is not part of a schedule: :class:`~opmux.core.collectives.layout.Layout` binds
that, so that one schedule serves every size.

A step in which all ranks do the same is written once, for rank 0, and ``radices`` says how it repeats: a rank is a
number in a mixed radix, and rank r's transfers are rank 0's with r added digit by digit, each digit modulo its radix.
``(n,)`` is a rotation, as in a ring; ``(2, 2, ..., 2)`` is an exclusive or, as in recursive doubling; ``(groups,
size)`` is both levels of a hierarchy. A step that is made several times, moving on by some chunks each time, is written
once too. So a ring of 4,096 ranks, which sends 33 million messages, is four steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

#: The slot that holds what the caller gave, which is never written, and the one that holds the result.
INPUT: Final = 0
OUTPUT: Final = 1


@dataclass(frozen=True, slots=True)
class Transfer:
    """One message, or local work where *source* is *target*.

    The target's ``into`` chunks become the source's ``slot`` chunks, combined with the target's own ``base`` chunks
    where there are any: ``into = base (+) slot``.

    Attributes:
        source, target: ranks.
        chunk: the first chunk that is read at the source.
        count: how many chunks, in a row.
        slot: which slot of the source is read.
        into: which slot of the target is written.
        base: the slot of the target with which what arrives is combined; None to overwrite.
        at: the first chunk that is written (and combined with) at the target.
    """

    source: int
    target: int
    chunk: int
    count: int = 1
    slot: int = INPUT
    into: int = OUTPUT
    base: int | None = None
    at: int = -1

    def __post_init__(self) -> None:
        if self.at < 0:
            object.__setattr__(self, "at", self.chunk)

    @property
    def is_local(self) -> bool:
        """Whether nothing leaves the rank."""
        return self.source == self.target


@dataclass(frozen=True, slots=True)
class Step:
    """Transfers that happen at once.

    Attributes:
        transfers: all of them; with *radices* those whose source is rank 0.
        radices: how they repeat over the ranks, most significant digit first; empty where they do not.
        places: for each digit of a rank, by how many chunks one more of it moves a transfer's ``chunk`` and ``at``,
            modulo the digit's radix. A row of chunks is not moved within itself: a digit whose place is less than
            ``count`` moves nothing. Empty for the digits' own places, where chunks are numbered as ranks are.
        fan: whether every source has a slot of its own at each target: ``into`` plus the number of the source.
        times: how often the step is made; only what :attr:`Schedule.phases` holds is made more than once.
        shift: the rank by whose digits ``chunk`` and ``at`` move on from each time to the next.
    """

    transfers: tuple[Transfer, ...]
    radices: tuple[int, ...] = ()
    places: tuple[int, ...] = ()
    fan: bool = False
    times: int = 1
    shift: int = 0

    def all(self) -> Iterator[Transfer]:
        """Iterate over the transfers of every rank."""
        if not self.radices:
            yield from self.transfers
            return
        for rank in range(self.ranks):
            yield from self.sent_by(rank)

    def sent_by(self, rank: int) -> tuple[Transfer, ...]:
        """Return the transfers whose source is a rank, local work too."""
        if not self.radices:
            return tuple(t for t in self.transfers if t.source == rank)
        return tuple(self._of(t, rank) for t in self.transfers)

    def received_by(self, rank: int) -> tuple[Transfer, ...]:
        """Return the transfers whose target is a rank, local work too."""
        if not self.radices:
            return tuple(t for t in self.transfers if t.target == rank)
        return tuple(self._of(t, digitwise(rank, t.target, self.radices, -1)) for t in self.transfers)

    def once(self) -> Iterator[Step]:
        """Iterate over the times that the step is made, each a step of its own.

        >>> ring = Step((Transfer(0, 1, 0),), radices=(3,), times=2, shift=2)
        >>> [step.transfers[0].chunk for step in ring.once()]
        [0, 2]
        """
        if self.times == 1:
            yield self
            return
        for time in range(self.times):
            yield Step(tuple(self._on(t, time) for t in self.transfers), self.radices, self.places, self.fan)

    @property
    def ranks(self) -> int:
        """Over how many ranks the step repeats."""
        return math.prod(self.radices)

    def target(self, t: Transfer, rank: int) -> int:
        """Return the target of rank 0's transfer as a rank makes it."""
        return digitwise(t.target, rank, self.radices)

    def moves(self, t: Transfer) -> bool:
        """Return whether a transfer of rank 0 is of other chunks on other ranks."""
        place = 1
        for i in range(len(self.radices) - 1, -1, -1):
            if self.radices[i] > 1 and (self.places[i] if self.places else place) >= t.count:
                return True
            place *= self.radices[i]
        return False

    def _of(self, t: Transfer, rank: int) -> Transfer:
        """Return rank 0's transfer as a rank makes it."""
        if rank == 0:
            return t
        return Transfer(
            rank, self.target(t, rank), self._chunk(t.chunk, t.count, rank), t.count, t.slot,
            t.into + rank if self.fan else t.into, t.base, self._chunk(t.at, t.count, rank),
        )  # fmt: skip

    def _on(self, t: Transfer, time: int) -> Transfer:
        """Return rank 0's transfer as it is made a later time."""
        chunk, at = (self._chunk(c, t.count, self.shift, time) for c in (t.chunk, t.at))
        return Transfer(t.source, t.target, chunk, t.count, t.slot, t.into, t.base, at)

    def _chunk(self, chunk: int, count: int, rank: int, times: int = 1) -> int:
        """Return the number of a row's first chunk, moved by a rank's digits, so many times."""
        place = 1
        for i in range(len(self.radices) - 1, -1, -1):
            radix = self.radices[i]
            rank, digit = divmod(rank, radix)
            by = self.places[i] if self.places else place
            if digit and by >= count:
                here = chunk // by % radix
                chunk += ((here + digit * times) % radix - here) * by
            place *= radix
        return chunk


@dataclass(frozen=True)
class Schedule:
    """What a collective does on every rank.

    Attributes:
        collective: the op's name.
        algorithm: the algorithm's name, e.g. ``"ring"``.
        ranks: how many take part.
        chunks: into how many chunks each slot is cut.
        slots: how many slots a rank has; :data:`INPUT`, :data:`OUTPUT`, further inputs, and scratch behind them.
        phases: what happens, in order; a step made several times stands here once.
        order: the id of the order in which contributions are combined, ``"canonical"`` for the op's canonical one, and
            where nothing is combined.
        own: slots that hold only the chunk numbered as their rank: the input of an all_gather, the output of a
            reduce_scatter, scratch for the contributions to a rank's own chunk.
        inputs: how many slots hold what the caller gave: :data:`INPUT`, and the ``inputs - 1`` behind :data:`OUTPUT`,
            for ranks that bring several contributions. Those that a rank does not bring are not read there.
        zeroed: ranks whose output is zeros, because nothing arrives there.
    """

    collective: str
    algorithm: str
    ranks: int
    chunks: int
    slots: int
    phases: tuple[Step, ...]
    order: str = "canonical"
    own: frozenset[int] = frozenset()
    inputs: int = 1
    zeroed: tuple[int, ...] = ()

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps, each made once."""
        return tuple(step for phase in self.phases for step in phase.once())

    def of_rank(self, rank: int) -> tuple[tuple[tuple[Transfer, ...], tuple[Transfer, ...]], ...]:
        """Return per step what a rank sends to others, and what it receives, its local work included in the latter."""
        return tuple(
            (tuple(t for t in step.sent_by(rank) if not t.is_local), step.received_by(rank)) for step in self.steps
        )


def digitwise(a: int, b: int, radices: tuple[int, ...], sign: int = 1) -> int:
    """Return a + b (or a - b) digit by digit in a mixed radix, without carries.

    >>> digitwise(3, 2, (4,)), digitwise(3, 2, (2, 2)), digitwise(5, 4, (2, 3))
    (1, 1, 0)
    """
    total, place = 0, 1
    for radix in reversed(radices):
        total += (a % radix + sign * (b % radix)) % radix * place
        place *= radix
        a //= radix
        b //= radix
    return total
