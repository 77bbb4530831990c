"""What an algorithm is, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from ....core.collectives.schedule import Schedule
from ....core.kernel import Reason, Rejection


@dataclass(frozen=True, slots=True)
class Request:
    """A collective without its sizes.

    Attributes:
        ranks: how many take part.
        root: whose data it is, or who gets the result.
        pairs: (source, target) each, for a permute.
        groups: how many groups, and how many ranks in each, for two levels; groups are of consecutive ranks.
        blocks: how many contributions each rank brings to a reduction, numbered in the order of the ranks; empty
            where each brings one.
    """

    ranks: int
    root: int = 0
    pairs: tuple[tuple[int, int], ...] = ()
    groups: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One way to do a collective.

    Attributes:
        name: e.g. ``"ring"``.
        collective: the op's name.
        order: the id of the order in which contributions are combined, for any number of ranks; a schedule's own
            ``order`` is ``"canonical"`` in more cases.
        doc: how it goes and where it comes from, in one paragraph.
        make: builds the schedule.
    """

    name: str
    collective: str
    order: str
    doc: str
    make: Callable[[Request], Schedule | Rejection]

    def build(
        self,
        ranks: int,
        *,
        root: int = 0,
        pairs: tuple[tuple[int, int], ...] = (),
        groups: tuple[int, ...] = (),
        blocks: tuple[int, ...] = (),
    ) -> Schedule | Rejection:
        """Return the schedule, or why there is none; arguments as in :class:`Request`. Built once per request.

        >>> from opmux.opset.collectives.algorithms import ALGORITHMS
        >>> ring = next(a for a in ALGORITHMS["all_reduce"] if a.name == "ring")
        >>> schedule = ring.build(4096)
        >>> len(schedule.phases), len(schedule.steps)
        (4, 8190)
        """
        return _built(self, Request(ranks, root, tuple(pairs), tuple(groups), tuple(blocks)))


@lru_cache(maxsize=256)
def _built(algorithm: Algorithm, request: Request) -> Schedule | Rejection:
    from .blocks import spread
    from .parts import alone

    n = request.ranks
    if not 0 <= request.root < n:
        return Rejection(Reason.ATTRIBUTE, f"root {request.root} is no rank of {n}")
    if any(count != 1 for count in request.blocks):
        return spread(algorithm, request)
    if n == 1 and algorithm.collective not in ("barrier", "permute"):
        return alone(algorithm.collective, algorithm.name)
    return algorithm.make(request)


__all__ = ["Algorithm", "Request"]
