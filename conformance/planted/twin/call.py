"""One call of a kernel, as the twin's computations and the faults see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ....plugin import CallSpec
from .formats import Host

#: The twin's own computation: ``compute(spec, out, *operands)`` over NumPy views in any strides.
Compute = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a kernel.

    Attributes:
        spec: shapes, dtypes and attributes.
        out: where the result goes.
        ins: the operands, None for an optional one left out.
        memory: what the kernel keeps between calls; empty when the backend is new.
        workspace: scratch memory, where the kernel asks for some.
        right: the twin's computation of the op.
    """

    spec: CallSpec
    out: Host
    ins: tuple[Any, ...]
    memory: dict[Any, Any]
    workspace: Host | None
    right: Compute

    def __getitem__(self, name: str) -> Any:
        """Return an attribute of the call."""
        return self.spec.attributes[name]

    def finish(self, *ins: Host) -> None:
        """Compute what is right, of other operands where some are given."""
        self.right(self.spec, self.out, *(ins or self.ins))

    def result(self, *ins: Host) -> Host:
        """Return what is right in memory of its own, of other operands where some are given."""
        made: Host = self.out.copy()
        self.right(self.spec, made, *(ins or self.ins))
        return made
