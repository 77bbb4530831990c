"""Schedules: what a collective does, as data. Communicators execute them, the cost model prices them.

Each rank has *slots*, which are vectors cut into numbered *chunks*. A schedule is a sequence of steps, a step a set of
transfers between slots that all read what was there before the step. A transfer within one rank is local work. How
long a chunk is, and where it lies, is not part of a schedule: :class:`~opmux.core.collectives.layout.Layout` binds
that, so that one schedule serves every size.

A step in which all ranks do the same is written once, for rank 0, and ``radices`` says how it repeats: ranks and chunks
are numbers in a mixed radix, and rank r's transfers are rank 0's with r added digit by digit, each digit modulo its
radix. ``(n,)`` is a rotation, as in a ring; ``(2, 2, ..., 2)`` is an exclusive or, as in recursive doubling; ``(groups,
size)`` is both levels of a hierarchy. So a ring of 4,096 ranks is 8,190 transfers of data and not 33 million.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    """

    transfers: tuple[Transfer, ...]
    radices: tuple[int, ...] = ()

    def all(self) -> Iterator[Transfer]:
        """Iterate over the transfers of every rank."""
        if not self.radices:
            yield from self.transfers
            return
        for rank in range(math.prod(self.radices)):
            yield from self.sent_by(rank)

    def sent_by(self, rank: int) -> tuple[Transfer, ...]:
        """Return the transfers whose source is a rank, local work too."""
        if not self.radices:
            return tuple(t for t in self.transfers if t.source == rank)
        return tuple(_moved(t, rank, self.radices) for t in self.transfers)

    def received_by(self, rank: int) -> tuple[Transfer, ...]:
        """Return the transfers whose target is a rank, local work too."""
        if not self.radices:
            return tuple(t for t in self.transfers if t.target == rank)
        away = (_digitwise(rank, t.target, self.radices, -1) for t in self.transfers)
        return tuple(_moved(t, r, self.radices) for t, r in zip(self.transfers, away, strict=True))


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a collective does on every rank.

    Attributes:
        collective: the op's name.
        algorithm: the algorithm's name, e.g. ``"ring"``.
        ranks: how many take part.
        chunks: into how many chunks each slot is cut.
        slots: how many slots a rank has; :data:`INPUT`, :data:`OUTPUT`, and scratch behind them.
        steps: what happens, in order.
        order: the id of the order in which contributions are combined, ``"canonical"`` for the op's canonical one.
    """

    collective: str
    algorithm: str
    ranks: int
    chunks: int
    slots: int
    steps: tuple[Step, ...]
    order: str = ""

    def of_rank(self, rank: int) -> tuple[tuple[tuple[Transfer, ...], tuple[Transfer, ...]], ...]:
        """Return per step what a rank sends to others, and what it receives, its local work included in the latter."""
        return tuple(
            (tuple(t for t in step.sent_by(rank) if not t.is_local), step.received_by(rank)) for step in self.steps
        )


def _digitwise(a: int, b: int, radices: Sequence[int], sign: int = 1) -> int:
    """Return a + b (or a - b) digit by digit in a mixed radix, without carries.

    >>> _digitwise(3, 2, (4,)), _digitwise(3, 2, (2, 2)), _digitwise(5, 4, (2, 3))
    (1, 1, 0)
    """
    total, place = 0, 1
    for radix in reversed(radices):
        total += (a % radix + sign * (b % radix)) % radix * place
        place *= radix
        a //= radix
        b //= radix
    return total


def _moved(t: Transfer, rank: int, radices: tuple[int, ...]) -> Transfer:
    """Return rank 0's transfer as a rank makes it; a row of chunks, a product of trailing radices, moves whole."""
    if rank == 0:
        return t
    by = rank // t.count * t.count
    return replace(
        t,
        source=rank,
        target=_digitwise(t.target, rank, radices),
        chunk=_digitwise(t.chunk, by, radices),
        at=_digitwise(t.at, by, radices),
    )
