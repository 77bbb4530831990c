"""The cheapest way to do a collective, by the price of every algorithm's schedule."""

from __future__ import annotations

from dataclasses import dataclass

from ....core.collectives.layout import Layout
from ....core.collectives.links import Links, TwoLevel
from ....core.collectives.price import Price, Rates, price
from ....core.collectives.schedule import Schedule
from .table import ALGORITHMS


@dataclass(frozen=True, slots=True)
class Choice:
    """An algorithm's schedule and its price."""

    schedule: Schedule
    price: Price


def cheapest(
    collective: str, ranks: int, layout: Layout, itemsize: int, links: Links, rates: Rates, order: str | None = None
) -> Choice:
    """Return the cheapest schedule; the first in the table where several cost the same.

    Args:
        collective: the op's name, of one that needs neither root nor pairs.
        ranks: how many take part.
        layout: where chunks lie.
        itemsize: bytes of an element.
        links: between the ranks; where they have two levels, so have the algorithms that can.
        rates: of each rank.
        order: the order of combination that it must have, or None for any.

    >>> from opmux.core.collectives.communicator import Link
    >>> from opmux.core.collectives.links import Switch
    >>> links = Switch(Link(latency=1e-6, bandwidth=1e9))
    >>> [cheapest("all_reduce", 8, Layout((n,)), 1, links, Rates()).schedule.algorithm for n in (100, 10**6)]
    ['doubling', 'rabenseifner']
    """
    groups = (ranks // links.size, links.size) if isinstance(links, TwoLevel) else ()
    found = []
    for algorithm in ALGORITHMS[collective]:
        made = algorithm.build(ranks, groups=groups)
        if isinstance(made, Schedule) and order in (None, made.order):
            found.append(Choice(made, price(made, layout, itemsize, links, rates)))
    return min(found, key=lambda choice: choice.price.seconds)
