"""Profiles: the (op, dtype) pairs that a device passes whole or not at all.

Each core profile is about thirty primitives on one dtype and the few that its decompositions go through; a device
passes at least one. None demands float64 or complex numbers but its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..core.dtypes import COMPLEXES, FLOATS, INTEGERS, STORAGE, DType, dtype
from ..core.op import COLLECTIVES, OPS
from . import namespace  # noqa: F401 - every op has to be declared before profiles are derived from them
from .declare import declaration_of

Pairs = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of (op, dtype) pairs; nothing else is called a profile.

    Attributes:
        name: e.g. ``"core-f32"``.
        dtypes: the dtypes that take part, the profile's own first.
        pairs: op and dtype of its leading operand, by name; of ``cast`` and the ops that create, every dtype is both
            a source and a target.
        kinds: the kinds of case of the device itself that it demands; None for all of them.
    """

    name: str
    dtypes: tuple[DType, ...]
    pairs: Pairs
    kinds: tuple[str, ...] | None = None

    @property
    def ops(self) -> tuple[str, ...]:
        """Names of the ops that it demands, sorted."""
        return tuple(sorted({op for op, _ in self.pairs}))


#: The dtypes that each core profile speaks of: its own, then those of indices, bit patterns and conditions. The recipes
#: of the 16-bit floats widen to float32.
_DTYPES: Final = {
    "core-f32": ("float32", "int32", "bool"),
    "core-f16": ("float16", "float32", "int16", "int32", "bool"),
    "core-bf16": ("bfloat16", "float32", "int16", "int32", "bool"),
    "core-int8": ("int8", "int32", "bool"),
    "core-f64": ("float64", "int64", "int32", "bool"),
}

#: Ops whose results or operands have a dtype of their own, whichever the profile's are.
_ALWAYS: Final = {"random_bits": ("uint32",)}

#: The dtypes of the profile of collectives.
_OVER_RANKS: Final = ("float32", "int32", "bool")

#: Core ops that recipes make of others on these dtypes, so that no device has to bring them there.
_BY_RECIPE: Final = {"floor_divide": FLOATS, "round": INTEGERS}


def core_ops() -> tuple[str, ...]:
    """Return the names of the core ops, sorted."""
    return tuple(sorted(op.name for op in OPS if declaration_of(op).core))


def _pairs(dtypes: Iterable[DType]) -> Pairs:
    found: set[tuple[str, str]] = set()
    for name in core_ops():
        allowed = declaration_of(OPS[name]).dtypes
        found |= {(name, t) for t in _ALWAYS.get(name, ())}
        found |= {(name, t.name) for t in dtypes if t in allowed and t not in _BY_RECIPE.get(name, ())}
    return frozenset(found)


def _core(name: str) -> Profile:
    dtypes = tuple(dtype(t) for t in _DTYPES[name])
    return Profile(name, dtypes, _pairs(dtypes))


def _complex() -> Profile:
    parts = {(op, t.name) for op in ("real", "imag", "copy", "where") for t in COMPLEXES}
    parts |= {("complex", t) for t in ("float32", "float64")}
    return Profile("complex", COMPLEXES, frozenset(parts))


def _full() -> Profile:
    """Return every primitive on every dtype that computes."""
    dtypes = {t for op in OPS for t in declaration_of(op).dtypes if t.kind != STORAGE}
    pairs = {(op.name, t.name) for op in OPS if op.primitive for t in declaration_of(op).dtypes if t in dtypes}
    return Profile("full", tuple(sorted(dtypes, key=lambda t: t.name)), frozenset(pairs))


def _collectives() -> Profile:
    """Return every collective on a float, an integer and truth values: the rest hangs on what a device has of ops."""
    dtypes = tuple(dtype(t) for t in _OVER_RANKS)
    pairs = {(op.name, t.name) for op in COLLECTIVES for t in dtypes if t in declaration_of(op).dtypes}
    return Profile("collectives", dtypes, frozenset(pairs), kinds=())


#: Queues, events and their order; what goes to other devices and other libraries.
_ASYNC: Final = Profile("async", (), frozenset(), kinds=("queues", "interop"))

PROFILES: Final[dict[str, Profile]] = {
    p.name: p for p in (*map(_core, _DTYPES), _complex(), _full(), _collectives(), _ASYNC)
}
