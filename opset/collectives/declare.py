"""How collectives are declared: one block each, as ops are, over the operands of all ranks.

The body is the reference meaning: it takes the values of every rank, in order, and returns the result of every rank.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...core.dtypes import DType
from ...core.errors import PluginError
from ...core.kernel import ArraySpec
from ...core.op import COLLECTIVES, Attributes, Inferred, Op, Specs
from ..accuracy import EXACT, Accuracy
from ..declare import Body, Declaration, Public, parameters_of, publish, settled
from ..rules import per_operands
from .problem import Problem

Rule = Callable[[str, Sequence[ArraySpec], Attributes], Problem]
#: ``length(sizes, rank)``: how long a rank's operand is along the axis, from what the caller says of all ranks.
Length = Callable[[Any, int], int]
_CALL: Final = (
    inspect.Parameter("wait", inspect.Parameter.KEYWORD_ONLY, default=True, annotation="bool"),
    inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Sequence[Array] | None"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Collective(Declaration):
    """What the opset says of a collective.

    Attributes:
        rule: what operands must be, and where the parts of a call lie.
        length: of another rank's operand, where operands may be of uneven length.
    """

    rule: Rule
    length: Length | None


def collective(
    *,
    rule: Rule,
    dtypes: Sequence[DType],
    accuracy: Accuracy = EXACT,
    specials: Sequence[str] = (),
    facts: Sequence[str] = (),
    length: Length | None = None,
) -> Callable[[Body], Public]:
    """Declare a collective.

    Args:
        rule: see :mod:`.rules`.
        dtypes: dtypes of operands.
        accuracy: how far a result may lie from the true one.
        specials: special cases as sentences.
        facts: algebraic facts.
        length: see :class:`Collective`.
    """

    def register(body: Body) -> Public:
        from .call import public

        name = body.__name__
        own = list(inspect.signature(body).parameters.values())[1:]  # the first is the namespace
        said = Collective("collectives", body, tuple(dtypes), accuracy, tuple(specials), False, rule, length)
        op = Op(
            name, parameters_of(own), _no_rule, per_operands(1),
            facts=frozenset(("collective", *facts)), settled=settled(accuracy), declaration=said,
        )  # fmt: skip
        return publish(COLLECTIVES, op, public(op), body, inspect.Signature([*own, *_CALL], return_annotation="Any"))

    return register


def _no_rule(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    raise PluginError(f"{name} has a rule over all ranks alone; this is a fault of opmux itself, please report it")
