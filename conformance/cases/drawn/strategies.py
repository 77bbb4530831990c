"""What examples are made of: shapes, layouts, values, and calls that print as Python.

Each is read from :class:`~.falsify.Choices`, the simplest first, so that the smallest failing example is one that a
person can read.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from ....core.arrays.array import Array
from ....core.arrays.metadata import BROADCAST_TO, FLIP, PERMUTE_DIMS, SLICE, apply
from ....core.devices.device import Device, find_device
from ....core.dtypes import COMPLEX, REAL, STORAGE, DType, dtype
from ....core.kernel import ArraySpec
from ....core.op import OPS, Op
from ....core.signature import Shape
from ...oracle.formats import Host
from ...target import dense
from .. import values
from ..layouts import poison
from .falsify import Choices
from .fills import Fill, written

T = TypeVar("T")

#: Lengths of axes: simple ones, primes, those around powers of two. Zero comes apart, in one shape of twelve.
LENGTHS: Final = (
    1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 15, 16, 17, 31, 32, 33, 61, 63, 64, 65, 101, 127, 128, 129, 251, 255, 256, 257,
    509, 511, 512, 513, 1021, 1023, 1024, 1025, 2047, 2048, 2049, 4093, 4095, 4096, 4097,
)  # fmt: skip
#: Ranks, the usual ones more often.
RANKS: Final = (1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 0, 4, 5, 6)
MOST_AXES: Final = 6
_EMPTY: Final = 12

#: An operand of at most so many elements is written out, a larger one by its fill.
_WRITTEN: Final = 24


@dataclass(frozen=True, slots=True)
class Axis:
    """How an axis lies in the memory behind it.

    Attributes:
        before, after: elements of the memory on either side that are not part of the array.
        step: distance between neighbours.
        backwards: whether it runs from the end.
        repeated: whether all its elements are one.
    """

    before: int = 0
    after: int = 0
    step: int = 1
    backwards: bool = False
    repeated: bool = False

    def __repr__(self) -> str:
        return written(self)


@dataclass(frozen=True, slots=True)
class Layout:
    """How an array lies in memory.

    Attributes:
        axes: one per axis; none for an array without gaps.
        order: axes from the outermost in memory to the innermost; none for row-major.
    """

    axes: tuple[Axis, ...] = ()
    order: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return written(self)


DENSE: Final = Layout()
#: What is wrong in a kernel that minds the layout shows on these: each breaks one assumption, or two.
AXES: Final = (
    Axis(),
    Axis(step=2),
    Axis(backwards=True),
    Axis(repeated=True),
    Axis(before=1),
    Axis(),
    Axis(after=1),
    Axis(before=1, after=1, step=2),
    Axis(step=3, backwards=True),
    Axis(before=2, backwards=True),
)


@dataclass(frozen=True)
class Operand:
    """An operand of an example.

    Attributes:
        dtype: its dtype.
        shape: its shape.
        fill: its values.
        layout: how it lies in memory.
    """

    dtype: DType
    shape: Shape
    fill: Fill
    layout: Layout = DENSE

    def host(self) -> Host:
        """Return its values; along a repeated axis they are one."""
        once = tuple(min(n, 1) if a.repeated else n for n, a in zip(self.shape, _axes(self), strict=True))
        return np.broadcast_to(self.fill.make(self.dtype, once), self.shape)

    @property
    def spec(self) -> ArraySpec:
        """Its dtype and shape."""
        return ArraySpec(self.dtype, self.shape)

    def upload(self, device: Device) -> Array:
        """Return it on a device, in its layout."""
        return place(self.host(), self.layout, device)


def _axes(x: Operand) -> tuple[Axis, ...]:
    return x.layout.axes or (Axis(),) * len(x.shape)


def place(x: Host, layout: Layout, device: Device) -> Array:
    """Return host values on a device in a layout.

    Args:
        x: equal along every repeated axis.
        layout: what is asked for.
        device: where.
    """
    if layout == DENSE:
        return dense(x, device)
    axes = layout.axes or (Axis(),) * x.ndim
    held = [min(n, 1) if a.repeated else n for n, a in zip(x.shape, axes, strict=True)]
    lengths = [a.before + max((n - 1) * a.step + 1, 0) + a.after for n, a in zip(held, axes, strict=True)]
    frame = np.empty(lengths, x.dtype)
    frame.view(f"u{x.dtype.itemsize}" if x.dtype.itemsize <= 8 else np.uint64)[...] = poison(x.dtype)
    starts = tuple(a.before for a in axes)
    stops = tuple(a.before + n * a.step for n, a in zip(held, axes, strict=True))
    steps = tuple(a.step for a in axes)
    backwards = tuple(i for i, a in enumerate(axes) if a.backwards)
    inside = np.flip(x[tuple(slice(n) for n in held)], backwards)
    frame[tuple(map(slice, starts, stops, steps))] = inside
    order = layout.order or tuple(range(x.ndim))
    made = dense(frame.transpose(order), device)
    if layout.order:
        made = apply(PERMUTE_DIMS, made, tuple(order.index(i) for i in range(x.ndim)))
    if tuple(lengths) != tuple(held):
        made = apply(SLICE, made, starts, tuple(map(min, stops, lengths)), steps)
    if backwards:
        made = apply(FLIP, made, backwards)
    return apply(BROADCAST_TO, made, x.shape) if made.shape != x.shape else made


def array(
    t: str, shape: Shape, filled: Fill | Sequence[Any], layout: Layout = DENSE, device: str | Device = "cpu"
) -> Array:
    """Return an operand of an example, as its printed form calls it.

    Args:
        t: name of the dtype.
        shape: its shape.
        filled: a recipe, or the values in row-major order.
        layout: how it lies in memory.
        device: where.

    >>> array("int8", (2, 2), [1, 2, 3, 4], Layout(order=(1, 0))).strides
    (1, 2)
    """
    target = dtype(t)
    if isinstance(filled, Fill):
        host = Operand(target, shape, filled, layout).host()
    else:
        host = np.array(filled, np.float64 if target.kind in (REAL, STORAGE) else None).astype(target.numpy)
    return place(host.reshape(shape), layout, find_device(device))


@dataclass(frozen=True)
class Call:
    """An example: operands of an op, and its attributes as a caller gives them."""

    operands: tuple[Operand | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def hosts(self) -> tuple[Host | None, ...]:
        """Return the values of the operands."""
        return tuple(None if x is None else x.host() for x in self.operands)

    def upload(self, hosts: tuple[Host | None, ...], device: Device) -> list[Array | None]:
        """Return the operands on a device, in their layouts."""
        return [
            None if x is None or o is None else place(x, o.layout, device)
            for x, o in zip(hosts, self.operands, strict=True)
        ]

    def text(self, op: Op, backend: str, device: Device) -> str:
        """Return the call as a program of Python."""
        names = _operand_names(op, len(self.operands))
        lines = [
            f"{name} = {operand_text(x, device)}" for name, x in zip(names, self.operands, strict=True) if x is not None
        ]
        given = {name: "None" if x is None else name for name, x in zip(names, self.operands, strict=True)}
        call = call_text(op, list(given.values()), self.attributes, device)
        return program(lines, [f"print({call})"], backend)


def program(lines: Sequence[str], body: Sequence[str], backend: str) -> str:
    """Return a program: what it needs, its arrays, and what runs under the policy that a backend is tested under."""
    text = "\n".join([*lines, f"with ox.policy(backends={backend!r}, fallback='forbid'):", *(f"    {s}" for s in body)])
    used = [n for n in ("Axis", "Fill", "Layout") if f"{n}(" in text]
    head = ["import opmux as ox", f"from opmux.conformance.cases.drawn.strategies import {', '.join([*used, 'array'])}"]
    special = [n for n in ("inf", "nan") if n in text]
    return "\n".join([*([f"from math import {', '.join(special)}"] if special else []), *head, text])


def operand_text(x: Operand, device: Device) -> str:
    """Return how an operand is made, as Python, with its strides beside it."""
    host = x.host()
    filled: Any = x.fill
    if host.size <= _WRITTEN:
        wide = host.astype(np.float64) if x.dtype.kind in (REAL, STORAGE) else host
        filled = wide.reshape(-1).tolist()
        if x.dtype.kind != COMPLEX and dtype(host.dtype).kind in (REAL, STORAGE):
            filled = [float(v) for v in filled]
    arguments = [repr(x.dtype.name), repr(x.shape), repr(filled)]
    if x.layout != DENSE:
        arguments.append(repr(x.layout))
    if device.name != "cpu:0":
        arguments.append(f"device={device.name!r}")
    return f"array({', '.join(arguments)})"


def _operand_names(op: Op, count: int) -> list[str]:
    names = [p.name for p in op.parameters if p.name not in op.attribute_names]
    return names if len(names) == count else [f"x{i}" for i in range(1, count + 1)]


def bound(op: Op, operands: Sequence[T], attributes: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return what the public function of an op takes by position and by name."""
    names = [p.name for p in op.parameters if p.name not in op.attribute_names]
    if len(names) == len(operands):
        given: dict[str, Any] = dict(zip(names, operands, strict=True))
    else:
        given = {names[0]: list(operands)} if names else {}
    given |= attributes
    by_position: list[Any] = []
    by_name: dict[str, Any] = {}
    for name, kind in _public_parameters(op.name):
        if name not in given:
            continue
        if kind is inspect.Parameter.POSITIONAL_ONLY or (
            kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and not by_name
        ):
            by_position.append(given[name])
        else:
            by_name[name] = given[name]
    return by_position, by_name


