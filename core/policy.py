"""Policies: what the caller allows and demands, context-local and frozen."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from .errors import ArgumentError
from .kernel import Contract, Determinism

if TYPE_CHECKING:
    from .decision import Decision

Fallback = Literal["warn", "allow", "forbid"]
Claims = Literal["declared", "shown"]
_FALLBACKS: Final = ("warn", "allow", "forbid")
_CLAIMS: Final = ("declared", "shown")


@dataclass(frozen=True, eq=False)
class Policy:
    """What a call may and must do. Each policy owns the memo of its decisions.

    Attributes:
        backends: the backends that may be chosen; None allows all.
        pins: for an op's name, the backend that must run it.
        determinism: the weakest determinism class that will do.
        max_ulp: the largest error in units in the last place, or None for each op's own bound.
        claims: ``"shown"`` demands that conformance has proved a kernel before it is chosen.
        fallback: what happens when a device has no kernel: ``"warn"`` (run on cpu, say so once), ``"allow"``
            (count only), ``"forbid"`` (raise).
        fallback_budget: how many fallbacks are allowed under this policy; None for any number.
        memo: decisions by normalised call, for the dispatcher.
        hits: the same decisions by what a call has at hand: (op, signatures, attributes as given).
    """

    backends: frozenset[str] | None = None
    pins: Mapping[str, str] = field(default_factory=dict)
    determinism: Determinism = Determinism.NONE
    max_ulp: float | None = None
    claims: Claims = "declared"
    fallback: Fallback = "warn"
    fallback_budget: int | None = None
    memo: dict[Any, Decision] = field(default_factory=dict, init=False, repr=False)
    hits: dict[Any, Decision] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _LIVE.add(self)

    @property
    def contract(self) -> Contract:
        """What it demands of every result."""
        return Contract(self.determinism, self.max_ulp)


_LIVE: Final[weakref.WeakSet[Policy]] = weakref.WeakSet()
#: Decisions kept per policy; more signatures than this start the memo anew.
MEMO_LIMIT: Final = 1 << 16
_DEFAULT: Final = Policy()
_current: ContextVar[Policy] = ContextVar("opmux_policy", default=_DEFAULT)
current = _current.get


_generation = 0


def generation() -> int:
    """Return how often decisions had to be made anew; part of the key of whatever keeps decisions."""
    return _generation


def forget_decisions() -> None:
    """Swap the memo of every live policy: the registry, the claims or the records have changed."""
    global _generation  # noqa: PLW0603 - one count for the process
    _generation += 1
    for policy in tuple(_LIVE):
        object.__setattr__(policy, "memo", {})
        object.__setattr__(policy, "hits", {})


def _determinism(given: Determinism | str) -> Determinism:
    if isinstance(given, Determinism):
        return given
    try:
        return Determinism[given.upper()]
    except (KeyError, AttributeError):
        names = ", ".join(repr(d.name.lower()) for d in Determinism)
        raise ArgumentError(f"determinism={given!r} is not a class; use one of {names}", determinism=given) from None


def derive(base: Policy, **changes: Any) -> Policy:
    """Return a policy like another one with some fields changed.

    Raises:
        ArgumentError: for an unknown field or a value that is not allowed.
    """
    known = {
        "backends", "pins", "determinism", "max_ulp", "claims", "fallback", "fallback_budget",
    }  # fmt: skip
    unknown = set(changes) - known
    if unknown:
        raise ArgumentError(
            f"policy has no setting {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}", settings=unknown
        )
    if "backends" in changes and changes["backends"] is not None:
        given = changes["backends"]
        changes["backends"] = frozenset([given] if isinstance(given, str) else given)
    if "determinism" in changes:
        changes["determinism"] = _determinism(changes["determinism"])
    if "pins" in changes:
        changes["pins"] = {**base.pins, **changes["pins"]}
    for name, allowed in (("fallback", _FALLBACKS), ("claims", _CLAIMS)):
        if name in changes and changes[name] not in allowed:
            raise ArgumentError(
                f"policy: {name}={changes[name]!r} is not allowed; use one of {', '.join(map(repr, allowed))}",
                setting=name,
                value=changes[name],
            )
    return replace(base, **changes)


@contextlib.contextmanager
def policy(**changes: Any) -> Iterator[Policy]:
    """Change what calls inside the block may and must do; threads and tasks keep their own.

    Args:
        changes: fields of :class:`Policy`; ``backends`` takes a name or several, ``determinism`` a class or its name.

    Raises:
        ArgumentError: for an unknown setting or value.

    >>> import opmux as ox
    >>> with ox.policy(backends="numpy"):
    ...     y = ox.exp(ox.asarray([0.0]))
    """
    made = derive(current(), **changes)
    token = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(token)
