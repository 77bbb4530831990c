"""Python's operators on arrays: one table, installed on the class once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..core.arrays.array import Array, replace
from ..core.errors import DTypeError, ShapeError
from .arithmetic import abs as absolute
from .arithmetic import add, divide, floor_divide, multiply, negative, positive, remainder, subtract
from .arithmetic import pow as power
from .bitwise import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
)
from .comparison import equal, greater, greater_equal, less, less_equal, not_equal
from .contraction import matmul

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """One operator of Python and the op that it stands for.

    Attributes:
        symbol: as written.
        name: of the special method, without underscores.
        function: the op's public function.
        reflected: whether there are a reflected and an in-place form.
        scalars: whether a Python scalar may stand on the other side.
    """

    symbol: str
    name: str
    function: Function
    reflected: bool = True
    scalars: bool = True


BINARY: Final = (
    Operator("+", "add", add),
    Operator("-", "sub", subtract),
    Operator("*", "mul", multiply),
    Operator("/", "truediv", divide),
    Operator("//", "floordiv", floor_divide),
    Operator("%", "mod", remainder),
    Operator("**", "pow", power),
    Operator("@", "matmul", matmul, scalars=False),
    Operator("&", "and", bitwise_and),
    Operator("|", "or", bitwise_or),
    Operator("^", "xor", bitwise_xor),
    Operator("<<", "lshift", bitwise_left_shift),
    Operator(">>", "rshift", bitwise_right_shift),
    Operator("==", "eq", equal, reflected=False),
    Operator("!=", "ne", not_equal, reflected=False),
    Operator("<", "lt", less, reflected=False),
    Operator("<=", "le", less_equal, reflected=False),
    Operator(">", "gt", greater, reflected=False),
    Operator(">=", "ge", greater_equal, reflected=False),
)

UNARY: Final[dict[str, Function]] = {"abs": absolute, "neg": negative, "pos": positive, "invert": bitwise_invert}

# NumPy's own operators leave an opmux array to us (__array_ufunc__ is None); the op then says what to do instead.
_OURS_TO_REFUSE: Final = (np.ndarray, np.generic)
# A sequence would try to repeat itself, asking the array for an index. Comparisons leave it to Python: it says False.
_SEQUENCES: Final = (list, tuple)
_SCALARS: Final = (bool, int, float, complex)


def _taken(operator: Operator) -> tuple[type, ...]:
    """Return the types on the other side that the op answers for, if only to say what to do instead."""
    sequences = _SEQUENCES if operator.reflected else ()
    return (*_OURS_TO_REFUSE, *sequences, *(_SCALARS if operator.scalars else ()))


def _forward(operator: Operator) -> Function:
    function = operator.function
    taken = (Array, *_taken(operator))

    def method(self: Array, other: Any) -> Any:
        return function(self, other) if isinstance(other, taken) else NotImplemented

    return method


def _reflected(operator: Operator) -> Function:
    function = operator.function
    taken = _taken(operator)

    def method(self: Array, other: Any) -> Any:
        return function(other, self) if isinstance(other, taken) else NotImplemented

    return method


def _in_place(operator: Operator) -> Function:
    function, symbol = operator.function, operator.symbol
    taken = (Array, *_taken(operator))

    def method(self: Array, other: Any) -> Any:
        if not isinstance(other, taken):
            return NotImplemented
        result = function(self, other)
        if result.dtype is not self.dtype:
            raise DTypeError(
                f"x {symbol}= y keeps the dtype of x, {self.dtype}, but the result has {result.dtype}; "
                f"write x = x {symbol} y",
                op=function.__name__,
                dtypes=(self.dtype, result.dtype),
            )
        if result.shape != self.shape:
            raise ShapeError(
                f"x {symbol}= y keeps the shape of x, {self.shape}, but the result has {result.shape}; "
                f"write x = x {symbol} y",
                op=function.__name__,
                shapes=(self.shape, result.shape),
            )
        replace(self, result)
        return self

    return method


def _unary(function: Function) -> Function:
    def method(self: Array) -> Any:
        return function(self)

    return method


def special_methods() -> dict[str, Function]:
    """Return every special method by its name, made from the tables."""
    made: dict[str, Function] = {}
    for operator in BINARY:
        made[f"__{operator.name}__"] = _forward(operator)
        if operator.reflected:
            made[f"__r{operator.name}__"] = _reflected(operator)
            made[f"__i{operator.name}__"] = _in_place(operator)
    made |= {f"__{name}__": _unary(function) for name, function in UNARY.items()}
    return made


def install() -> None:
    """Put the operators on the array class."""
    for name, method in special_methods().items():
        method.__name__, method.__qualname__ = name, f"Array.{name}"
        setattr(Array, name, method)


install()
