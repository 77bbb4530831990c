"""Matrix products with few rows or few columns as a kernel of this backend."""

from __future__ import annotations

import functools
from typing import Final

from ....plugin import Accepts, CallSpec, CostTerms, Kernel, Prepared, Reason, Rejection
from ..device.driver import KIND, driver_of
from . import matmul, skinny
from .matmul import Access
from .matmul_kernels import BY_SIZES, PARTS, added, alone, along_a, along_b, launches
from .skinny import Variant

#: Parts of the sources that this kernel uses.
SKINNY_PARTS: Final = (*PARTS, "skinny")
#: Declared: memory comes past shared memory, by 16 bytes. Products of float16 and bfloat16 are counted against tensor
#: cores, which are 16 times as fast as multiply-adds; half of those are left to conversions and loads of the few.
_COST: Final = CostTerms(compute=0.6, compute_for={"float16": 0.03, "bfloat16": 0.03}, memory=0.88)


def _matmul(spec: CallSpec) -> Prepared | Rejection:
    x, y = spec.arrays
    (out,) = spec.outputs
    driver = driver_of(spec)
    operand, result = x.dtype.name, out.dtype.name
    if result not in skinny.DTYPES[operand]:
        return Rejection(Reason.DTYPE, f"it sums products of {operand} in float32 or their own type, not for {result}")
    if not out.size or not x.shape[-1]:
        return Rejection(Reason.SIZE, "a product of no terms, or of no results, is left to another kernel")
    call = alone(spec)
    problem = call.problem
    rows = skinny.few_rows(problem, operand)
    if rows is None:
        return Rejection(
            Reason.SIZE, f"{problem.rows} rows and {problem.columns} columns are both more than {skinny.MOST[operand]}"
        )
    sides = (x, along_a(problem)), (y, along_b(problem))
    (few, few_lies), (many, many_lies) = sides if rows else sides[::-1]
    vector = skinny.vector_of(operand)
    found = matmul.access(many, *many_lies, vector)
    if found.vector < vector:
        return Rejection(Reason.LAYOUT, f"{many} is not read by 16 bytes: neither its terms nor its others lie so")
    along = found.along_depth
    cut = skinny.cut_for(problem, rows, along, x.dtype.itemsize, driver.runtime.properties.multiprocessors)
    terms = skinny.terms_of(operand, along)
    dense = matmul.access(few, *few_lies, terms) == Access(terms, True)
    partial = cut.shares > 1
    variant = Variant(operand, result, rows, along, cut.count, cut.groups, dense, len(problem.batch.shape), partial)
    function = driver.loader.function(_source(variant), SKINNY_PARTS, variant.name, variant.shared)
    tiles = (1, cut.tiles) if rows else (cut.tiles, 1)
    header = matmul.product(problem, tiles, cut.shares, cut.share)
    made = call.partial() if partial else call
    steps = launches(function, made, problem, header, cut.tiles * cut.shares, skinny.THREADS, variant.shared)
    return added(call, steps, cut.shares)


@functools.lru_cache(maxsize=1024)
def _source(variant: Variant) -> str:
    return skinny.source(variant)


KERNELS: Final = (
    Kernel("matmul.skinny", "matmul", KIND, _matmul, Accepts(dtypes=(frozenset(skinny.DTYPES),)), BY_SIZES, _COST),
)
