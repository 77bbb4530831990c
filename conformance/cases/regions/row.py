"""A graph of the suite as data: what it is given, what it does, on which dtypes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....core.dtypes import BY_NAME, DType
from ....core.errors import ArgumentError
from ....opset import namespace
from ...oracle.formats import Host
from .. import values
from ..layouts import LAYOUTS, constant_lines

#: The opset's functions, which graphs are written over.
OPSET: Final[Any] = namespace
#: Operands in, one result or several out.
Function = Callable[..., Any]


def _hard(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Return moderate values, one in three of them a hard one: infinities, NaN, both zeros, subnormals."""
    made, table = values.moderate(t, shape, *seed), values.hard(t)
    rng = values.generator("hard", t.name, shape, *seed)
    drawn = rng.permutation(np.resize(table, max(made.size, table.size)))[: made.size].reshape(shape)
    return np.where(rng.integers(0, 3, shape) == 0, drawn, made)


#: Values by the word for them; moderate ones where no word is given.
FILLS: Final[dict[str, Callable[..., Host]]] = {
    "hard": _hard,
    "small": values.small,
    "positive": lambda t, shape, *seed: values.moderate(t, shape, *seed, low=0.25, high=4.0),
    "unit": lambda t, shape, *seed: values.moderate(t, shape, *seed, low=-1.0, high=1.0),
    "far": lambda t, shape, *seed: values.moderate(t, shape, *seed, low=-90.0, high=90.0),
}


@dataclass(frozen=True, slots=True)
class Operand:
    """What one operand of a graph is.

    Attributes:
        shape: lengths of its axes.
        dtype: its name; empty for the dtype that the case is about.
        layout: how it lies on the device, one of ``LAYOUTS``; empty for dense.
        fill: which values it has, one of :data:`FILLS`; empty for moderate ones.
    """

    shape: tuple[int, ...]
    dtype: str = ""
    layout: str = ""
    fill: str = ""

    @classmethod
    def parse(cls, text: str) -> Operand:
        """Return what a text such as ``"4x5 bool transposed"`` names; ``"-"`` is the shape of a number.

        Raises:
            ArgumentError: it names nothing.

        >>> Operand.parse("4x5 int8")
        Operand(shape=(4, 5), dtype='int8', layout='', fill='')
        """
        size, *words = text.split() or [""]
        if not re.fullmatch(r"-|\d+(x\d+)*", size):
            raise ArgumentError(f"operand {text!r}: it begins with a shape such as 4x5, or -", operand=text)
        made: dict[str, Any] = {"shape": () if size == "-" else tuple(map(int, size.split("x")))}
        for word in words:
            known = next((k for k, of in _WORDS.items() if word in of), None)
            if known is None:
                raise ArgumentError(f"operand {text!r}: {word!r} is no dtype, layout or fill", operand=text)
            made[known] = word
        return cls(**made)

    def host(self, t: DType, *seed: object) -> Host:
        """Return its values on the host, for a case about a dtype."""
        own = BY_NAME[self.dtype] if self.dtype else t
        made = FILLS.get(self.fill, values.moderate)(own, self.shape, *seed)
        lines = constant_lines(made) if self.layout == "zero" else made
        return made if lines is None else lines


_WORDS: Final[dict[str, Collection[str]]] = {"dtype": BY_NAME, "layout": LAYOUTS, "fill": FILLS}


@dataclass(frozen=True)
class Row:
    """A graph, or several of the same ops that a compiler must tell apart.

    Attributes:
        kind: of the case.
        label: of the case.
        dtypes: names of the dtypes that it is tried with; that of its first operand.
        operands: what each function is given.
        functions: run one after the other on operands of the same shapes, and the first of them once more.
    """

    kind: str
    label: str
    dtypes: tuple[str, ...]
    operands: tuple[Operand, ...]
    functions: tuple[Function, ...]

    @property
    def batched(self) -> frozenset[int]:
        """The places of the operands whose first axis is the batch, in graphs whose results have it too."""
        lengths = [x.shape[:1] for x in self.operands]
        return frozenset(i for i, n in enumerate(lengths) if self.kind == "values" and n == lengths[0])


def row(kind: str, label: str, dtypes: str, operands: str, *functions: Function) -> Row:
    """Return a row from its text: names of dtypes with blanks between them, operands with commas."""
    given = tuple(map(Operand.parse, operands.split(",")))
    return Row(kind, label, tuple(dtypes.split()), given, functions)
