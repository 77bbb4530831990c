"""Elementwise nodes over one iteration domain, with any number of results, as one kernel."""

from __future__ import annotations

from ....plugin import CallSpec, Graph, Kernel, Prepared, Refusal, Rejection, fuse
from ..device.driver import driver_of
from ..device.launching import launcher
from ..elementwise_kernels import steps
from .fusing import beyond, crowded, foreign, placed, region_kernel, repeated, results


def region(graph: Graph) -> Kernel | Refusal:
    """Return a kernel for a graph of elementwise nodes, or the node that is none."""
    found = crowded(graph) or foreign(graph) or repeated(graph) or results(graph)
    if isinstance(found, Refusal):
        return found
    domain, wanted = found
    fused = fuse(graph, wanted)
    if isinstance(fused, Refusal):
        return fused

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        arrays = placed(spec, fused.operands, wanted, len(domain))
        rejection = beyond(len(domain), len(arrays))
        if rejection is not None:
            return rejection
        made = steps(fused.program, spec, [s for _, s in arrays], domain, [i for i, _ in arrays])
        return Prepared(launcher(driver_of(spec).runtime, made))

    return region_kernel("chain", graph, prepare)
