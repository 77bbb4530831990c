"""What a GPU can do at best, from what it says of itself."""

from __future__ import annotations

from typing import Final

from ....plugin import Rates
from .runtime import Properties

#: Operations per clock and multiprocessor, by major and minor capability: float32, float64, and tensor-core products of
#: float16 or bfloat16 and of int8 (CUDA C++ Programming Guide, arithmetic instructions; NVIDIA's architecture papers).
_PER_CLOCK: Final[dict[tuple[int, int], tuple[int, int, int, int]]] = {
    (8, 0): (128, 64, 2048, 4096),
    (8, 6): (256, 4, 1024, 2048),
    (8, 9): (256, 4, 1024, 2048),
    (9, 0): (256, 128, 4096, 8192),
    (10, 0): (256, 128, 8192, 16384),
    (12, 0): (256, 4, 1024, 2048),
}
#: The cheapest launch, in seconds.
_LAUNCH: Final = 4e-6
#: Share of the bandwidth by bus and clock that copies reach: 4.3 of 4.8 TB/s on an H200.
_COPY: Final = 0.9


def rates(properties: Properties) -> Rates:
    """Return a GPU's best rates."""
    known = [c for c in _PER_CLOCK if c <= properties.capability] or [min(_PER_CLOCK)]
    single, double, half, byte = _PER_CLOCK[max(known)]
    clocks = properties.multiprocessors * properties.clock
    narrow = {"float16": half, "bfloat16": half, "int8": byte, "uint8": byte}
    flops = {"float32": single, "float64": double, **narrow, "default": single}
    bandwidth = properties.bandwidth * _COPY
    return Rates(
        flops=tuple((name, n * clocks) for name, n in flops.items()),
        bandwidth=((1 << 62, bandwidth),),
        launch=_LAUNCH,
        source="declared",
    )
