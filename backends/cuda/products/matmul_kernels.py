"""Matrix products as kernels of this backend: by multiply-adds in the canonical order, and on tensor cores."""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass, replace
from typing import Final

from ....plugin import (
    CANONICAL,
    Accepts,
    CallSpec,
    CostTerms,
    Determinism,
    Kernel,
    Nest,
    Prepared,
    Program,
    Promises,
    Reason,
    Rejection,
    merge,
    orders,
)
from .. import formulas
from ..device.driver import KIND, driver_of
from ..device.launching import MOST_BLOCKS, Arguments, Pointer, Step, blocks_for, launcher
from ..device.runtime import Function
from ..formulas import COMPLEX
from ..nest import packed, parts
from . import matmul, tensor_cores
from .epilogue import Epilogue
from .matmul import ADDING, ADDING_THREADS, ELEMENTS, VECTOR_BYTES, Plan, Problem, Variant
from .tensor_cores import INSTRUCTIONS, MmaPlan, MmaVariant

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise", "matmul")
MMA_PARTS: Final = (*PARTS, "mma")
#: Shares of a device's best rates, declared and not yet measured. Products of float16, bfloat16 and int8 are counted
#: against tensor cores, which are 16 times as fast as what these kernels do in float32; integers are multiplied at half
#: of float32's rate, those of 64 bits in several steps. A product of complex numbers is four real ones, and counted
#: against float32; float64 has half of that rate where it has much.
COST: Final = CostTerms(
    compute=0.4,
    compute_for={
        "float32": 0.85, "float64": 0.8, "float16": 0.05, "bfloat16": 0.05,
        "int8": 0.012, "uint8": 0.012, "int64": 0.1, "uint64": 0.1,
        "complex64": 0.21, "complex128": 0.1,
    },
    memory=0.8,
)  # fmt: skip
#: Declared: `mma.sync` reaches 60 to 65 percent of the peak on capability 9.0.
MMA_COST: Final = CostTerms(compute=0.6, memory=0.8, tile=(64, 64))
#: Real and imaginary parts are chains as those of real numbers are; the opset leaves their order open.
_COMPLEX: Final = Promises(order="complex-chains", determinism=Determinism.BATCH)
#: Sums in ascending steps of 32 bytes of terms, whatever the tile: what else is in the batch changes no bit.
MMA: Final = Promises(order="mma", determinism=Determinism.BATCH)
#: Shares, and lanes, take terms by the sizes of a call; they are added in ascending order.
BY_SIZES: Final = Promises(determinism=Determinism.RUN)
#: Declared. It takes only calls for which the other leaves multiprocessors idle, which the cost model does not count:
#: it is to be the cheaper of the two.
_SHARES_COST: Final = CostTerms(compute=0.62, memory=0.82, tile=(64, 64))


@dataclass(frozen=True, slots=True)
class Tail:
    """What is done with every element of a product before it goes to memory.

    Attributes:
        program: the elementwise program.
        product: which of its inputs is the product.
        strides: of each other input over the product's shape.
        aligned: whether each other input starts at a multiple of 64 bytes.
    """

    program: Program
    product: int
    strides: tuple[tuple[int, ...], ...]
    aligned: tuple[bool, ...]

    def epilogue(self, problem: Problem, width: int) -> Epilogue:
        """Return how a kernel does it whose threads have so many columns of a row at a time."""
        dense = []
        for (row, column), batch, aligned in zip(problem.across, problem.batch.strides[3:], self.aligned, strict=True):
            steps = (problem.columns, *batch, *((row,) if problem.rows > 1 else ()))
            dense.append(aligned and column == 1 and all(n % width == 0 for n in steps))
        return Epilogue(self.program, self.product, tuple(dense))

    def everywhere(self) -> Epilogue:
        """Return how a kernel does it that knows of no rows."""
        return Epilogue(self.program, self.product, (False,) * len(self.strides))


@dataclass(frozen=True, slots=True)
class Product:
    """A product, and which arrays of a launch take part.

    Attributes:
        spec: of the product alone.
        operands: its operands.
        read: the operands of its tail.
        written: the results, and the bytes of an element of each; they lie like the product.
        workspace: the workspace.
        tail: what is done with it.
    """

    spec: CallSpec
    operands: tuple[int, int]
    read: tuple[tuple[int, int], ...]
    written: tuple[tuple[int, int], ...]
    workspace: int
    tail: Tail | None = None

    @property
    def problem(self) -> Problem:
        """What is computed."""
        x, y = self.spec.arrays
        others = self.tail.strides if self.tail else ()
        return matmul.problem_of((*self.spec.outputs[0].shape, x.shape[-1]), x.strides, y.strides, others)

    @property
    def value(self) -> int:
        """Bytes of a sum."""
        return ELEMENTS[self.spec.outputs[0].dtype.name][1]

    def partial(self) -> Product:
        """Return the product whose sums go to the workspace as they are."""
        return replace(self, read=(), written=((self.workspace, self.value),), tail=None)


