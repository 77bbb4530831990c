"""Reading a description's tables: every fault is found, and told with its dotted key and what is allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, TypeVar, overload

from ...plugin import ArgumentError, dtypes

Dataflow = Literal["os", "ws", "is"]
Topology = Literal["ring", "torus", "mesh", "switch", "fully_connected"]

T = TypeVar("T")

#: More faults than a person reads at once.
_MOST: Final = 12
#: What is allowed under the name of a section.
A_TABLE: Final = "a table"
_REQUIRED: Final = object()
_DTYPES: Final = frozenset(dtypes.BY_NAME)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to print very long ones
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: str, known: Collection[str]) -> str:
    """Return a hint at the known name that is nearest, or all of them.

    >>> nearest("colums", ["rows", "columns"])
    "did you mean 'columns'?"
    """
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(sorted(known)) or 'none'}"


class Wanted(NamedTuple):
    """What was asked for under a key: what is allowed, whether it must be there, and the default where it need not."""

    allowed: str
    required: bool
    default: object


class Reader:
    """One table of a description; as a context manager, the whole of it, which raises what was found at the end.

    Each method asks for one key and notes a fault where it is missing or wrong; what it then returns only lets reading
    go on. Keys that nobody asked for are faults as well. ``wanted`` holds every key that was asked for.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        where: str,
        prefix: str = "",
        faults: dict[str, str] | None = None,
        wanted: dict[str, Wanted] | None = None,
    ) -> None:
        self.where = where
        self.faults: dict[str, str] = {} if faults is None else faults
        self.wanted: dict[str, Wanted] = {} if wanted is None else wanted
        self._given = given
        self._prefix = prefix
        self._asked: set[str] = set()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.finish()

    def finish(self) -> None:
        """Raise what was found.

        Raises:
            ArgumentError: naming every key at fault; ``key`` is the first, ``faults`` holds all.
        """
        self._close()
        if not self.faults:
            return
        told = [f"{key} {fault}" for key, fault in self.faults.items()]
        more = f"; and {len(told) - _MOST} more" if len(told) > _MOST else ""
        raise ArgumentError(
            f"device description {self.where}: {'; '.join(told[:_MOST])}{more}",
            where=self.where,
            key=next(iter(self.faults)),
            faults=dict(self.faults),
        )

    def fault(self, key: str, text: str) -> None:
        """Note a fault of a key of this table; the first one counts."""
        self.faults.setdefault(f"{self._prefix}{key}", text)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a non-empty string."""
        value = self._get(key, "a non-empty string", _REQUIRED if default is None else default)
        if isinstance(value, str) and value.strip():
            return value
        self.fault(key, f"is {_shown(value)}; it must be a non-empty string")
        return "?"

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._get(key, "true or false", default)
        if not isinstance(value, bool):
            self.fault(key, f"is {_shown(value)}; it must be true or false")
            return default
        return value

    @overload
    def number(self, key: str, low: float, high: float) -> float: ...
    @overload
    def number(self, key: str, low: float, high: float, default: float) -> float: ...
    @overload
    def number(self, key: str, low: float, high: float, default: None) -> float | None: ...
    def number(self, key: str, low: float, high: float, default: Any = _REQUIRED) -> float | None:
        """Return a finite number within a range."""
        value = self._get(key, f"a number from {low:g} to {high:g}", default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fault(key, f"is {_shown(value)}; it must be a number from {low:g} to {high:g}")
        elif not low <= value <= high:  # also NaN
            self.fault(key, f"is {_shown(value)}; it must be from {low:g} to {high:g}")
        else:
            return float(value)
        return low

    def integer(self, key: str, low: int, high: int, default: Any = _REQUIRED) -> int:
        """Return a whole number within a range; ``2e9`` counts as one."""
        value = self._get(key, f"a whole number from {low} to {high}", default)
        whole = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value) and value == int(value))
        if isinstance(value, bool) or not whole:
            self.fault(key, f"is {_shown(value)}; it must be a whole number from {low} to {high}")
        elif not low <= value <= high:
            self.fault(key, f"is {_shown(value)}; it must be from {low} to {high}")
        else:
            return int(value)
        return low

    def choice(self, key: str, allowed: Collection[T], default: Any = _REQUIRED) -> T:
        """Return one of some words."""
        first = next(iter(allowed))
        value = self._get(key, f"one of {', '.join(map(str, allowed))}", default)
        if isinstance(value, str) and value in allowed:
            return value  # type: ignore[return-value]  # it is one of the allowed words
        self.fault(key, f"is {_shown(value)}; it must be one of {', '.join(map(str, allowed))}")
        return first

    def names(self, key: str, allowed: Collection[str], default: Any = _REQUIRED) -> tuple[str, ...]:
        """Return a list of distinct words from a set."""
        value = self._get(key, "a list of strings", default)
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            self.fault(key, f"is {_shown(value)}; it must be a list of strings")
            return ()
        for word in value:
            if word not in allowed:
                self.fault(key, f"has {word!r}; {nearest(word, allowed)}")
        if len(set(value)) < len(value):
            self.fault(key, f"names {next(v for v in value if value.count(v) > 1)!r} twice")
        return tuple(value)

    def dtype(self, key: str) -> str:
        """Return a dtype's name."""
        value = self._get(key, "a dtype's name", _REQUIRED)
        if not isinstance(value, str) or value not in _DTYPES:
            hint = nearest(value, _DTYPES) if isinstance(value, str) else "it must be a dtype's name"
            self.fault(key, f"is {_shown(value)}; {hint}")
        return str(value)

    def dtypes(self, key: str) -> tuple[str, ...]:
        """Return a list of dtype names."""
        found = self.names(key, _DTYPES)
        if not found:
            self.fault(key, "is empty; at least one dtype is needed")
        return found

    def numbers(
        self,
        key: str,
        low: float,
        high: float,
        *,
        defaults: Mapping[str, float] | None = None,
        known: Collection[str] = _DTYPES,
    ) -> Mapping[str, float]:
        """Return a table of numbers by dtype, or by other known words; what *defaults* has may be left out."""

        def read(table: Reader) -> Mapping[str, float]:
            usual: Mapping[str, Any] = defaults or {}
            given = {k: table.number(k, low, high, usual.get(k, _REQUIRED)) for k in table.keys(known)}
            return {**usual, **given}

        if defaults is not None:
            return self.optional(key, read) or defaults
        return self._filled(key, self.required(key, read))

    def tables(self, key: str, build: Callable[[Reader], T]) -> Mapping[str, T]:
        """Return a table of tables by dtype."""

        def read(table: Reader) -> Mapping[str, T]:
            return {k: table.required(k, build) for k in table.keys(_DTYPES)}

        return self._filled(key, self.required(key, read))

    def keys(self, known: Collection[str]) -> list[str]:
        """Return the keys of this table that are known words; others are faults."""
        for key in self._given:
            if key not in known:
                self._asked.add(key)
                self.fault(key, f"is not known; {nearest(key, known)}")
        return [key for key in self._given if key in known]

    def required(self, key: str, build: Callable[[Reader], T]) -> T:
        """Return what a table describes."""
        value = self._get(key, A_TABLE, _REQUIRED)
        return self._built(key, value, build)

    def optional(self, key: str, build: Callable[[Reader], T]) -> T | None:
        """Return what a table describes, or None where it is absent."""
        value = self._get(key, A_TABLE, None)
        return None if value is None else self._built(key, value, build)

    def _built(self, key: str, value: object, build: Callable[[Reader], T]) -> T:
        faults = self.faults
        if not isinstance(value, dict):
            self.fault(key, f"is {_shown(value)}; it must be a table")
            value, faults = {}, {}  # what is missing inside of what is missing need not be told
        inner = Reader(value, self.where, f"{self._prefix}{key}.", faults, self.wanted)
        made = build(inner)
        inner._close()
        return made

    def _filled(self, key: str, found: Mapping[str, T]) -> Mapping[str, T]:
        if not found:
            self.fault(key, "is empty; at least one dtype is needed")
        return found

    def _get(self, key: str, wanted: str, default: Any) -> Any:
        self._asked.add(key)
        self.wanted[f"{self._prefix}{key}"] = Wanted(wanted, default is _REQUIRED, default)
        if key in self._given:
            return self._given[key]
        if default is _REQUIRED:
            self.fault(key, f"is missing; it must be {wanted}")
            return None
        return default

    def _close(self) -> None:
        for key in self._given:
            if key not in self._asked:
                self.fault(key, f"is not known; {nearest(key, self._asked)}")
