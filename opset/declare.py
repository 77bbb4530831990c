"""How ops are declared: one block each, from which everything else comes.

A block is a decorated function. Its name, signature and docstring are those of the public function; its body
is the reference meaning. A *primitive*'s body is written over ``np``, a NumPy-like namespace of mathematical
functions, so that the oracle can run it in float64 or in higher precision. A *composite*'s body is written over ``ox``,
the opset itself: run on the opset it is the decomposition, run on the reference it is the oracle.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ..core.arrays.array import Array
from ..core.dispatch.call import public_function
from ..core.dispatch.registry import REGISTRY
from ..core.dtypes import BOOL, SIGNED, UNSIGNED, DType
from ..core.op import OPS, CountWork, Infer, Op, OpTable, Parameter, Role
from . import rules
from .accuracy import ROUNDED, Accuracy, Exact

Public = Callable[..., Any]
Body = TypeVar("Body", bound=Callable[..., Any])

#: MAJOR.MINOR of the opset; see the snapshot in ``opset/snapshot.json``.
VERSION: Final = "0.2"

REGISTRY.opset_version = VERSION

_ROLES: Final[dict[str, Role]] = {
    "Array": Role.ARRAY,
    "Array | None": Role.OPTIONAL,
    "Sequence[Array]": Role.ARRAYS,
}
_OUT: Final = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Array | None")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Declaration:
    """What the opset says of an op beyond what the dispatcher needs.

    Attributes:
        family: the group that it belongs to, which is its file.
        body: the reference meaning.
        dtypes: dtypes of the leading operand that the op takes.
        accuracy: its contract.
        specials: special cases as sentences, which are test ids: ``exp(-inf) -> +0``.
        core: whether every core profile holds it.
    """

    family: str
    body: Callable[..., Any]
    dtypes: tuple[DType, ...]
    accuracy: Accuracy
    specials: tuple[str, ...]
    core: bool

    @property
    def doc(self) -> str:
        """The public docstring."""
        return inspect.getdoc(self.body) or ""


def parameters_of(own: Sequence[inspect.Parameter]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            p.name,
            _ROLES.get(str(p.annotation), Role.ATTRIBUTE),
            None if p.default is p.empty else p.default,
            p.default is p.empty,
            p.kind is not p.KEYWORD_ONLY,
            str(p.annotation),
        )
        for p in own
    )


def _declare(
    body: Callable[..., Any],
    *,
    primitive: bool,
    infer: Infer,
    work: CountWork,
    dtypes: Sequence[DType],
    accuracy: Accuracy,
    specials: Sequence[str],
    facts: Sequence[str],
    core: bool,
    decomposition: Callable[..., Any] | None,
    promotes: tuple[int, ...] | None,
) -> Public:
    own = list(inspect.signature(body).parameters.values())[1:]  # the first is the namespace
    parameters = parameters_of(own)
    name = body.__name__.rstrip("_")
    family = body.__module__.rpartition(".")[2]
    declaration = Declaration(family, body, tuple(dtypes), accuracy, tuple(specials), core)
    op = Op(
        name, parameters, infer, work, _over_opset(decomposition, parameters), primitive,
        creates=any(p.name == "device" for p in parameters),
        promotes=promotes,
        facts=frozenset(facts),
        settled=settled(accuracy),
        declaration=declaration,
    )  # fmt: skip
    return publish(OPS, op, public_function(op), body, inspect.Signature([*own, _OUT], return_annotation="Array"))


def publish(table: OpTable, op: Op, function: Public, body: Callable[..., Any], signature: inspect.Signature) -> Public:
    """Enter an op and its public function, which looks as its declaration says.

    Raises:
        ValueError: the table has an op of this name.
    """
    table.add(op)
    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = body.__doc__
    function.__module__ = "opmux"
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.op = op  # type: ignore[attr-defined]
    table.public[op.name] = function
    return function


def settled(accuracy: Accuracy) -> Callable[[DType], bool]:
    """Return whether a contract gives every bit: it says so, or the dtype has no rounding."""
    if isinstance(accuracy, Exact):
        return lambda t: True
    return lambda t: t.kind in (BOOL, SIGNED, UNSIGNED)


def primitive(
    *,
    infer: Infer,
    dtypes: Sequence[DType],
    accuracy: Accuracy,
    specials: Sequence[str] = (),
    facts: Sequence[str] = (),
    flops: float = 1.0,
    work: CountWork | None = None,
    core: bool = False,
    decomposition: Callable[..., Any] | None = None,
    promotes: tuple[int, ...] | None = None,
) -> Callable[[Body], Public]:
    """Declare a primitive.

    Args:
        infer: dtype and shape rule, from :mod:`opmux.opset.rules` or written for the op.
        dtypes: of the leading operand.
        accuracy: the contract.
        specials: special cases, ``"exp(-inf) -> +0"``.
        facts: algebraic facts: ``commutative``, ``associative``, ``idempotent``, ``monotone``, ``elementwise``,
            ``identity:0``.
        flops: operations per element of the result.
        work: counts operations and bytes where ``flops`` per element is not right.
        core: whether the op is in the core profiles, which no device may decline.
        decomposition: into core ops, over ``ox``; an elementwise op without one decomposes by its recipe.
        promotes: operands that promote together; None for all.
    """

    def register(body: Body) -> Public:
        return _declare(
            body, primitive=True, infer=infer, work=work or rules.elements(flops), dtypes=dtypes, accuracy=accuracy,
            specials=specials, facts=facts, core=core, decomposition=decomposition, promotes=promotes,
        )  # fmt: skip

    return register


def composite(
    *,
    infer: Infer,
    dtypes: Sequence[DType],
    accuracy: Accuracy,
    specials: Sequence[str] = (),
    facts: Sequence[str] = (),
    flops: float = 1.0,
    work: CountWork | None = None,
    promotes: tuple[int, ...] | None = None,
) -> Callable[[Body], Public]:
    """Declare a composite: its body over ``ox`` is its decomposition and its reference in one.

    The arguments are those of :func:`primitive`. The dtype and shape rule must agree with what the body computes;
    a test runs both.
    """

    def register(body: Body) -> Public:
        return _declare(
            body, primitive=False, infer=infer, work=work or rules.elements(flops), dtypes=dtypes, accuracy=accuracy,
            specials=specials, facts=facts, core=False, decomposition=body, promotes=promotes,
        )  # fmt: skip

    return register


def elementwise(
    dtypes: Sequence[DType],
    *,
    result: rules.Result = "same",
    accuracy: Accuracy = ROUNDED,
    specials: Sequence[str] = (),
    facts: Sequence[str] = (),
    flops: float = 1.0,
    core: bool = False,
    decomposition: Callable[..., Any] | None = None,
    promotes: tuple[int, ...] | None = None,
    leads: DType | None = None,
) -> Callable[[Body], Public]:
    """Declare an elementwise primitive: operands promote and broadcast, and without a decomposition its recipe is one.

    The arguments are those of :func:`primitive` and of :func:`opmux.opset.rules.elementwise`.
    """

    def register(body: Body) -> Public:
        name = body.__name__.rstrip("_")
        declared = primitive(
            infer=rules.elementwise(dtypes, result, promotes=promotes, leads=leads),
            dtypes=dtypes,
            accuracy=accuracy,
            specials=specials,
            facts=("elementwise", *facts),
            flops=flops,
            core=core,
            decomposition=decomposition or _by_recipe(name),
            promotes=promotes,
        )
        return declared(body)

    return register


def _by_recipe(name: str) -> Callable[..., Any]:
    def recipe(ox: Any, *operands: Array, **attributes: Any) -> Any:
        from .recipes.decompose import run_recipe

        return run_recipe(ox, name, operands)

    return recipe


def _over_opset(body: Callable[..., Any] | None, parameters: tuple[Parameter, ...]) -> Callable[..., Any] | None:
    """Return the function with the opset as its namespace, and a sequence of operands packed as it takes them."""
    if body is None:
        return None
    given = body
    listed = bool(parameters) and parameters[0].role is Role.ARRAYS
    others = sum(p.role is not Role.ATTRIBUTE for p in parameters) - 1

    def over_opset(*operands: Array | None, **attributes: Any) -> Any:
        from . import namespace

        if listed:
            count = len(operands) - others
            return given(namespace, operands[:count], *operands[count:], **attributes)
        return given(namespace, *operands, **attributes)

    return over_opset


def declaration_of(op: Op) -> Declaration:
    """Return an op's declaration."""
    found = op.declaration
    if not isinstance(found, Declaration):
        raise TypeError(f"{op} was not declared through opmux.opset")
    return found
