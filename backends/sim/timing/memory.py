"""How long bytes take: over DMA engines, from and to each memory, and how much of it hides behind computing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..hardware import Description


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes moved at each level.

    Attributes:
        on_chip: in and out of the on-chip memory.
        off_chip: in and out of the off-chip memory.
        link: over links to other devices.
    """

    on_chip: float = 0.0
    off_chip: float = 0.0
    link: float = 0.0


def off_chip_bandwidth(device: Description) -> float:
    """Return bytes per second between off-chip and on-chip memory: the memory's, or that of all engines together."""
    return min(device.off_chip.bandwidth, device.dma.engines * device.dma.bandwidth)


def off_chip_seconds(device: Description, nbytes: float) -> float:
    """Return the time of a transfer between off-chip and on-chip memory: latencies, then bytes over bandwidth.

    >>> from opmux.backends.sim.description import preset
    >>> round(off_chip_seconds(preset("tpu-v1"), 256 * 256) * 1e6, 2)  # one tile of weights, in microseconds
    2.14
    """
    if not nbytes:
        return 0.0
    return device.dma.latency + device.off_chip.latency + nbytes / off_chip_bandwidth(device)


def copy_seconds(device: Description, nbytes: float) -> float:
    """Return the time of a copy from off-chip memory to off-chip memory: every byte goes in and out."""
    return off_chip_seconds(device, 2 * nbytes)


def host_seconds(device: Description, nbytes: float) -> float:
    """Return the time of a transfer between the host and the device, either way."""
    if not nbytes:
        return 0.0
    rate = min(device.dma.host_bandwidth, device.off_chip.bandwidth)
    return device.dma.latency + nbytes / rate


def overlapped(load: float, compute: float, store: float, tiles: int) -> float:
    """Return the time of *tiles* equal pieces that are loaded, computed and stored under double buffering.

    While a piece is computed the next one is loaded and the last one stored, so all but the ends costs the larger of
    computing and moving: (load + compute + store) / tiles + (1 - 1 / tiles) max(compute, load + store).

    >>> overlapped(4.0, 8.0, 4.0, 1), overlapped(4.0, 8.0, 4.0, 8)
    (16.0, 9.0)
    """
    return (load + compute + store) / tiles + (1 - 1 / tiles) * max(compute, load + store)


def tiles_of(device: Description, nbytes: float) -> int:
    """Return in how many pieces a working set passes through half of the on-chip memory; at least 2, to overlap."""
    return max(2, math.ceil(nbytes / (device.on_chip.bytes / 2)))


@dataclass(frozen=True, slots=True)
class Operands:
    """Bytes of a matrix product.

    Attributes:
        inputs: of the (m, k) operand.
        weights: of the (k, n) operand.
        outputs: of the (m, n) result.
    """

    inputs: float
    weights: float
    outputs: float


def product_loads(device: Description, sizes: Operands, m: int, n: int, accumulator: int) -> float:
    """Return the bytes that a product (m, k) @ (k, n) loads from off-chip memory, at the best of three orders.

    Half of the on-chip memory holds what stays, the other half what streams. One operand stays whole, where it fits,
    and both are read once; else square blocks of b x b accumulators stay, and the inputs are read n / b times, the
    weights m / b times.

    Args:
        device: what it runs on.
        sizes: of the operands.
        m: rows of the result.
        n: columns of the result.
        accumulator: bytes of one accumulator.
    """
    half = device.on_chip.bytes / 2
    once = sizes.inputs + sizes.weights
    if min(sizes.inputs, sizes.weights, m * n * accumulator) <= half:
        return once
    block = max(1, math.isqrt(int(half // accumulator)))
    return sizes.inputs * math.ceil(n / block) + sizes.weights * math.ceil(m / block)
