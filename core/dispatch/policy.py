"""Policies: what the caller allows and demands, context-local and frozen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from ..errors import ArgumentError, ArgumentTypeError
from ..kernel import Contract, Determinism
from ..op import all_ops, find_op
from .tables import Slot, slot_of

Fallback = Literal["warn", "allow", "forbid"]
Claims = Literal["declared", "shown"]
_FALLBACKS: Final = ("warn", "allow", "forbid")
_CLAIMS: Final = ("declared", "shown")
_KNOWN: Final = ("backends", "pins", "determinism", "max_ulp", "claims", "fallback", "fallback_budget")


@dataclass(frozen=True, slots=True)
class Settings:
    """The part of a policy on which decisions depend; equal settings share their decisions.

    Attributes:
        backends: the backends that may be chosen; None allows all.
        pins: pairs (op's name, backend that must run it), sorted.
        determinism: the weakest determinism class that will do.
        max_ulp: the largest error in units in the last place, or None for each op's own bound.
        claims: ``"shown"`` demands that conformance has proved a kernel before it is chosen.
        fallback: what happens when a device has no kernel: ``"warn"`` (run on cpu, say so once), ``"allow"``
            (count only), ``"forbid"`` (raise).
    """

    backends: frozenset[str] | None = None
    pins: tuple[tuple[str, str], ...] = ()
    determinism: Determinism = Determinism.NONE
    max_ulp: float | None = None
    claims: Claims = "declared"
    fallback: Fallback = "warn"

    @property
    def contract(self) -> Contract:
        """What is demanded of every result."""
        return Contract(self.determinism, self.max_ulp)

    def pin(self, op: str) -> str | None:
        """Return the backend that must run an op, or None."""
        return next((backend for name, backend in self.pins if name == op), None)


@dataclass(frozen=True, eq=False)
class Policy:
    """What a call may and must do.

    Attributes:
        settings: what decisions depend on.
        fallback_budget: how many fallbacks are allowed under this policy; None for any number.
        slot: where the decisions under these settings are kept.
    """

    settings: Settings = Settings()
    fallback_budget: int | None = None
    slot: Slot[Settings] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slot", slot_of(self.settings))

    @property
    def pins(self) -> Mapping[str, str]:
        """For an op's name, the backend that must run it."""
        return MappingProxyType(dict(self.settings.pins))

    @property
    def fallback(self) -> Fallback:
        """What happens when a device has no kernel."""
        return self.settings.fallback


_DEFAULT: Final = Policy()
_current: ContextVar[Policy] = ContextVar("opmux_policy", default=_DEFAULT)
current = _current.get


def derive(base: Policy, **changes: Any) -> Policy:
    """Return a policy like another one with some settings changed.

    Raises:
        ArgumentError, ArgumentTypeError: for an unknown setting or a value that is not allowed.
    """
    unknown = set(changes) - set(_KNOWN)
    if unknown:
        raise ArgumentError(
            f"policy has no setting {', '.join(sorted(unknown))}; it has {', '.join(_KNOWN)}", settings=unknown
        )
    old = base.settings
    settings = Settings(
        _backends(changes["backends"]) if "backends" in changes else old.backends,
        _pins(old.pins, changes.get("pins", {})),
        _determinism(changes.get("determinism", old.determinism)),
        _max_ulp(changes.get("max_ulp", old.max_ulp)),
        _one_of("claims", changes.get("claims", old.claims), _CLAIMS),
        _one_of("fallback", changes.get("fallback", old.fallback), _FALLBACKS),
    )
    return Policy(settings, _budget(changes.get("fallback_budget", base.fallback_budget)))


def _backends(given: Any) -> frozenset[str] | None:
    if given is None:
        return None
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(n, str) for n in names):
        raise ArgumentTypeError(f"policy: backends={given!r} is neither a name, nor several, nor None", backends=given)
    return frozenset(names)


def _pins(old: tuple[tuple[str, str], ...], given: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(given, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in given.items()):
        raise ArgumentTypeError(f"policy: pins={given!r} is not a mapping from op names to backends", pins=given)
    unknown = sorted(name for name in given if find_op(name) is None)
    if unknown:
        import difflib

        close = difflib.get_close_matches(unknown[0], [op.name for op in all_ops()], 1)
        hint = f"did you mean {close[0]}?" if close else "`opmux ops` lists them"
        raise ArgumentError(f"policy: pins name no op {', '.join(unknown)}; {hint}", pins=unknown)
    return tuple(sorted({**dict(old), **given}.items()))


def _determinism(given: Any) -> Determinism:
    if isinstance(given, Determinism):
        return given
    try:
        return Determinism[given.upper()]
    except (KeyError, AttributeError):
        names = ", ".join(repr(d.name.lower()) for d in Determinism)
        raise ArgumentError(f"determinism={given!r} is not a class; use one of {names}", determinism=given) from None


def _max_ulp(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
        raise ArgumentError(f"policy: max_ulp={given!r} is neither a positive number nor None", max_ulp=given)
    return float(given)


def _budget(given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ArgumentError(f"policy: fallback_budget={given!r} is neither a count nor None", fallback_budget=given)
    return given


def _one_of(name: str, given: Any, allowed: tuple[str, ...]) -> Any:
    if given not in allowed:
        raise ArgumentError(
            f"policy: {name}={given!r} is not allowed; use one of {', '.join(map(repr, allowed))}",
            setting=name,
            value=given,
        )
    return given


@contextlib.contextmanager
def policy(**changes: Any) -> Iterator[Policy]:
    """Change what calls inside the block may and must do; threads and tasks keep their own.

    Args:
        changes: ``backends`` (a name or several), ``pins`` (op to backend), ``determinism`` (a class or its name),
            ``max_ulp``, ``claims``, ``fallback``, ``fallback_budget``; see :class:`Settings` and :class:`Policy`.

    Raises:
        ArgumentError, ArgumentTypeError: for an unknown setting or a value that is not allowed.

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
