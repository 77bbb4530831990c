"""A collective call without its data, as every rank of the mesh sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ...core.collectives.layout import Layout
from ...core.dtypes import DType, bfloat16, float16, float32
from ...core.signature import Shape

#: For each reduction the op that combines two contributions, for numbers and for bool.
COMBINES: Final[dict[str, tuple[str, str]]] = {
    "sum": ("add", "logical_or"),
    "prod": ("multiply", "logical_and"),
    "min": ("minimum", "logical_and"),
    "max": ("maximum", "logical_or"),
    "and": ("bitwise_and", "bitwise_and"),
    "or": ("bitwise_or", "bitwise_or"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be done, and where everything lies.

    Attributes:
        collective: the op's name.
        ranks: how many there are.
        dtype: of every operand and result.
        layout: where the chunks of a schedule lie.
        operands: shape of each rank's operand.
        results: shape of each rank's result; empty where there is none.
        reduction: how contributions are combined, or None where nothing is.
        axis: along which operands are cut or joined; it is the first one by now. None where there is none.
        blocks: how many contributions each rank brings.
        arguments: what algorithms are built with besides the number of ranks: ``root``, ``pairs``, ``blocks``.
    """

    collective: str
    ranks: int
    dtype: DType
    layout: Layout
    operands: tuple[Shape, ...]
    results: tuple[Shape, ...]
    reduction: str | None = None
    axis: int | None = None
    blocks: tuple[int, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def blocked(self) -> bool:
        """Whether ranks bring several contributions each, or could: along an axis of their operands."""
        return self.collective == "all_reduce" and self.axis is not None

    @property
    def accumulator(self) -> DType:
        """The dtype that contributions are combined in, and travel in: sums of narrow floats are kept in float32."""
        narrow = self.dtype in (float16, bfloat16) and self.reduction in ("sum", "prod")
        return float32 if narrow else self.dtype

    @property
    def combine(self) -> str | None:
        """The name of the op that combines two contributions."""
        if self.reduction is None:
            return None
        return COMBINES[self.reduction][self.dtype.name == "bool"]
