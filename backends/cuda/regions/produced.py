"""Reductions of what elementwise nodes make, over any axes, with what is done to each result: the reduction's kernels.

Terms are made of the operands where a plain reduction would load them, so nothing is written in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ....plugin import (
    ARITHMETIC,
    CallSpec,
    Fused,
    Graph,
    Kernel,
    Node,
    Prepared,
    Program,
    Reason,
    Refusal,
    Rejection,
    View,
    dtypes,
    fuse,
    whole,
)
from .. import emit, reductions
from ..device.driver import driver_of
from ..device.launching import launcher
from ..folds import FEW, KINDS, Fold
from ..reduction_kernels import Reduction
from ..reductions import Form, Plan
from . import row_regions
from .fusing import crowded, foreign, itself, region_kernel
from .row_program import axes_of, constants, with_values

#: Arrays that terms are made of: a thread has several terms of each on their way.
_MOST_OPERANDS: Final = 4
_MIXED: Final = "some operands lie along rows and some across them"


@dataclass(frozen=True, slots=True)
class Produced(Fold):
    """A fold whose terms are made of several arrays, and whose results something is done to.

    Attributes:
        producer: makes a term of one element of each operand.
        epilogue: makes what is written, of a result and of values that are arguments of the kernel.
        result_at: which input of the epilogue is the result.
        moving: which arrays move along what is side by side; empty where they all lie alike.
    """

    producer: Program
    epilogue: Program
    result_at: int
    moving: tuple[bool, ...] = ()

    @property
    def widest(self) -> int:
        """Bytes of the widest operand's elements."""
        return max(dtypes.dtype(t).itemsize for t in self.producer.inputs)

    @property
    def bytes_of_term(self) -> int:
        """Bytes of registers that the operands of a term take."""
        return sum(max(dtypes.dtype(t).itemsize, 4) for t in self.producer.inputs)

    @property
    def most_few(self) -> int:
        """Terms that one thread takes alone: as many as it has registers for."""
        return max(min(4 * FEW // self.bytes_of_term, self._few_values), 1)

    def _values(self) -> list[tuple[int, str]]:
        """Return the number and the dtype of each argument that is a value."""
        return [(i, t) for i, t in enumerate(self.epilogue.inputs) if i != self.result_at]

    def targets(self) -> tuple[tuple[str, ...], str]:
        """Return the parameters that results are made of, and the struct that has them."""
        values = self._values()
        parameters = ("void* out", *(f"{emit.MEMORY[t]} value{i}" for i, t in values))
        return parameters, f"Written{{{', '.join(['out', *(f'value{i}' for i, _ in values)])}}}"

    def lying(self, moving: tuple[bool, ...]) -> Produced:
        """Return the fold of arrays that have strides of their own, of which these move along what is side by side."""
        return replace(self, moving=moving)

    def operands(self) -> tuple[str, ...]:
        """Return the C++ types of what is read for a term."""
        return tuple(emit.MEMORY[t] for t in self.producer.inputs)

    def _places(self, parameter: str, plus: Sequence[str]) -> str:
        """Return the operators that find elements of all arrays, which lie so far."""
        there = ", ".join(f"in{k}{more}" for k, more in enumerate(plus))
        read = ", ".join(f"*(in{k}{more})" for k, more in enumerate(plus))
        return f"""\
    __device__ __forceinline__ Arrays operator+({parameter}) const {{ return {{{there}}}; }}
    __device__ __forceinline__ Operands operator[]({parameter}) const {{ return {{{read}}}; }}
"""

    def source_text(self, name: str = "Fold") -> str:
        """Return the C++ struct of this fold, and of what finds its operands."""
        types = self.operands()
        count = range(len(types))
        each = ", ".join
        term = each(emit.from_memory(t, f"x.x{i}") for i, t in enumerate(self.producer.inputs))
        made = emit.to_memory(self.source, f"produced({term})")
        values = [emit.from_memory(t, f"value{i}") for i, t in self._values()]
        values.insert(self.result_at, emit.from_memory(self.result, "Reduced::finish(v)"))
        written = emit.to_memory(self.epilogue.result_type, f"finished({each(values)})")
        members = " ".join(f"{emit.MEMORY[t]} value{i};" for i, t in self._values())
        moving = self.moving or (True,) * len(types)
        plus = [" + i" if moves else "" for moves in moving]
        loads = " ".join(
            f"{t} x{i}[N]; reduction::{'vector(x' if moves else 'repeated(x'}{i}, in{i});"
            for i, (t, moves) in enumerate(zip(types, moving, strict=True))
        )
        first = moving.index(True) if True in moving else 0
        places = self._places("i64 i", plus)
        if self.moving:
            places += self._places("Each i", [f" + i.by[{k}]" for k in count])
        return f"""\
{Fold.source_text(self, "Reduced")}
{emit.function("produced", self.producer)}
{emit.function("finished", self.epilogue)}
struct Operands {{ {" ".join(f"{t} x{i};" for i, t in enumerate(types))} }};
struct Arrays {{
    {" ".join(f"const {t}* in{i};" for i, t in enumerate(types))}
    typedef reduction::Offsets<{len(types)}> Each;
{places}    template <int N> __device__ __forceinline__ void vector(Operands (&to)[N]) const {{
        {loads}
#pragma unroll
        for (int v = 0; v < N; ++v) to[v] = {{{each(f"x{k}[v]" for k in count)}}};
    }}
    template <int N> __device__ __forceinline__ int skew() const {{ return reduction::skew<N>(in{first}); }}
}};
struct {name} : Reduced {{
    typedef Operands Memory;
    typedef Arrays In;
    static constexpr int WIDTH = {self.width};
    static __device__ __forceinline__ Value term(Memory x, u64 i) {{ return Reduced::term({made}, i); }}
}};
struct Written {{
    void* to;
    {members}
    __device__ __forceinline__ void put(u64 i, Fold::Value v) const {{
        static_cast<{emit.MEMORY[self.epilogue.result_type]}*>(to)[i] = {written};
    }}
}};
"""


def region(graph: Graph) -> Kernel | Refusal:
    """Return a kernel for a graph with one reduction and one result, or a node that is in the way."""
    refused = crowded(graph)
    if refused is not None:
        return refused
    numbered = [(i, number, node) for i, (number, node) in enumerate(graph.numbered()) if node.op.name in KINDS]
    if not numbered:
        return Refusal(0, "nothing is reduced")
    if len(numbered) > 1:
        return Refusal(numbered[1][0], "a second reduction")
    index, number, node = numbered[0]
    terms = foreign(graph, {index}) or _terms(graph, index, node)
    if isinstance(terms, Refusal):
        return terms
    shape, producer, operands = terms
    epilogue = _epilogue(graph, index, number)
    if isinstance(epilogue, Refusal):
        return epilogue
    result = graph.specs[number].dtype.name
    at = epilogue.operands.index(itself(graph, number))
    fold = Produced(node.op.name, producer.result_type, result, producer, epilogue.program, at)
    made = _Reduction(fold, shape, axes_of(node, len(shape)), operands, constants(graph, epilogue.operands))

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        plan = made.plan(spec)
        if plan is not None:
            return made.prepare(spec, plan)
        rows = row_regions.region(graph)
        return rows.prepare(spec) if isinstance(rows, Kernel) else Rejection(Reason.LAYOUT, _MIXED)

    return region_kernel("reduction", graph, prepare)


def _terms(graph: Graph, index: int, node: Node) -> tuple[tuple[int, ...], Program, tuple[View, ...]] | Refusal:
    """Return the shape of what is reduced, the program that makes it, and the arrays that it is made of."""
    (operand,) = (i for i in node.inputs if i is not None)
    spec = graph.specs[operand]
    if spec.dtype.name not in ARITHMETIC or node.outputs[0].dtype.name not in ARITHMETIC:
        return Refusal(index, f"{node.op.name} of {spec.dtype} is another kernel's")
    fused = fuse(graph, [itself(graph, operand)])
    if isinstance(fused, Refusal):
        return fused
    for read in fused.operands:
        axes = [axis for axis in read.axes if axis is not None]
        if axes != sorted(set(axes)):
            return Refusal(index, "it is made of arrays that are turned")
    if not 1 <= len(fused.operands) <= _MOST_OPERANDS:
        return Refusal(index, f"it is not made of 1 to {_MOST_OPERANDS} arrays")
    return spec.shape, fused.program, fused.operands


def _epilogue(graph: Graph, index: int, number: int) -> Fused | Refusal:
    """Return what makes the graph's only output of the reduction's result."""
    if any(output < number for output in graph.outputs):
        return Refusal(index, "what is reduced is a result too")
    after = Refusal(index + 1, "it is not made of what is reduced, one element of each")
    shape = graph.specs[number].shape
    views = [whole(output, graph.specs[output].shape, shape) for output in graph.outputs]
    if len(views) != 1 or views[0] is None:
        return after
    fused = fuse(with_values(graph), [views[0]], {number})
    if isinstance(fused, Refusal):
        return fused
    arrays = [v for v in fused.operands if v.value not in range(len(graph.inputs), graph.first_node_value)]
    return fused if arrays == [itself(graph, number)] else after


@dataclass(frozen=True, slots=True)
class _Reduction:
    """The reduction of arrays that lie alike, or each in its own way."""

    fold: Produced
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    operands: tuple[View, ...]
    values: tuple[bytes, ...]

    def plan(self, spec: CallSpec) -> Plan | None:
        """Return how terms lie, if all operands can be read where they lie by threads that read neighbours."""
        strides = [v.strides(spec.arrays[v.value].strides, len(self.shape)) for v in self.operands]
        aligned = all(spec.arrays[v.value].aligned for v in self.operands)
        if 0 in self.shape or (len(set(strides)) == 1 and (aligned or len(strides) == 1)):
            return reductions.plan(self.shape, strides[0], self.axes, self.fold.ordered)
        plan = reductions.plan_of(self.shape, strides, self.axes, self.fold.ordered)
        form = plan.form(self.fold.most_few, self.fold.width)
        fits = form is not Form.STRIDED and not reductions.far(plan.reduced)
        return plan if fits and (aligned or form is not Form.ROWS) else None

    def prepare(self, spec: CallSpec, plan: Plan) -> Prepared:
        runtime = driver_of(spec).runtime
        if not spec.outputs[0].size:
            return Prepared(launcher(runtime, []))
        made = Reduction(spec, self.fold, plan, [v.value for v in self.operands], self.values)
        return Prepared(launcher(runtime, made.steps), made.workspace)
