"""Elementwise kernels: dense and over strides, from the lightest program to the heaviest."""

from __future__ import annotations

from collections.abc import Iterator

from opmux.backends.cuda import elementwise
from opmux.backends.cuda.elementwise_kernels import PARTS
from opmux.plugin import Walk, recipe

from . import Variant

CALLS = [
    ("exp", ("float32",)),
    ("add", ("float16", "float16")),
    ("sin", ("float64",)),
    ("remainder", ("int8", "int8")),
]


def variants() -> Iterator[Variant]:
    for op, dtypes in CALLS:
        program = recipe(op, dtypes)
        assert program is not None
        for layout, made in (
            ("dense", elementwise.Variant(program, (Walk.CONTIGUOUS,) * (len(dtypes) + 1))),
            ("nest", elementwise.Variant(program, rank=3)),
        ):
            yield Variant(f"{layout} {op} {dtypes[0]}", elementwise.source(made), PARTS, made.name)