def alone(spec: CallSpec) -> Product:
    """Return the product of a call that is nothing else."""
    return Product(spec, (0, 1), (), ((2, spec.outputs[0].dtype.itemsize),), 3)


def by_chains(call: Product) -> Prepared:
    """Return a product made ready, by multiply-adds in the canonical order."""
    spec, driver = call.spec, driver_of(call.spec)
    (out,) = spec.outputs
    if not out.size:
        return Prepared(launcher(driver.runtime, []))
    problem = call.problem
    plan = matmul.plan_for(problem, call.value, driver.runtime.properties.multiprocessors)
    return added(call, _multiplying(call, problem, plan), plan.shares)


def added(call: Product, steps: list[Step], shares: int) -> Prepared:
    """Return a product made ready whose shares, if there are several, are added after the launches that make them."""
    runtime = driver_of(call.spec).runtime
    if shares == 1:
        return Prepared(launcher(runtime, steps))
    (out,) = call.spec.outputs
    return Prepared(launcher(runtime, [*steps, _adding(call, shares)]), shares * out.size * call.value)


def _adding(call: Product, shares: int) -> Step:
    """Return the launch that adds the shares of a product."""
    (out,) = call.spec.outputs
    tail = call.tail
    nest = merge(out.shape, [*(tail.strides if tail else ()), out.strides])
    nest = Nest(nest.shape, nest.strides[:-1]) if nest.shape else Nest((1,), ((0,),) * len(call.read))
    text = matmul.adding(out.dtype.name, tail.everywhere() if tail else None, len(nest.shape))
    function = driver_of(call.spec).loader.function(text, parts_of(out.dtype.name), ADDING)
    arguments: Arguments = [
        struct.pack("<Q", out.size),
        struct.pack("<I", shares),
        Pointer(call.workspace),
        *([packed(nest)] if call.read else []),
        *(Pointer(i) for i, _ in (*call.read, *call.written)),
    ]
    return Step(function, blocks_for(out.size, ADDING_THREADS), (ADDING_THREADS, 1, 1), arguments)


def parts_of(result: str) -> tuple[str, ...]:
    return (*formulas.parts((result,)), *PARTS)


