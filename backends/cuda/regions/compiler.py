"""Regions of graphs as one kernel each: every kind of region that this backend knows, tried in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ....plugin import Device, Graph, Kernel, Refusal
from ..device.driver import KIND
from . import chains, epilogues, produced, row_regions

#: Returns a kernel for a whole graph, or the node before which a graph would be one for it.
Maker = Callable[[Graph], Kernel | Refusal]

#: Kinds of regions; the first that takes a graph has it.
MAKERS: Final[tuple[Maker, ...]] = (chains.region, epilogues.region, produced.region, row_regions.region)


class Regions:
    """A region compiler.

    Args:
        makers: the kinds of regions that it knows.
    """

    device = KIND

    def __init__(self, makers: Sequence[Maker]) -> None:
        self._makers = tuple(makers)

    def compile(self, graph: Graph, device: Device) -> Kernel | Refusal:
        """Return a kernel for a region, or the node up to which one of the kinds goes that go farthest."""
        refusals = []
        for make in self._makers:
            answer = make(graph)
            if isinstance(answer, Kernel):
                return answer
            refusals.append(answer)
        return max(refusals, key=lambda r: r.node)


#: The regions of the later ones compete with those of the first, as kernels of one op do.
COMPILERS: Final = (Regions(MAKERS), Regions((epilogues.on_tensor_cores,)), Regions((epilogues.by_warpgroups,)))
