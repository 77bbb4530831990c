"""Waivers: a public TOML file of failures that are known, each with its reason and the day on which it ends."""

from __future__ import annotations

import datetime
import fnmatch
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...core.errors import ArgumentError
from .outcome import BAD, CaseResult, Outcome

_REQUIRED: Final = ("backend", "reason", "issue", "expiry")
_OPTIONAL: Final = {"op": "*", "dtype": "*", "case": "*"}


@dataclass(frozen=True, slots=True)
class Waiver:
    """One known failure.

    Attributes:
        backend: whose.
        op, dtype, case: which cases, as shell patterns; the case is the whole id.
        reason: why it is accepted.
        issue: where it is followed.
        expiry: the last day on which it holds.
    """

    backend: str
    op: str
    dtype: str
    case: str
    reason: str
    issue: str
    expiry: datetime.date

    def matches(self, result: CaseResult) -> bool:
        """Return whether it speaks of a case."""
        named = ((self.op, result.op), (self.dtype, result.dtype))
        if self.backend != result.backend or not all(fnmatch.fnmatchcase(value, pattern) for pattern, value in named):
            return False
        # An id may hold brackets, which patterns read as sets of characters.
        return self.case == result.id or fnmatch.fnmatchcase(result.id, self.case)


def read(path: Path) -> tuple[Waiver, ...]:
    """Return the waivers of a file with one ``[[waiver]]`` table each.

    Raises:
        ArgumentError: the file cannot be read, or an entry lacks a field or has an unknown one.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("waiver", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ArgumentError(f"waivers {path}: {error}", path=str(path)) from error
    return tuple(_waiver(path, i, entry) for i, entry in enumerate(entries))


def _waiver(path: Path, i: int, entry: dict[str, Any]) -> Waiver:
    missing = [name for name in _REQUIRED if not entry.get(name)]
    unknown = sorted(set(entry) - {*_REQUIRED, *_OPTIONAL})
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise ArgumentError(f"waivers {path}: entry {i} {' and '.join(faults)}", path=str(path), entry=i)
    if not isinstance(entry["expiry"], datetime.date):
        raise ArgumentError(
            f"waivers {path}: entry {i}: expiry={entry['expiry']!r} is not a date like 2027-01-31", entry=i
        )
    return Waiver(**{**_OPTIONAL, **entry})


def apply(waivers: Iterable[Waiver], results: Iterable[CaseResult], today: datetime.date) -> list[CaseResult]:
    """Return the results with waived failures turned; an expired waiver leaves the failure, and says so."""
    given = tuple(waivers)
    made = []
    for result in results:
        waiver = next((w for w in given if w.matches(result)), None) if result.outcome in BAD else None
        if waiver is None:
            made.append(result)
        elif waiver.expiry < today:
            made.append(result.turned(result.outcome, f"{result.message} (its waiver expired on {waiver.expiry})"))
        else:
            made.append(result.turned(Outcome.WAIVED, f"{waiver.reason} ({waiver.issue}): {result.message}"))
    return made
