"""Many devices of one description without any of them: links for schedules, and seconds of a layer of a transformer.

Schedules are priced and replayed on such links as on any others, and a training step is put together from them; nothing
is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import ArgumentError, LayerWork, Link, LinkModel, Message, RankRates, Ring, Switch, TwoLevel
from .hardware import Description, Links
from .links import path
from .timing.links import hops, pair_bandwidth
from .timing.op_time import Tensor, time_of

#: Topologies in which messages of different devices share nothing but the devices' own ports.
_PORTS: Final = frozenset({"switch", "fully_connected"})


@dataclass(frozen=True, slots=True)
class Routed:
    """Links of a described topology; messages take the simulator's routes, and share the hops that they have in common.

    Attributes:
        links: of each device.
        devices: how many there are.
    """

    links: Links
    devices: int

    def link(self, source: int, target: int) -> Link:
        """Return what a message between two devices costs where it is the only one."""
        away = hops(self.links, source, target, self.devices)
        return Link(away * self.links.latency, pair_bandwidth(self.links, self.devices), "model")

    def standing(self, radices: tuple[int, ...]) -> range:
        """Return all ranks: those at an edge have other neighbours."""
        return range(math.prod(radices))

    def busy(self, messages: Sequence[Message], ranks: int) -> float:
        """Return for how many seconds the busiest hop carries a step's messages."""
        loads: dict[tuple[str, str], float] = {}
        for source, target, nbytes in messages:
            for hop in path(self.links.topology, source, target, self.devices):
                loads[hop] = loads.get(hop, 0.0) + nbytes
        return max(loads.values(), default=0.0) / pair_bandwidth(self.links, self.devices)


def ports(description: Description, devices: int) -> Switch:
    """Return the links between devices that only their own ports limit.

    Raises:
        ArgumentError: the description has no links, or of a topology in which messages share hops.

    >>> from opmux.backends.sim.description import preset
    >>> ports(preset("h100-sxm"), 8).port.bandwidth
    450000000000.0
    """
    links = _described(description)
    if links.topology not in _PORTS:
        raise ArgumentError(
            f"{description.name}: links.topology is {links.topology!r}, in which messages share hops; groups and "
            f"training steps take {' or '.join(sorted(_PORTS))}",
            given=links.topology,
        )
    return Switch(Link(links.latency, pair_bandwidth(links, devices), "model"))


def links_between(description: Description, devices: int) -> LinkModel:
    """Return the links between devices of a description, to price and replay schedules on.

    Raises:
        ArgumentError: the description has no links.
    """
    links = _described(description)
    if links.topology in _PORTS:
        return ports(description, devices)
    if links.topology == "ring":
        return Ring(devices, Link(links.latency, pair_bandwidth(links, devices), "model"))
    return Routed(links, devices)


def groups_between(description: Description, size: int, outer: Link, uplinks: float = 0.0) -> TwoLevel:
    """Return links of two levels: groups of devices, linked as described, and a network between groups.

    Args:
        description: the device.
        size: of a group.
        outer: a message between groups.
        uplinks: how many messages a group sends at the full bandwidth of *outer*; 0 for one per device.

    Raises:
        ArgumentError: as for :func:`ports`.
    """
    return TwoLevel(size, ports(description, size).port, outer, uplinks)


def rates_of(description: Description) -> RankRates:
    """Return how fast a device combines what arrives: at the bandwidth of its memory, a launch for each."""
    return RankRates(description.off_chip.bandwidth, description.launch)


def compute_on(description: Description, dtype: str) -> Callable[[LayerWork], float]:
    """Return what gives a device's seconds for the matrix products of a layer, one launch each.

    Args:
        description: the device.
        dtype: of operands and results.

    Raises:
        ArgumentError: from the function, where no unit of the device computes the dtype.

    >>> from opmux.backends.sim.description import preset
    >>> from opmux.opset.collectives.scale import Matmul
    >>> seconds = compute_on(preset("h100-sxm"), "bfloat16")
    >>> seconds(LayerWork((Matmul(4096, 4096, 4096),), backward=False)) > 2 * 4096**3 / 989.4e12
    True
    """

    def seconds(work: LayerWork) -> float:
        total = 0.0
        for p in work.matmuls:
            batch = (p.count,) if p.count > 1 else ()
            left, right, made = (Tensor(dtype, (*batch, *shape)) for shape in ((p.m, p.k), (p.k, p.n), (p.m, p.n)))
            total += time_of(description, "matmul", [left, right], [made]).seconds
        return total

    return seconds


def _described(description: Description) -> Links:
    if description.links is None:
        raise ArgumentError(
            f"{description.name} has no links; describe them in [links], or take another device", given=description.name
        )
    return description.links
