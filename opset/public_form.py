"""Public functions that do more than their primitive: scalars and defaults made explicit, ranks evened out.

A primitive is kept so plain that a kernel is short to write; what people want to write besides is composed here of
views and other ops. The public function carries its primitive's documentation and its op.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..core.arrays.array import Array
from ..core.errors import ArgumentTypeError
from ..core.op import OPS

Function = TypeVar("Function", bound=Callable[..., Any])


def public_form(of: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make a function the public form of a declared primitive.

    Args:
        of: what the declaration of the primitive returned.
    """

    def dress(function: Function) -> Function:
        signature = inspect.signature(function).replace(return_annotation="Array")
        name: str = of.op.name  # type: ignore[attr-defined]

        @functools.wraps(function)
        def public(*args: Any, **given: Any) -> Any:
            try:
                return function(*args, **given)
            except TypeError as error:
                # Without a frame below this one it is Python that refused the arguments, not the function.
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise
                raise ArgumentTypeError(f"{name}{signature} does not take this call: {error}", op=name) from None

        public.__doc__ = of.__doc__
        public.__module__ = "opmux"
        public.op = of.op  # type: ignore[attr-defined]
        public.__signature__ = signature  # type: ignore[attr-defined]
        OPS.public[name] = public
        return cast("Function", public)

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
