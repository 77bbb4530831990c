"""What a simulated device says of itself to opmux."""

from __future__ import annotations

from typing import Final

from ...plugin import DeviceInfo, Rates
from .hardware import Description

#: The kind of simulated devices.
KIND: Final = "sim"
#: A launch costs the cost model at least this many seconds, so that fewer launches are better where all else is equal.
_LAUNCH: Final = 1e-9


def info(description: Description) -> DeviceInfo:
    """Return name, memory and rates of a device."""
    dtypes = description.supports.dtypes
    flops = tuple((t, rate) for t in dtypes if (rate := description.peak_operations(t)) > 0)
    slowest = min((rate for _, rate in flops), default=description.clock)
    chip, main = description.on_chip, description.off_chip
    rates = Rates(
        (*flops, ("default", slowest)),
        ((chip.bytes, chip.bandwidth), (1 << 62, main.bandwidth)),
        max(description.launch, _LAUNCH),
        "declared",
    )
    return DeviceInfo(
        KIND,
        description.name,
        main.bytes,
        frozenset({feature(description)}),
        description.supports.flushes_subnormals,
        rates,
    )


def feature(description: Description) -> str:
    """Return the device feature that the kernels for a description demand."""
    return f"simulates {description.name}"
