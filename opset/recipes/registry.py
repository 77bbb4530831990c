"""Which recipe belongs to which op and dtypes, and the programs built from them.

Recipe functions are registered by the modules of this package; :func:`program` imports those on
first use, so ``import opmux`` pays for none of them.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ...core.dtypes import DType
from ...core.kernel import CallSpec, Reason, Rejection
from ..lowered import ARITHMETIC
from .program import STORAGE_FLOATS, Program
from .writing import Value, build, convert

Body = Callable[..., Value]

#: The modules that hold recipes; each registers its own on import.
MODULES: Final = (
    "arithmetic",
    "division",
    "comparison",
    "bitwise",
    "rounding",
    "exponential",
    "logarithm",
    "power",
    "trigonometric",
    "inverse_trigonometric",
    "hyperbolic",
    "error_function",
)

_BODIES: dict[tuple[str, str | None], Body] = {}


def recipe(op: str, *dtypes: str) -> Callable[[Body], Body]:
    """Register a recipe for an op.

    Args:
        op: the op's name.
        dtypes: dtypes of the *last* input that this body serves. None at all means that the body
            looks at the dtypes itself and serves every one that the op allows.

    A body for float32 also serves float16 and bfloat16: the operands are widened and the result is rounded once.
    """

    def register(body: Body) -> Body:
        for t in dtypes or (None,):
            if (op, t) in _BODIES:
                raise ValueError(f"two recipes for {op} on {t or 'any dtype'}")
            _BODIES[op, t] = body
        return body

    return register


def _widened(body: Body, narrow: str) -> Body:
    def widen(*values: Value) -> Value:
        result = body(*(convert(v, "float32") if v.type in STORAGE_FLOATS else v for v in values))
        return convert(result, narrow) if result.type == "float32" else result

    return widen


@functools.cache
def _load() -> None:
    for module in MODULES:
        importlib.import_module(f".{module}", __package__)


@functools.cache
def program(op: str, inputs: tuple[str, ...], to: str | None = None) -> Program | None:
    """Return the recipe of an op for these input dtypes, or None where it has none.

    Args:
        op: the op's name.
        inputs: dtype names of the op's array operands.
        to: the target dtype, for the ops ``cast`` and ``bitcast``.

    >>> program("add", ("float32", "float32")).result_type
    'float32'
    """
    _load()
    extra = () if to is None else (to,)
    last = inputs[-1]
    body = _BODIES.get((op, last)) or _BODIES.get((op, None))
    if body is None and last in STORAGE_FLOATS and (op, "float32") in _BODIES:
        body = _widened(_BODIES[op, "float32"], last)
    if body is None:
        return None
    chosen = body
    return build(op, inputs, lambda *values: chosen(*values, *extra))


def ops_with_recipes() -> tuple[str, ...]:
    """Return the names of all ops that have a recipe, sorted."""
    _load()
    return tuple(sorted({op for op, _ in _BODIES}))


def recipe_of(spec: CallSpec) -> Program | Rejection:
    """Return the recipe of a call's op for its dtypes, or what a kernel answers where there is none."""
    found = recipe_for(spec.op, [s.dtype for s in spec.arrays], spec.attributes)
    return Rejection(Reason.DTYPE, found) if isinstance(found, str) else found


def recipe_for(op: str, dtypes: Sequence[DType], attributes: Mapping[str, Any]) -> Program | str:
    """Return the recipe of an op for operands of these dtypes, or the reason why there is none."""
    inputs, target = tuple(t.name for t in dtypes), attributes.get("dtype")
    if target is not None and target.name not in ARITHMETIC:
        return f"it does not convert to {target}"
    found = program(op, inputs, None if target is None else target.name) if inputs else None
    return f"there is no recipe for {', '.join(inputs)}" if found is None else found
