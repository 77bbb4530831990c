"""Every planted fault, in the order of the families."""

from __future__ import annotations

import difflib
from typing import Final

from ...core.errors import ArgumentError
from .fault import Family, Fault
from .faults import (
    accuracy,
    broadcasting,
    casts,
    claims,
    collective_memory,
    collectives,
    crash,
    device_memory,
    devices,
    integers,
    interop,
    lanes_and_blocks,
    matmul,
    movement,
    queues,
    races,
    reductions,
    regions,
    short_ways,
    sizes,
    special_values,
    state,
    strides_and_views,
)

FAMILIES: Final[tuple[Family, ...]] = (
    lanes_and_blocks.FAMILY,
    strides_and_views.FAMILY,
    broadcasting.FAMILY,
    casts.FAMILY,
    special_values.FAMILY,
    integers.FAMILY,
    reductions.FAMILY,
    matmul.FAMILY,
    movement.FAMILY,
    accuracy.FAMILY,
    state.FAMILY,
    sizes.FAMILY,
    short_ways.FAMILY,
    claims.FAMILY,
    races.FAMILY,
    devices.FAMILY,
    device_memory.FAMILY,
    queues.FAMILY,
    interop.FAMILY,
    collectives.FAMILY,
    collective_memory.FAMILY,
    regions.FAMILY,
    crash.FAMILY,
)

FAULTS: Final[tuple[Fault, ...]] = tuple(fault for family in FAMILIES for fault in family.faults)


def find(name: str) -> Fault:
    """Return a fault by name.

    Raises:
        ArgumentError: there is none.
    """
    found = next((f for f in FAULTS if f.name == name), None)
    if found is None:
        near = difflib.get_close_matches(name, [f.name for f in FAULTS], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ArgumentError(f"no planted fault named {name!r}{hint}", name=name)
    return found
