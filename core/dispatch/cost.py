"""The cost model: a roofline per kernel on the device's own rates."""

from __future__ import annotations

from ..devices.device import Device
from ..kernel import CallSpec, Kernel
from ..op import Work
from .decision import Cost


def kernel_cost(kernel: Kernel, spec: CallSpec, work: Work, device: Device) -> Cost:
    """Return the predicted time of a kernel on a device.

    The model is ``launch + max(flops / rate, bytes / bandwidth)``, with the bandwidth of the level at which
    the working set lives, and whole tiles paid for where a contraction is tiled
    (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009).
    """
    rates, terms = device.rates, kernel.cost
    dtype = (spec.arrays[0] if spec.arrays else spec.outputs[0]).dtype.name
    compute_share = terms.compute_for.get(dtype, terms.compute)
    memory_share = terms.memory_for.get(dtype, terms.memory)
    flops = work.flops * tile_quantisation(kernel, spec)
    return Cost(
        launch=rates.launch + terms.launch,
        compute=flops / (rates.flops_for(dtype) * compute_share),
        memory=work.nbytes / (rates.bandwidth_at(work.nbytes) * memory_share),
    )


def tile_quantisation(kernel: Kernel, spec: CallSpec) -> float:
    """Return how many times the useful work a tiled kernel does: partial tiles cost whole ones."""
    tile = kernel.cost.tile
    if tile is None or len(spec.outputs[0].shape) < 2 or spec.outputs[0].size == 0:
        return 1.0
    factor = 1.0
    for length, step in zip(spec.outputs[0].shape[-2:], tile, strict=True):
        factor *= -(-length // step) * step / length
    return factor


def sum_costs(costs: list[Cost]) -> Cost:
    """Return the cost of calls made one after the other; each pays the larger of its compute and memory."""
    return Cost(
        launch=sum(c.launch for c in costs),
        compute=sum(c.compute for c in costs),
        memory=sum(c.memory for c in costs),
        copies=sum(c.copies for c in costs),
        transfers=sum(c.transfers for c in costs),
        steps=sum(c.work for c in costs),
    )
