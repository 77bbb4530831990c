"""Tensor maps as the host's copy engine reads them, and what the driver refuses."""

from __future__ import annotations

import struct

from opmux.backends.cuda.device.tensor_maps import Tiling

_MAGIC = 0x7E4502A9


class MapError(ValueError):
    """The driver would refuse it (CUDA driver API, cuTensorMapEncodeTiled)."""


def checked(pointer: int, tiling: Tiling) -> bytes:
    """Return ``TensorMap`` of tma.hpp."""
    rank, size = len(tiling.shape), tiling.itemsize
    rules = {
        "rank": 1 <= rank <= 5 and len(tiling.strides) == rank - 1 and len(tiling.box) == rank,
        "itemsize": size in (1, 2, 4),
        "address": pointer % 16 == 0,
        "shape": all(1 <= n <= 1 << 32 for n in tiling.shape),
        "strides": all(s % 16 == 0 and 0 < s < 1 << 40 for s in tiling.strides),
        "box": all(1 <= n <= 256 for n in tiling.box),
        "line": tiling.box[0] * size % 16 == 0 and tiling.box[0] * size <= 128,
    }
    broken = [name for name, kept in rules.items() if not kept]
    if broken:
        raise MapError(f"{', '.join(broken)} of {tiling} at {pointer:#x}")

    def five(numbers: tuple[int, ...], more: int = 0) -> tuple[int, ...]:
        return *numbers, *(0,) * (5 - more - len(numbers))

    made = struct.pack(
        "<Q5Q4Q5I3I", pointer, *five(tiling.shape), *five(tiling.strides, 1), *five(tiling.box), rank, size, _MAGIC
    )
    return made + bytes(128 - len(made))
