"""Public functions that do more than their primitive: scalars and defaults made explicit, ranks evened out.

A primitive is kept so plain that a kernel is short to write; what people want to write besides is composed here of
views and other ops. The public function carries its primitive's documentation and its op.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ..core.array import Array
from ..core.op import OPS

Function = TypeVar("Function", bound=Callable[..., Any])


def public_form(of: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make a function the public form of a declared primitive.

    Args:
        of: what the declaration of the primitive returned.
    """

    def dress(function: Function) -> Function:
        signature = inspect.signature(function)
        function.__doc__ = of.__doc__
        function.__module__ = "opmux"
        function.op = of.op  # type: ignore[attr-defined]
        OPS.public[of.op.name] = function  # type: ignore[attr-defined]
        function.__signature__ = signature.replace(return_annotation="Array")  # type: ignore[attr-defined]
        return function

    return dress


def are_arrays(*operands: object) -> bool:
    """Return whether all operands are arrays; where they are not, the primitive itself says what is wrong."""
    return all(isinstance(x, Array) for x in operands)


def into(out: Array | None, result: Array) -> Array:
    """Return a composed result, through ``out`` where one is given.

    Raises:
        OutError: when ``out`` is not an exclusively owned array of the result's dtype and shape.
    """
    from .movement import copy

    made: Array = result if out is None else copy(result, out=out)
    return made
