"""What a simulated device says of itself to opmux."""

from __future__ import annotations

from typing import Final

from ...plugin import DeviceInfo, Rates
from .hardware import Description
from .timing.memory import off_chip_bandwidth

#: The kind of simulated devices.
KIND: Final = "sim"
#: A launch costs the cost model at least this many seconds, so that fewer launches are better where all else is equal.
_LAUNCH: Final = 1e-9
#: In so many pieces a value passes the on-chip memory, up to where more of them make no difference.
_PIECES: Final = (2, 3, 4, 6, 8, 16, 32)


def info(description: Description) -> DeviceInfo:
    """Return name, memory and rates of a device."""
    dtypes = description.supports.dtypes
    flops = tuple((t, rate) for t in dtypes if (rate := description.peak_operations(t)) > 0)
    slowest = min((rate for _, rate in flops), default=description.clock)
    chip, main, moving = description.on_chip, description.off_chip, off_chip_bandwidth(description)
    # Values come from off-chip memory and go back there, in pieces of half of the on-chip memory, two at least. All but
    # one piece are worked on while others move (`memory.overlapped`).
    levels = [(p * chip.bytes // 2, 1 / (1 / moving + 1 / (p * chip.bandwidth))) for p in _PIECES]
    rates = Rates(
        (*flops, ("default", slowest)),
        (*levels, (1 << 62, moving)),
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