def _multiplying(call: Product, problem: Problem, plan: Plan) -> list[Step]:
    """Return the launches that make the products, or their shares."""
    x, y = call.spec.arrays
    (out,) = call.spec.outputs
    tile, value, partial = plan.tile, call.value, plan.shares > 1
    width = min(tile.thread[1], VECTOR_BYTES // value)
    variant = Variant(
        x.dtype.name,
        out.dtype.name,
        tile,
        matmul.access(x, *along_a(problem), matmul.vector_of(x)),
        matmul.access(y, *along_b(problem), matmul.vector_of(y)),
        len(problem.batch.shape),
        partial,
        problem.columns % width == 0 and (partial or out.aligned),
        call.tail.epilogue(problem, width) if call.tail and not partial else None,
    )
    header = matmul.product(problem, plan.tiles, plan.shares)
    shared = tile.shared(value, 1 if partial else -(-problem.depth // orders.MATMUL_BLOCK))
    function = driver_of(call.spec).loader.function(_source(variant), parts_of(out.dtype.name), variant.name, shared)
    blocks = plan.tiles[0] * plan.tiles[1] * plan.shares
    made = call.partial() if partial else call
    return launches(function, made, problem, header, blocks, tile.threads, shared)


def on_tensor_cores(call: Product) -> Prepared:
    """Return a product made ready, by the instruction of tensor cores for its operands."""
    driver, problem = driver_of(call.spec), call.problem
    if not call.spec.outputs[0].size:
        return Prepared(launcher(driver.runtime, []))
    itemsize = call.spec.arrays[0].dtype.itemsize
    plan = tensor_cores.plan_for(problem, itemsize, driver.runtime.properties.multiprocessors)
    return added(call, _on_cores(call, problem, plan), plan.shares)


def in_shares(call: Product) -> Prepared | Rejection:
    """Return a product made ready by the same instructions, its terms summed in shares, or why that gains nothing."""
    driver, problem, (out,) = driver_of(call.spec), call.problem, call.spec.outputs
    if not out.size:
        return Rejection(Reason.SIZE, "there is nothing to sum")
    itemsize = call.spec.arrays[0].dtype.itemsize
    plan = tensor_cores.split_for(problem, itemsize, driver.runtime.properties.multiprocessors)
    if plan is None:
        return Rejection(
            Reason.SIZE,
            f"{problem.count} x {problem.rows} x {problem.columns} results of {problem.depth} terms are done as soon, "
            "or nearly, by tiles that take all terms",
        )
    return added(call, _on_cores(call, problem, plan), plan.shares)


def _on_cores(call: Product, problem: Problem, plan: MmaPlan) -> list[Step]:
    """Return the launches that make the products on tensor cores, or their shares."""
    x, y = call.spec.arrays
    (out,) = call.spec.outputs
    tile, partial = plan.tile, plan.shares > 1
    variant = MmaVariant(
        x.dtype.name,
        out.dtype.name,
        tile,
        tensor_cores.reading(x, *along_a(problem)),
        tensor_cores.reading(y, *along_b(problem)),
        len(problem.batch.shape),
        partial,
        problem.columns % 2 == 0 and (partial or out.aligned),
        call.tail.epilogue(problem, 2) if call.tail and not partial else None,
    )
    header = matmul.product(problem, plan.tiles, plan.shares, plan.share)
    function = driver_of(call.spec).loader.function(_mma_source(variant), MMA_PARTS, variant.name, tile.shared)
    made = call.partial() if partial else call
    return launches(function, made, problem, header, math.prod(plan.tiles) * plan.shares, tile.threads, tile.shared)


Along = tuple[tuple[int, int], tuple[int, int], tuple[int, ...]]


def along_a(p: Problem) -> Along:
    """Return length and stride of A along the result and along the terms, and its strides over the batch."""
    return (p.rows, p.a[0]), (p.depth, p.a[1]), p.batch.strides[0]


def along_b(p: Problem) -> Along:
    return (p.columns, p.b[1]), (p.depth, p.b[0]), p.batch.strides[1]


def launches(
    function: Function, call: Product, problem: Problem, header: bytes, blocks: int, threads: int, shared: int
) -> list[Step]:
    """Return one launch, or several where the batch is beyond one grid.

    Args:
        function: the entry.
        call: which arrays it takes.
        problem: what is computed.
        header: the bytes of ``Product``.
        blocks: of threads for one product of the batch.
        threads: of a block.
        shared: bytes of shared memory of a block.
    """
    sizes = [s.dtype.itemsize for s in call.spec.arrays]
    count = len(call.read)
    across = [matmul.across(problem)] if count else []
    made = []
    for part, (at_a, at_b, at_c, *others) in parts(problem.batch, max(MOST_BLOCKS // blocks, 1)):
        a, b, _, *more = part.strides
        operands = Nest(part.shape, (a, b, *more[:count]))
        places = [(i, at * size) for i, at, size in zip(call.operands, (at_a, at_b), sizes, strict=True)]
        read = [(i, at * size) for (i, size), at in zip(call.read, others, strict=False)]
        written = [(i, at_c * size) for i, size in call.written]
        head, tail = (Pointer(*p) for p in places), (Pointer(*p) for p in (*read, *written))
        arguments: Arguments = [header, packed(operands), *head, *across, *tail]
        made.append(Step(function, (blocks * math.prod(part.shape), 1, 1), (threads, 1, 1), arguments, shared))
    return made


@functools.lru_cache(maxsize=1024)
def _source(variant: Variant) -> str:
    return matmul.source(variant)


@functools.lru_cache(maxsize=1024)
def _mma_source(variant: MmaVariant) -> str:
    return tensor_cores.source(variant)


def _by_chains(spec: CallSpec) -> Prepared:
    return by_chains(alone(spec))


def _on_tensor_cores(spec: CallSpec) -> Prepared:
    return on_tensor_cores(alone(spec))


def _in_shares(spec: CallSpec) -> Prepared | Rejection:
    return in_shares(alone(spec))


KERNELS: Final = (
    Kernel("matmul", "matmul", KIND, _by_chains, Accepts(dtypes=(frozenset(ELEMENTS) - COMPLEX,)), CANONICAL, COST),
    Kernel("matmul.complex", "matmul", KIND, _by_chains, Accepts(dtypes=(COMPLEX,)), _COMPLEX, COST),
    # The priority makes its order the one that binds where the same bits in any batch are demanded.
    Kernel(
        "matmul.mma", "matmul", KIND, _on_tensor_cores, Accepts(dtypes=(frozenset(INSTRUCTIONS),)), MMA, MMA_COST, 1
    ),
    Kernel(
        "matmul.mma.shares", "matmul", KIND, _in_shares, Accepts(dtypes=(frozenset(INSTRUCTIONS),)), BY_SIZES,
        _SHARES_COST,
    ),
)  # fmt: skip
