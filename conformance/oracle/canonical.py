"""The canonical bits of a call: elementwise ops by their recipes, sums, products and matrix products in the orders of
:mod:`opmux.opset.orders`, composites by their decomposition. Plain NumPy on the host; no kernel takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ...core.dtypes import COMPLEX, REAL, DType, dtype
from ...core.kernel import ArraySpec
from ...core.op import OPS, Inferred, Op
from ...opset import orders
from ...opset.conversion import converted
from ...opset.declare import declaration_of
from ...opset.recipes.evaluate import evaluate
from ...opset.recipes.pairs import run_on_pairs
from ...opset.recipes.registry import program
from .composites import Opset, Wide
from .expect import Operands, completed, exact_values, infer, operands_of, with_optional
from .formats import Host

Attributes = Mapping[str, Any]


class NoCanonicalOrderError(LookupError):
    """The opset fixes no canonical order for this call."""


def canonical(op: Op, operands: Operands, attributes: Attributes) -> Host:
    """Return the bits that the canonical class promises.

    Args:
        op: the op.
        operands: host arrays, None for optional ones left out.
        attributes: as given.

    Raises:
        NoCanonicalOrderError: there are none: complex matrix products have no order of their own.

    >>> import opmux
    >>> canonical(OPS["exp"], (np.float32([0, 1]),), {})
    array([1.       , 2.7182817], dtype=float32)
    """
    operands = with_optional(op, operands)
    inferred = infer(op, operands, attributes)
    if op.primitive:
        return _primitive(op, operands_of(operands, inferred), inferred)
    over = Canonical()
    arrays = [None if x is None else over.array(x, dtype(x.dtype)) for x in operands_of(operands, inferred)]
    with np.errstate(all="ignore"):
        made: Host = declaration_of(op).body(over, *arrays, **completed(op, attributes)).values
    return made


def _primitive(op: Op, operands: Operands, inferred: Inferred) -> Host:
    (spec,) = inferred.outputs
    present = [x for x in operands if x is not None]
    if all(op.settled(dtype(x.dtype)) for x in present) and op.settled(spec.dtype):
        return exact_values(op, operands, inferred.attributes, spec.dtype)
    ordered = _ORDERED.get(op.name)
    if ordered is not None:
        found = ordered(*present, inferred.attributes, spec.dtype)
        return np.asarray(found).reshape(spec.shape)
    if spec.dtype.kind == COMPLEX:
        over = Canonical()
        pairs = [over.made(x, dtype(x.dtype)) for x in present]
        with np.errstate(all="ignore"):
            made: Any = run_on_pairs(over, op.name, tuple(pairs))  # type: ignore[arg-type]
        return np.asarray(made.values)
    recipe = program(op.name, tuple(dtype(x.dtype).name for x in present)) if spec.dtype.kind == REAL else None
    if recipe is None:
        raise NoCanonicalOrderError(f"{op.name} on {spec.dtype} has no canonical order")
    return evaluate(recipe, *present)


def _matmul(x: Host, y: Host, attributes: Attributes, t: DType) -> Host:
    if t.kind == COMPLEX:
        raise NoCanonicalOrderError(f"matmul on {t} has no canonical order")
    return orders.canonical_matmul(x, y, dtype=t.numpy)


def _scatter(x: Host, indices: Host, updates: Host, attributes: Attributes, t: DType) -> Host:
    """One update after the other, which the declared body does in the accumulator of the dtype."""
    return exact_values(OPS["scatter"], (x, indices, updates), attributes, t, widen=False)


_ORDERED: Final[dict[str, Callable[..., Host]]] = {
    "sum": lambda x, a, t: orders.canonical_sum(x, a["axis"], dtype=t.numpy),
    "prod": lambda x, a, t: orders.canonical_prod(x, a["axis"], dtype=t.numpy),
    "cumulative_sum": lambda x, a, t: orders.canonical_cumulative_sum(x, a["axis"], dtype=t.numpy),
    "cumulative_prod": lambda x, a, t: orders.canonical_cumulative_prod(x, a["axis"], dtype=t.numpy),
    "matmul": _matmul,
    "scatter": _scatter,
}


class Exactly(Wide):
    """An array as the body of a composite sees it, in its own dtype; operators are ops."""

    def __add__(self, other: Any) -> Wide:
        return self._by("add", self, other)

    def __sub__(self, other: Any) -> Wide:
        return self._by("subtract", self, other)

    def __mul__(self, other: Any) -> Wide:
        return self._by("multiply", self, other)

    def __truediv__(self, other: Any) -> Wide:
        return self._by("divide", self, other)

    def __neg__(self) -> Wide:
        return self._by("negative", self)

    def __radd__(self, other: Any) -> Wide:
        return self._by("add", other, self)

    def __rsub__(self, other: Any) -> Wide:
        return self._by("subtract", other, self)

    def __rmul__(self, other: Any) -> Wide:
        return self._by("multiply", other, self)

    def __rtruediv__(self, other: Any) -> Wide:
        return self._by("divide", other, self)

    def _by(self, op: str, *operands: Any) -> Wide:
        made: Wide = getattr(self._over, op)(*operands)
        return made


class Canonical(Opset):
    """``ox`` for the bodies of composites, every primitive in its canonical bits."""

    def __init__(self) -> None:
        super().__init__(np.dtype(np.float64), "float64")

    def made(self, values: Host, t: DType) -> Wide:
        return Exactly(values, t, self)

    def array(self, values: Host, t: DType) -> Wide:
        return self.made(converted(np.asarray(values), t), t)

    def run(self, op: Op, arrays: Any, attributes: dict[str, Any]) -> Wide:
        if not op.primitive:
            found: Wide = declaration_of(op).body(self, *arrays, **attributes)
            return found
        specs = tuple(None if x is None else ArraySpec(x.dtype, x.shape) for x in arrays)
        inferred = op.infer(op.name, specs, attributes)
        ready = operands_of(tuple(None if x is None else x.values for x in arrays), inferred)
        return self.made(_primitive(op, ready, inferred), inferred.outputs[0].dtype)

    def cast(self, x: Any, t: Any) -> Wide:
        return self.made(converted(x.values, dtype(t)), dtype(t))

    def matmul(self, x1: Any, x2: Any, *, dtype: Any = None) -> Wide:
        batch = np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
        x, y = (self.made(np.broadcast_to(v.values, (*batch, *v.shape[-2:])), v.dtype) for v in (x1, x2))
        return self.run(OPS["matmul"], [x, y], {"dtype": dtype})
