"""On a GPU: traffic, reductions, rows, matrix products, the cost of a call, the time of a compilation."""

from __future__ import annotations

from typing import Final

from ..case import Case, Style
from ..kinds import make_case
from .base import Suite, Target

_N: Final = 1 << 26
_MATRIX: Final = (8192, 8192)
_ROWS: Final = ((16384, 1024), _MATRIX)
#: Sides of square products.
_SQUARE: Final = {
    "float32": (1024, 2048, 4096, 8192),
    "float16": (2048, 4096, 8192),
    "bfloat16": (2048, 4096, 8192),
    "int8": (2048, 4096, 8192),
}
_WITH_TARGETS: Final = ("float32", "bfloat16")


def _elementwise(n: int) -> list[Case]:
    """Single ops, and expressions that are one kernel where they are compiled."""
    kinds: tuple[tuple[str, int, Style], ...] = (
        ("exp", 1, "eager"), ("add", 2, "eager"), ("multiply", 2, "eager"),
        ("muladd", 3, "compiled"), ("gelu", 1, "compiled"), ("chain", 3, "compiled"),
    )  # fmt: skip
    return [make_case(k, "float32", *[(n,)] * operands, limit="device copy", style=s) for k, operands, s in kinds]


def _reductions(n: int, matrix: tuple[int, int]) -> list[Case]:
    flat = [make_case(k, "float32", (n,), limit="device copy", axis=None) for k in ("sum", "mean", "max")]
    return flat + [make_case("sum", "float32", matrix, limit="device copy", axis=axis) for axis in (0, 1)]


def _rows(shapes: tuple[tuple[int, int], ...]) -> list[Case]:
    made = []
    for shape in shapes:
        ends = shape[1:]
        made.append(make_case("softmax", "float32", shape, limit="device copy", style="compiled"))
        made.append(make_case("layer_norm", "float32", shape, ends, ends, limit="device copy", style="compiled"))
    return made


def _product(dtype: str, n: int) -> Case:
    if dtype == "int8":
        return make_case("matmul", dtype, (n, n), (n, n), limit="device flops", to="int32")
    return make_case("matmul", dtype, (n, n), (n, n), limit="device flops")


def _calls() -> list[Case]:
    eight = [make_case(k, "float32", *[(8,)] * n) for k, n in (("add", 2), ("exp", 1))]
    eight.append(make_case("sum", "float32", (8,), axis=None))
    eight.append(make_case("matmul", "float32", (8, 8), (8, 8)))
    return [*eight, make_case("chain", "float32", *[(8,)] * 3, style="compiled")]


def _first_calls() -> list[Case]:
    return [make_case("gelu", "float32", (4096,), style="compiled", first_call=how) for how in ("cold", "cached")]


def cases(quick: bool) -> list[Case]:
    """Return the cases."""
    if quick:
        products = [_product(dtype, 64) for dtype in _SQUARE]
        return [*_elementwise(4096), *_reductions(4096, (64, 64)), *_rows(((16, 64),)), *products, *_calls()]
    return _in_turn({dtype: [_product(dtype, n) for n in sides] for dtype, sides in _SQUARE.items()})


def _in_turn(products: dict[str, list[Case]]) -> list[Case]:
    """Return cases so that a run whose time is over has those that targets are about."""
    rest = [case for dtype, cases in products.items() if dtype not in _WITH_TARGETS for case in cases]
    return [
        *_calls(), *_elementwise(_N), *(case for dtype in _WITH_TARGETS for case in products[dtype]),
        *_reductions(_N, _MATRIX), *_rows(_ROWS), *rest, *_first_calls(),
    ]  # fmt: skip


def _names(found: list[Case]) -> tuple[str, ...]:
    return tuple(case.name for case in found)


_SGEMM: Final = _names([_product("float32", n) for n in _SQUARE["float32"]])
_BF16: Final = _names([_product("bfloat16", n) for n in _SQUARE["bfloat16"]])
#: Calls that are one ElementwiseKernel of CuPy's. It has no kernel of the caller's own for the others.
_LAUNCHES: Final = _names([case for case in _calls() if case.kind in ("add", "exp", "chain")])
_MINE: Final = "opmux-cuda"
#: Without cuBLAS, which the dispatcher may choose: a library is as fast as itself.
_OWN: Final = "opmux-own-cuda"

SUITE: Final = Suite(
    "gpu",
    "On a GPU",
    "GB/s or GFLOP/s",
    cases,
    (
        Target(
            "elementwise f32 and chains: share of the device's copy", _names(_elementwise(_N)), _MINE, "probe", 0.92
        ),
        Target("elementwise f32 and chains: over CuPy", _names(_elementwise(_N)), _MINE, "cupy", 1.15),
        Target("reductions f32: over CUB", _names(_reductions(_N, _MATRIX)), _MINE, "cupy", 1.0),
        Target("softmax, layer_norm: over torch.compile", _names(_rows(_ROWS)), _MINE, "torch-compile-cuda", 1.2),
        Target("sgemm, 1k to 8k: over cuBLAS, geometric mean", _SGEMM, _OWN, "cupy", 0.95, "geometric mean"),
        Target("cost of a call: over CuPy's ElementwiseKernel", _LAUNCHES, _MINE, "cupy", 1.0),
        Target("bf16, 2k to 8k: over cuBLAS, geometric mean", _BF16, _OWN, "cupy", 0.95, "geometric mean"),
    ),
    device="cuda",
)
