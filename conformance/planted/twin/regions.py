"""The twin's region compiler: chains, reductions and products in one kernel, which does node after node in NumPy.

Not of every backend: a twin without it has nothing to judge. Ops with one right result, and sums in the opset's order,
promise the canonical class; what holds an op whose contract leaves a choice promises nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....opset import orders
from ....plugin import (
    CANONICAL,
    CallSpec,
    Device,
    Graph,
    Kernel,
    Metadata,
    Node,
    Prepared,
    Promises,
    Refusal,
    signature,
)
from .elementwise import ELEMENTWISE
from .formats import Host
from .movement import MOVEMENT
from .reductions import REDUCTIONS

_VIEWS: Final[dict[str, Callable[..., Host]]] = {
    "reshape": np.reshape, "permute_dims": np.transpose, "broadcast_to": np.broadcast_to,
}  # fmt: skip
#: Ops whose contract leaves a choice that the twin makes in its own way.
_LOOSE: Final = frozenset({"exp", "log", "tanh", "sin", "matmul"})
_REDUCED: Final = frozenset({"sum", "max", "min", "all", "any", "argmax", "argmin"})
_EXACT: Final = frozenset(ELEMENTWISE) - {"exp", "log", "tanh", "sin", "hypot", "pow", "fma"} | {"cast"}
_ROWS: Final = {**ELEMENTWISE, **MOVEMENT, **REDUCTIONS}


@dataclass(frozen=True, slots=True)
class RegionCall:
    """One call of a region, as faults see it.

    Attributes:
        graph: what it does.
        device: where.
        outs: where the results go.
        ins: the operands.
        memory: what the compiler keeps, for all of its regions.
    """

    graph: Graph
    device: Device
    outs: Sequence[Host]
    ins: Sequence[Host]
    memory: dict[Any, Any]

    @property
    def constants(self) -> list[Host]:
        """The graph's constants."""
        return [c.numpy() for c in self.graph.constants]

    def value(self, node: Node, given: Sequence[Host]) -> Host:
        """Return what is right for one node."""
        return _value(node, given, self.device)

    def results(
        self,
        ins: Sequence[Host] | None = None,
        constants: Sequence[Host] | None = None,
        value: Callable[[Node, Sequence[Host]], Host] | None = None,
    ) -> list[Host]:
        """Return the results, of other operands and constants where some are given, and by another way to do nodes."""
        do = value or self.value
        values = [*(self.ins if ins is None else ins), *(self.constants if constants is None else constants)]
        for node in self.graph.nodes:
            values.append(do(node, [values[i] for i in node.inputs if i is not None]))
        return [values[i] for i in self.graph.outputs]

    def write(self, results: Sequence[Host]) -> None:
        """Write results, rounded to their dtypes."""
        for out, x in zip(self.outs, results, strict=True):
            out[...] = np.asarray(x).astype(out.dtype)


#: What runs in place of the twin's computation.
FaultyRegion = Callable[[RegionCall], None]


def _value(node: Node, given: Sequence[Host], device: Device) -> Host:
    if isinstance(node.op, Metadata):
        return _VIEWS[node.op.name](given[0], *node.arguments)
    (spec,) = node.outputs
    attributes = dict(node.attributes)
    if node.op.name == "sum":
        order = orders.canonical_sum(given[0], attributes["axis"], dtype=spec.dtype.numpy)
        return np.asarray(order).reshape(spec.shape)
    out = np.empty(spec.shape, spec.dtype.numpy)
    result = signature(device, spec.dtype, spec.shape)
    compute = _ROWS[node.op.name][0]
    if "elementwise" in node.op.facts:
        given = [np.broadcast_to(x, spec.shape) for x in given]
    compute(CallSpec(node.op.name, (), (result,), attributes), out, *given)
    return out


class Regions:
    """A region compiler of the twin, or one with a fault.

    Args:
        faulty: what runs instead; None where nothing is wrong.
        promises: what regions claim; None for what holds of the twin.
    """

    device = "cpu"

    def __init__(self, faulty: FaultyRegion | None = None, promises: Promises | None = None) -> None:
        self._faulty, self._promises = faulty, promises
        self._memory: dict[Any, Any] = {}

    def compile(self, graph: Graph, device: Device) -> Kernel | Refusal:
        """Return a kernel for a whole graph, or the first node that the twin does not do."""
        for i, node in enumerate(graph.nodes):
            why = _refusal(graph, node)
            if why:
                return Refusal(i, why)
        names = {node.op.name for node in graph.nodes}
        family = "product" if "matmul" in names else "reduction" if names & _REDUCED else "chain"
        own = Promises() if names & _LOOSE else CANONICAL

        def prepare(spec: CallSpec) -> Prepared:
            def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
                call = RegionCall(graph, device, [x.host for x in outs], [x.host for x in ins], self._memory)
                with np.errstate(all="ignore"):
                    if self._faulty is None:
                        call.write(call.results())
                    else:
                        self._faulty(call)

            return Prepared(launch)

        op = f"region:{graph.digest[:12]}"
        return Kernel(f"{family}:{'+'.join(sorted(names))}", op, "cpu", prepare, promises=self._promises or own,
                      family=family)  # fmt: skip


def _refusal(graph: Graph, node: Node) -> str:
    name = node.op.name
    if isinstance(node.op, Metadata):
        return "" if name in _VIEWS else f"no view by {name}"
    if name not in _EXACT | _REDUCED | _LOOSE:
        return f"no {name}"
    accepted = _ROWS[name][1]
    for i, number in enumerate(n for n in node.inputs if n is not None):
        if accepted and graph.specs[number].dtype.name not in accepted[min(i, len(accepted) - 1)]:
            return f"{name} does not take {graph.specs[number].dtype}"
    return ""
