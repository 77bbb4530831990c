"""The one intermediate form: a small, immutable, single-assignment graph of ops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from ..arrays.array import Array
from ..devices.device import Device
from ..kernel import ArraySpec, Kernel
from ..op import Op


@dataclass(frozen=True, slots=True, eq=False)
class Metadata:
    """A metadata op as a graph node: it makes a view and is never dispatched.

    Attributes:
        name: e.g. ``"permute_dims"``.
        apply: ``apply(array, *arguments)``; touches shape, strides and offset only, or returns None where only a
            contiguous copy of the operand can be viewed so.
    """

    name: str
    apply: Callable[..., Array | None]

    def __repr__(self) -> str:
        return f"<metadata op {self.name}>"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One op in a graph.

    Attributes:
        op: what it does.
        inputs: value numbers of the operands; None for an optional one left out.
        attributes: normalised attributes as sorted pairs; for a metadata op, pairs ("0", first argument), ...
        outputs: dtype and shape of each result.
    """

    op: Op | Metadata
    inputs: tuple[int | None, ...]
    attributes: tuple[tuple[str, Any], ...]
    outputs: tuple[ArraySpec, ...]

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of a metadata op."""
        return tuple(v for _, v in self.attributes)


@dataclass(frozen=True)
class Graph:
    """Ops in an order that respects their dependences.

    Value numbers count the inputs first, then the constants, then the outputs of the nodes in order.

    Attributes:
        inputs: dtype and shape of each input.
        constants: arrays that the graph carries.
        nodes: the ops.
        outputs: value numbers of the results.
    """

    inputs: tuple[ArraySpec, ...]
    constants: tuple[Array, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    specs: tuple[ArraySpec, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        specs = [*self.inputs, *(ArraySpec(c.dtype, c.shape) for c in self.constants)]
        for node in self.nodes:
            if any(i is not None and i >= len(specs) for i in node.inputs):
                raise ValueError(f"graph node {node.op} reads a value that is not defined before it")
            specs.extend(node.outputs)
        object.__setattr__(self, "specs", tuple(specs))

    @property
    def first_node_value(self) -> int:
        """The value number of the first node's first output."""
        return len(self.inputs) + len(self.constants)

    def numbered(self) -> Iterator[tuple[int, Node]]:
        """Yield each node with the value number of its first output."""
        number = self.first_node_value
        for node in self.nodes:
            yield number, node
            number += len(node.outputs)

    @cached_property
    def digest(self) -> str:
        """A hash of the structure, the specs and the constants' values; equal graphs have equal ones."""
        import hashlib

        h = hashlib.sha256()
        for spec in self.inputs:
            h.update(f"in {spec};".encode())
        for c in self.constants:
            h.update(f"const {c.dtype}{c.shape};".encode())
            h.update(c.numpy().tobytes())
        for node in self.nodes:
            h.update(f"{node.op.name}{node.inputs}{node.attributes}{[str(o) for o in node.outputs]};".encode())
        h.update(f"out {self.outputs}".encode())
        return h.hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.digest == other.digest

    def __str__(self) -> str:
        lines = [f"%{i} = input : {s}" for i, s in enumerate(self.inputs)]
        lines += [f"%{i} = constant : {self.specs[i]}" for i in range(len(self.inputs), self.first_node_value)]
        for number, node in self.numbered():
            names = ", ".join(f"%{number + k}" for k in range(len(node.outputs)))
            args = ", ".join("none" if i is None else f"%{i}" for i in node.inputs)
            attributes = "".join(f", {k}={v}" for k, v in node.attributes)
            lines.append(f"{names} = {node.op.name}({args}{attributes}) : {', '.join(map(str, node.outputs))}")
        return "\n".join([*lines, f"return {', '.join(f'%{i}' for i in self.outputs)}"])


@dataclass(frozen=True, slots=True, eq=False)
class Refusal:
    """A region compiler's no: the node that it cannot take, by index into ``graph.nodes``, and why."""

    node: int
    reason: str


class RegionCompiler(Protocol):
    """Compiles a whole region of a graph into one kernel, for one kind of device."""

    device: str

    def compile(self, graph: Graph, device: Device) -> Kernel | Refusal:
        """Return a kernel whose operands are the graph's inputs, or the first node that it cannot take."""
