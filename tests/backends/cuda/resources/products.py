"""Matrix products whose tiles other calls do not take: beside the largest of float32, in shares, of few rows."""

from __future__ import annotations

from collections.abc import Iterator

from opmux.backends.cuda.products import matmul, skinny, tensor_cores, wgmma, wgmma_kernels
from opmux.backends.cuda.products.matmul import HUGE, LARGE, MEDIUM, TALL, WIDE, Access, Tile
from opmux.backends.cuda.products.matmul_kernels import MMA_PARTS, PARTS
from opmux.backends.cuda.products.skinny_kernels import SKINNY_PARTS
from opmux.backends.cuda.products.tensor_cores import TILES, MmaVariant, Reading

from . import Variant

#: The tile, and whether elements come one by one.
CHAINS: list[tuple[Tile, bool]] = [(HUGE, True), (LARGE, False), (MEDIUM, False), (TALL, False), (WIDE, False)]
SKINNY = [
    *(("float32", along, count) for along in (True, False) for count in (1, 2)),
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
        yield Variant(f"float32, {made.name} by {a.vector}", matmul.source(made), PARTS, made.name, tile.shared(4, 1))
    for tile in TILES:
        sides = Reading("AlongDepth"), Reading("AlongExtent")
        shares = MmaVariant("bfloat16", "bfloat16", tile, *sides, 1, True, True)
        name, text = shares.name, tensor_cores.source(shares)
        yield Variant(f"bfloat16 in shares, {name}", text, MMA_PARTS, name, tile.shared)
    for each in wgmma.TILES:
        groups = wgmma.Variant("bfloat16", "bfloat16", each, False, True, 3, True, False)
        name, text = groups.name, wgmma.source(groups)
        yield Variant(f"bfloat16, {name}", text, wgmma_kernels.PARTS, name, each.shared)
    for dtype, along, count in SKINNY:
        few = skinny.Variant(dtype, dtype, True, along, count, 8, True, 1, False)
        yield Variant(f"{dtype}, {few.name}", skinny.source(few), SKINNY_PARTS, few.name, few.shared)
