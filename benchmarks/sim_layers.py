"""The layers on which the simulator's cycles are compared with SCALE-Sim's: shapes that fit arrays, and that do not."""

from __future__ import annotations

from typing import Any, Final

Layer = dict[str, Any]


def _gemm(m: int, n: int, k: int) -> Layer:
    return {"m": m, "n": n, "k": k}


def _conv(image: tuple[int, int], window: tuple[int, int], channels: int, filters: int, stride: int) -> Layer:
    return {
        "image": list(image),
        "window": list(window),
        "channels": channels,
        "filters": filters,
        "stride": stride,
    }


#: Rows, columns and layers of each array; every one in all three dataflows.
_ARRAYS: Final[tuple[tuple[int, int, tuple[Layer, ...]], ...]] = (
    (8, 8, (_gemm(37, 53, 91), _conv((32, 32), (5, 5), 1, 6, 1), _gemm(1, 64, 200))),
    (16, 32, (_gemm(100, 100, 100), _conv((14, 14), (3, 3), 16, 24, 1), _gemm(128, 1, 300))),
    (32, 32, (_gemm(256, 128, 256), _conv((30, 30), (3, 3), 3, 16, 2), _gemm(33, 65, 31))),
    (64, 16, (_gemm(17, 300, 8), _conv((23, 19), (5, 3), 4, 10, 3), _gemm(64, 64, 64))),
    (128, 128, (_gemm(200, 129, 127), _conv((14, 14), (1, 1), 32, 64, 1), _gemm(1, 1, 1))),
    (256, 256, (_gemm(64, 300, 257), _conv((13, 13), (3, 3), 8, 40, 1), _gemm(256, 256, 256))),
)
#: SCALE-Sim's own golden case for a convolution: AlexNet's first layer, 32 x 32, weight stationary.
_ALEXNET: Final = {
    "rows": 32,
    "columns": 32,
    "dataflow": "ws",
    "layers": [_conv((224, 224), (11, 11), 3, 96, 4)],
}


def jobs(quick: bool) -> list[dict[str, Any]]:
    """Return the jobs of ``scalesim_runner``: one array and dataflow each; quick ones leave out all large arrays."""
    made = [
        {"rows": rows, "columns": columns, "dataflow": dataflow, "layers": list(layers)}
        for rows, columns, layers in (_ARRAYS[:1] if quick else _ARRAYS)
        for dataflow in ("os", "ws", "is")
    ]
    return made if quick else [*made, _ALEXNET]
