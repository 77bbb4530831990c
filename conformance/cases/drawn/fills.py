"""What fills the arrays of examples: values by name and seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from ....core.dtypes import REAL, DType
from ....core.signature import Shape
from ...oracle.formats import Host
from .. import values
from ..samples.shared import gentle


@dataclass(frozen=True, slots=True)
class Fill:
    """Values by recipe.

    Attributes:
        kind: one of :data:`FILLS`.
        seed: of what is drawn.
        low, high: of the kinds that have a range.
    """

    kind: str
    seed: int = 0
    low: float = 0
    high: float = 0

    def __repr__(self) -> str:
        return written(self)

    def make(self, t: DType, shape: Shape) -> Host:
        """Return values of a dtype and shape."""
        return FILLS[self.kind](self, t, shape)


def written(x: Any) -> str:
    changed = [(f.name, getattr(x, f.name)) for f in fields(x) if getattr(x, f.name) != f.default]
    return f"{type(x).__name__}({', '.join(f'{name}={value!r}' for name, value in changed)})"


def _salted(fill: Fill, t: DType, shape: Shape) -> Host:
    """Moderate values with a few that are not finite among them."""
    x = values.moderate(t, shape, fill.seed)
    if t.kind == REAL and x.size:
        rng = values.generator("salt", fill.seed)
        salt = np.array([np.inf, np.nan, -np.inf, -0.0])[rng.integers(0, 4, 2)]
        x.reshape(-1)[rng.integers(0, x.size, 2)] = values.rounded(salt, t)
    return x


def _wide(fill: Fill, t: DType, shape: Shape) -> Host:
    """Terms of very different size, of which no sum of a thousand overflows."""
    x = values.moderate(t, shape, fill.seed)
    if t.kind != REAL:
        return x
    scale = 2.0 ** values.generator("wide", fill.seed).integers(-14, 2, shape)
    return values.rounded(x.astype(np.float64) * scale, t)


def _from_table(fill: Fill, t: DType, shape: Shape) -> Host:
    table = values.hard(t)
    return np.asarray(table[values.generator("hard", t.name, fill.seed).integers(0, table.size, shape)])


def _stratified(fill: Fill, t: DType, shape: Shape) -> Host:
    size = math.prod(shape)
    drawn = values.stratified(t, 2 * size + 16, fill.seed)
    mixed = values.generator("mixed", fill.seed).permutation(drawn)
    return np.asarray(np.resize(mixed, (size,)).reshape(shape))


def _integers(fill: Fill, t: DType, shape: Shape) -> Host:
    low = max(int(fill.low), 0) if t.kind.startswith("unsigned") else int(fill.low)
    return values.generator("integers", fill.seed).integers(low, max(int(fill.high), low) + 1, shape).astype(t.numpy)


def _sorted(fill: Fill, t: DType, shape: Shape) -> Host:
    """In the order of the opset: NaN last."""
    x = _from_table(fill, t, shape)
    plain = x.astype(np.float32) if x.dtype.kind == "V" else x  # NumPy does not sort bfloat16
    return np.sort(plain, kind="stable").astype(t.numpy)


def _nonzero(fill: Fill, t: DType, shape: Shape) -> Host:
    x = values.moderate(t, shape, fill.seed)
    return np.where(x == 0, np.ones((), t.numpy), x)


#: What fills an array, by name.
FILLS: Final[dict[str, Callable[[Fill, DType, Shape], Host]]] = {
    "small": lambda f, t, shape: values.small(t, shape, f.seed),
    "moderate": lambda f, t, shape: values.moderate(t, shape, f.seed),
    "between": lambda f, t, shape: values.moderate(t, shape, f.seed, low=f.low, high=f.high),
    "gentle": lambda f, t, shape: gentle(t, shape, f.seed),
    "integers": _integers,
    "nonzero": _nonzero,
    "salted": _salted,
    "wide": _wide,
    "hard": _from_table,
    "stratified": _stratified,
    "sorted": _sorted,
}