@functools.cache
def _public_parameters(op: str) -> tuple[tuple[str, Any], ...]:
    return tuple((p.name, p.kind) for p in inspect.signature(OPS.public[op]).parameters.values())


def call_text(op: Op, operands: Sequence[str], attributes: Mapping[str, Any], device: Device) -> str:
    """Return a call of the public function, as Python; operands are names."""
    where = {"device": repr(device.name)} if op.creates and device.name != "cpu:0" else {}
    by_position, by_name = bound(op, operands, {**{k: value_text(v) for k, v in attributes.items()}, **where})
    texts = [f"[{', '.join(x)}]" if isinstance(x, list) else x for x in by_position]
    return f"ox.{op.name}({', '.join([*texts, *(f'{k}={v}' for k, v in by_name.items())])})"


def value_text(value: Any) -> str:
    """Return an attribute as Python."""
    return f"ox.{value.name}" if isinstance(value, DType) else repr(value)


def shape(c: Choices, most: int, *, least_rank: int = 0, most_rank: int = MOST_AXES, empty: bool = True) -> Shape:
    """Return a shape.

    Args:
        c: choices; always so many, whatever the rank.
        most: elements that it may have.
        least_rank, most_rank: bounds of its rank.
        empty: whether lengths of zero are allowed.
    """
    rank = min(max(c.pick(RANKS), least_rank), most_rank)
    hollow = empty and c.flag(_EMPTY)
    zero = c.below(max(rank, 1))
    made: list[int] = []
    rest = most
    for i in range(most_rank):
        room = rest if i == rank - 1 else max(int(rest**0.5), min(rest, 4))
        n = c.pick([n for n in LENGTHS if n <= max(room, 1)])
        if i < rank:  # from the last axis on, so that a simpler example has fewer of the first
            made.insert(0, 0 if hollow and i == zero else n)
            rest //= n
    return tuple(made)


