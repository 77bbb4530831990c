"""What the dispatcher needs to know of an op. The ops themselves are declared in ``opmux.opset``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .dtypes import DType
from .errors import PluginError
from .kernel import ArraySpec, CallSpec
from .signature import Shape

Attributes = Mapping[str, Any]
Specs = tuple["ArraySpec | None", ...]


class Role(StrEnum):
    """How an argument takes part in a call."""

    ARRAY = "array"  # one operand; a Python scalar is allowed beside an array
    OPTIONAL = "optional"  # one operand or None
    ARRAYS = "arrays"  # a sequence of operands, the first parameter only
    ATTRIBUTE = "attribute"  # part of the signature, never data


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """One parameter of an op, in the order of the public function."""

    name: str
    role: Role
    default: Any = None
    required: bool = True
    positional: bool = True
    annotation: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Inferred:
    """What an op's rules say of a call.

    Attributes:
        outputs: dtype and shape of each result.
        attributes: the attributes, normalised.
        casts: the dtype that each operand must be cast to; None leaves it.
        broadcast: the shape that every operand is broadcast to; None leaves them.
    """

    outputs: tuple[ArraySpec, ...]
    attributes: Attributes
    casts: tuple[DType | None, ...] = ()
    broadcast: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What a call has to do at least: operations, and bytes read and written."""

    flops: float
    nbytes: float


Infer = Callable[[str, Specs, Attributes], Inferred]
CountWork = Callable[[Specs, Sequence[ArraySpec], Attributes], Work]


def _never(dtype: DType) -> bool:
    return False


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """An op as the core sees it.

    Attributes:
        name: its name, unique.
        parameters: of the public function.
        infer: the dtype and shape rules: ``infer(name, operand specs, attributes)``; raises typed errors for calls
            that are not allowed.
        work: counts operations and bytes.
        decomposition: an opset function with the same parameters, or None where there is none.
        primitive: False for a composite.
        creates: whether it makes an array out of none, so that the device is an argument.
        promotes: the operands (by index) that promote to one dtype together, which a Python scalar beside them takes;
            None for all of them.
        facts: algebraic facts, e.g. ``"commutative"``; ``"decomposition-reorders"`` where the decomposition is not the
            op's canonical order.
        settled: whether the contract gives every bit of a result of this dtype.
        declaration: everything else that the opset says of it.
    """

    name: str
    parameters: tuple[Parameter, ...]
    infer: Infer
    work: CountWork
    decomposition: Callable[..., Any] | None = None
    primitive: bool = True
    creates: bool = False
    promotes: tuple[int, ...] | None = None
    facts: frozenset[str] = frozenset()
    settled: Callable[[DType], bool] = _never
    declaration: object = None
    attribute_names: tuple[str, ...] = field(init=False)
    names: tuple[str, ...] = field(init=False)
    operand_count: int = field(init=False)

    def __post_init__(self) -> None:
        attributes = [p for p in self.parameters if p.role is Role.ATTRIBUTE]
        object.__setattr__(self, "names", tuple(p.name for p in self.parameters))
        object.__setattr__(self, "attribute_names", tuple(p.name for p in attributes))
        object.__setattr__(self, "operand_count", len(self.parameters) - len(attributes))

    def gives_every_bit(self, spec: CallSpec) -> bool:
        """Return whether the contract of a call leaves no bit of its results open."""
        return all(self.settled(s.dtype) for s in (*spec.arrays, *spec.outputs))

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def unnamed_op(name: str, work: CountWork) -> Op:
    """Return what stands for an op where one is planned that users cannot call: a compiled region or function.

    Its results are known from its graph, so its rule is never asked.
    """

    def no_rule(asked: str, specs: Specs, attributes: Attributes) -> Inferred:
        raise PluginError(f"{asked} has no rule of its own; this is a fault of opmux itself, please report it")

    return Op(name, (), no_rule, work)


class OpTable:
    """All ops by name, and the few that the core itself needs, by role."""

    def __init__(self) -> None:
        self._ops: dict[str, Op] = {}
        #: The function that users call, by the op's name.
        self.public: dict[str, Callable[..., Any]] = {}

    def add(self, op: Op) -> Op:
        """Add an op; a second one of the same name is a mistake of the opset."""
        if op.name in self._ops:
            raise ValueError(f"op {op.name} is declared twice")
        self._ops[op.name] = op
        return op

    def __getitem__(self, name: str) -> Op:
        return self._ops[name]

    def get(self, name: str) -> Op | None:
        """Return the op of this name, or None."""
        return self._ops.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._ops

    def __iter__(self) -> Iterator[Op]:
        return iter(self._ops.values())

    def __len__(self) -> int:
        return len(self._ops)


OPS = OpTable()
#: Ops over the ranks of a mesh: one operand and one result per rank, each on a device of its own.
COLLECTIVES = OpTable()


def all_ops() -> Iterator[Op]:
    """Iterate over every op: those of one device first, then the collectives."""
    yield from OPS
    yield from COLLECTIVES


def find_op(name: str) -> Op | None:
    """Return the op of this name, a collective too, or None."""
    return OPS.get(name) or COLLECTIVES.get(name)


def public_of(op: Op) -> Callable[..., Any]:
    """Return the function that users call."""
    return (COLLECTIVES if op.name in COLLECTIVES else OPS).public[op.name]


#: The ops that the core puts before a kernel by itself: dense copies for kernels that take only
#: contiguous operands, and casts of operands that promote.
COPY = "copy"
CAST = "cast"
