"""A case: one computation on given shapes and one dtype, as data that travels between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Attribute = int | str | bool | None
Style = Literal["eager", "compiled"]
#: What bounds a case: arithmetic, or the traffic of a copy or of a read; on a GPU its copy, or arithmetic whose peak
#: is not measured. None where neither does, as for call costs.
Limit = Literal["flops", "copy", "read", "device copy", "device flops"] | None

_SHORT: Final = {"float": "f", "int": "i", "uint": "u", "bool": "bool"}


@dataclass(frozen=True, slots=True)
class Case:
    """One computation to measure.

    Attributes:
        kind: what is computed; a key of ``kinds.KINDS``.
        dtype: of the operands.
        shapes: of the operands, as they are given to the op.
        attributes: of the op, and how operands lie in memory.
        style: called op by op, or as one function compiled by the peer.
        flops: operations of one run.
        bytes: of all operands and results together: the least traffic and the working set.
        limit: what bounds it.
    """

    kind: str
    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    attributes: tuple[tuple[str, Attribute], ...] = ()
    style: Style = "eager"
    flops: float = 0.0
    bytes: float = 0.0
    limit: Limit = None

    @property
    def name(self) -> str:
        """Its name in tables and files; unique within a benchmark.

        >>> Case("sum", "float32", ((1000, 1000),), (("axis", 0),)).name
        'sum f32 1000x1000 axis=0'
        """
        shapes = ",".join(dict.fromkeys("x".join(map(str, s)) or "()" for s in self.shapes))
        attributes = [f"{k}={v}" for k, v in self.attributes]
        style = [self.style] if self.style != "eager" else []
        return " ".join([self.kind, short(self.dtype), shapes, *attributes, *style])

    def get(self, attribute: str, default: Attribute = None) -> Attribute:
        """Return an attribute."""
        return dict(self.attributes).get(attribute, default)

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, ready for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "dtype": self.dtype,
            "shapes": [list(s) for s in self.shapes],
            "attributes": dict(self.attributes),
            "style": self.style,
            "flops": self.flops,
            "bytes": self.bytes,
            "limit": self.limit,
        }

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> Case:
        """Return the case that :meth:`to_data` described."""
        return Case(
            data["kind"],
            data["dtype"],
            tuple(tuple(s) for s in data["shapes"]),
            tuple(data["attributes"].items()),
            data["style"],
            data["flops"],
            data["bytes"],
            data["limit"],
        )


def short(dtype: str) -> str:
    """Return a dtype's short name.

    >>> short("float32")
    'f32'
    """
    letters = dtype.rstrip("0123456789")
    return _SHORT.get(letters, letters) + dtype[len(letters) :]
