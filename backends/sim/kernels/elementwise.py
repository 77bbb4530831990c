"""Elementwise ops: the recipe of each, interpreted, which gives its canonical bits."""

from __future__ import annotations

from typing import Final

from ....plugin import CallSpec, Rejection, evaluate, ops_with_recipes, recipe_of
from ..memory import Host
from .rows import ALL, BOOL, FLOATS, INTEGERS, NUMBERS, Compute, Row, Unit

#: Dtypes of the operands of ops that do not take floats alone.
_ACCEPTS: Final[dict[str, tuple[frozenset[str], ...]]] = {
    **dict.fromkeys(
        (
            *("abs", "add", "bitcast", "ceil", "floor", "floor_divide", "greater", "greater_equal", "isfinite"),
            *("isinf", "isnan", "less", "less_equal", "maximum", "minimum", "multiply", "pow", "remainder", "round"),
            *("sign", "subtract", "trunc"),
        ),
        (NUMBERS,),
    ),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert"), (INTEGERS | BOOL,)),
    **dict.fromkeys(("bitwise_left_shift", "bitwise_right_shift"), (INTEGERS,)),
    **dict.fromkeys(("cast", "equal", "not_equal"), (ALL,)),
    "negative": (NUMBERS - {"uint8", "uint16", "uint32", "uint64"},),
    "where": (BOOL, ALL),
}
#: Which only reinterpret bits.
_MOVES: Final = frozenset({"bitcast"})


def _by_recipe(spec: CallSpec) -> Compute | Rejection:
    program = recipe_of(spec)
    if isinstance(program, Rejection):
        return program

    def compute(out: Host, *operands: Host) -> None:
        out[...] = evaluate(program, *operands)

    return compute


ROWS: Final = tuple(
    Row(op, _by_recipe, _ACCEPTS.get(op, (FLOATS,)), Unit.DMA if op in _MOVES else Unit.VECTOR)
    for op in ops_with_recipes()
)
