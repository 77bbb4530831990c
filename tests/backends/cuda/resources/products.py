"""Matrix products whose tiles other calls do not take: beside the largest of float32, in shares, of few rows."""

from __future__ import annotations

from collections.abc import Iterator

from opmux.backends.cuda.products import matmul, skinny, tensor_cores
from opmux.backends.cuda.products.matmul import HUGE, LARGE, MEDIUM, Access, Tile
from opmux.backends.cuda.products.matmul_kernels import MMA_PARTS, PARTS
from opmux.backends.cuda.products.skinny_kernels import SKINNY_PARTS
from opmux.backends.cuda.products.tensor_cores import TILES, MmaVariant, Reading

from . import Variant

#: The tile, and whether elements come one by one.
CHAINS: list[tuple[Tile, bool]] = [(HUGE, True), (LARGE, False), (MEDIUM, False)]
SKINNY = [
    ("float32", True, 8),
    ("float32", False, 8),
    ("float16", True, 4),
    ("bfloat16", False, 4),
    ("float64", True, 4),
]


def variants() -> Iterator[Variant]:
    for tile, single in CHAINS:
        a, b = (Access(1 if single else 4, along) for along in (True, False))
        made = matmul.Variant("float32", "float32", tile, a, b, 1, False, not single)
        yield Variant(f"float32, {made.name} by {a.vector}", matmul.source(made), PARTS, made.name)
    for tile in TILES:
        sides = Reading("AlongDepth"), Reading("AlongExtent")
        shares = MmaVariant("bfloat16", "bfloat16", tile, *sides, 1, True, True)
        yield Variant(f"bfloat16 in shares, {shares.name}", tensor_cores.source(shares), MMA_PARTS, shares.name)
    for dtype, along, count in SKINNY:
        few = skinny.Variant(dtype, dtype, True, along, count, 8, True, 1, False)
        yield Variant(f"{dtype}, {few.name}", skinny.source(few), SKINNY_PARTS, few.name)
