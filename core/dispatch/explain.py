"""``explain``: why a call runs where it runs, found without running it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, shown
from ..op import Op, find_op, public_of
from .decision import Decision
from .observe import planning

if TYPE_CHECKING:
    from .explanation import Explanation


def explain(op: str | Op | Any, /, *args: Any, **attributes: Any) -> Explanation:
    """Return why a call would run where it would run, without running it.

    Args:
        op: an op's public function, or its name.
        args: as the call takes them.
        attributes: likewise.

    Raises:
        ArgumentError: for an unknown op.
        UnsupportedError: when nothing can do the call.

    >>> import opmux as ox
    >>> x = ox.asarray([1.0, 2.0])
    >>> ox.explain("exp", x).op
    'exp'
    >>> ox.explain(ox.pad, x, 1).call
    'pad(float32[2], float32[], pad_width=((1,1),))'
    """
    if isinstance(op, str):
        found = find_op(op)
    else:
        found = op if isinstance(op, Op) else getattr(op, "op", None)
    if not isinstance(found, Op):
        raise _no_op(op)
    from .explanation import explanation_of

    return explanation_of(*plan(found, *args, **attributes))


def _no_op(given: Any) -> ArgumentError:
    """Return the error for what is given instead of an op."""
    public = sys.modules[__name__.partition(".")[0]]  # by name: the core imports nothing above it
    name = given if isinstance(given, str) else getattr(given, "__name__", "")
    function = getattr(public, name, None) if name.isidentifier() else None
    if callable(function) and (given is function or isinstance(given, str)):
        return ArgumentError(
            f"{name} is no op: it has no kernels to choose between, so there is nothing to explain; `opmux ops` lists "
            f"the ops, and opmux.count_calls() shows those that it calls",
            op=given,
        )
    if isinstance(given, str):
        return ArgumentError(f"no op named {given!r}; `opmux ops` lists them", op=given)
    return ArgumentError(f"{shown(given)} is not an op; pass an op's name or its public function", op=given)


def plan(op: Op, /, *args: Any, **attributes: Any) -> tuple[Decision, list[Decision]]:
    """Return the decision for a call of an op's public function, and those of what it calls besides; nothing runs.

    Raises:
        ArgumentError: when the call is done without the op's kernel.
        UnsupportedError: when nothing can do the call.
    """
    with planning() as made:
        public_of(op)(*args, **attributes)
    own = [d for d in made if d.op is op]
    if not own:
        raise ArgumentError(f"{op.name}: with these arguments the call is done without its kernel", op=op.name)
    return own[-1], [d for d in made if d is not own[-1]]