def layout(c: Choices, given: Shape, *, repeats: bool = True) -> Layout:
    """Return a layout for a shape, the dense one in a quarter of the cases."""
    how = c.below(4)
    if how == 0 or not given:
        return DENSE
    options = AXES if repeats else tuple(a for a in AXES if not a.repeated)
    axes = tuple(reversed([c.pick(options) for _ in given]))  # from the last on, as lengths are
    order: tuple[int, ...] = ()
    if how > 1 and len(given) > 1:
        order = tuple(reversed(range(len(given))))
        if how == 3:
            order = tuple(int(i) for i in values.generator("order", c.seed()).permutation(len(given)))
    return Layout(axes if any(a != Axis() for a in axes) else (), order if order != tuple(range(len(given))) else ())


def operand(
    c: Choices, t: DType, given: Shape, kinds: Sequence[str] = ("moderate",), *, repeats: bool = True, low: float = 0,
    high: float = 0,
) -> Operand:  # fmt: skip
    """Return an operand of a dtype and shape, with values of one of some kinds, in some layout."""
    fill = Fill(c.pick(kinds), c.seed(), low, high)
    return Operand(t, given, fill, layout(c, given, repeats=repeats))


def broadcast_from(c: Choices, target: Shape) -> Shape:
    """Return a shape that broadcasts to another one, that one in most cases."""
    if not c.flag(3):
        return target
    kept = [1 if c.flag(3) else n for n in target]
    return tuple(kept[c.below(len(target) + 1) :])
