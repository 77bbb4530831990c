"""Waivers: a public TOML file of failures that are known, each with its reason and the day on which it ends.

A waived case is no failure, and no proof either: a profile with a waived case in it is not passed. A waiver that has
expired, or that nothing needs any more, fails the run, so that the file never outlives what it is about.
"""

from __future__ import annotations

import datetime
import difflib
import fnmatch
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ...core.errors import ArgumentError
from ...core.plugins.versions import in_range, parse_range
from .outcome import BAD, CaseResult, Outcome

_REQUIRED: Final = ("backend", "reason", "issue", "expiry")
_OPTIONAL: Final = {"versions": ">=0", "device": "*", "op": "*", "dtype": "*", "case": "*"}


@dataclass(frozen=True, slots=True)
class Waiver:
    """One known failure.

    Attributes:
        backend: whose.
        versions: of which versions of it, e.g. ``">=1.2,<2"``.
        device: on which devices, as a shell pattern.
        op, dtype, case: which cases, as shell patterns; the case is the whole id.
        reason: why it is accepted.
        issue: where it is followed.
        expiry: the last day on which it holds.
    """

    backend: str
    versions: str
    device: str
    op: str
    dtype: str
    case: str
    reason: str
    issue: str
    expiry: datetime.date

    def matches(self, result: CaseResult, versions: Mapping[str, str]) -> bool:
        """Return whether it speaks of a case, given the versions of the backends."""
        named = ((self.device, result.device), (self.op, result.op), (self.dtype, result.dtype))
        if self.backend != result.backend or not all(fnmatch.fnmatchcase(value, pattern) for pattern, value in named):
            return False
        # An id may hold brackets, which patterns read as sets of characters.
        if self.case != result.id and not fnmatch.fnmatchcase(result.id, self.case):
            return False
        return self.versions == _OPTIONAL["versions"] or _version_in(versions.get(result.backend, "0"), self.versions)

    def to_dict(self) -> dict[str, str]:
        """Return plain data, ready for JSON."""
        return {name: str(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        return f"{self.backend} {self.case if self.case != '*' else f'{self.op} {self.dtype}'} ({self.issue})"


def _version_in(version: str, span: str) -> bool:
    """Return whether a version lies in a range; of a version such as 1.2.dev3 the leading numbers count."""
    leading = re.match(r"\d+(\.\d+)*", version)
    return leading is not None and in_range(leading[0], span)


@dataclass(frozen=True, slots=True)
class Applied:
    """What waivers did to results.

    Attributes:
        results: with waived failures turned.
        used: the waivers that turned something.
        faults: waivers that have expired or that nothing needs, in words; each fails the run.
    """

    results: tuple[CaseResult, ...]
    used: tuple[Waiver, ...]
    faults: tuple[str, ...]


def read(path: Path) -> tuple[Waiver, ...]:
    """Return the waivers of a file with one ``[[waiver]]`` table each.

    Raises:
        ArgumentError: the file cannot be read, or an entry lacks a field or has an unknown one.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ArgumentError(f"waivers {path}: {error}", path=str(path)) from error
    entries = document.pop("waiver", [])
    if document or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        # A misspelt table would waive nothing, and nobody would know.
        found = f"has {', '.join(map(repr, document))}" if document else "gives 'waiver' as something else"
        raise ArgumentError(
            f"waivers {path}: it holds nothing but tables headed [[waiver]], and {found}", path=str(path)
        )
    return tuple(_waiver(path, i, entry) for i, entry in enumerate(entries))


def _unknown(names: Iterable[str]) -> str:
    known = (*_REQUIRED, *_OPTIONAL)
    told = []
    for name in names:
        near = difflib.get_close_matches(name, known, n=1)
        told.append(f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name))
    return f"has unknown {', '.join(told)}"


def _waiver(path: Path, i: int, entry: dict[str, Any]) -> Waiver:
    missing = [name for name in _REQUIRED if not entry.get(name)]
    unknown = sorted(set(entry) - {*_REQUIRED, *_OPTIONAL})
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [_unknown(unknown)] * bool(unknown)
        keys = f"the keys are {', '.join(_REQUIRED)}, which all have to be there, and {', '.join(_OPTIONAL)}"
        raise ArgumentError(f"waivers {path}: entry {i} {' and '.join(faults)}; {keys}", path=str(path), entry=i)
    odd = next((name for name, value in entry.items() if name != "expiry" and not isinstance(value, str)), None)
    if odd is not None:
        raise ArgumentError(f"waivers {path}: entry {i}: {odd}={entry[odd]!r} is not a string", entry=i)
    if not isinstance(entry["expiry"], datetime.date):
        raise ArgumentError(
            f"waivers {path}: entry {i}: expiry={entry['expiry']!r} is not a date like 2027-01-31", entry=i
        )
    made = Waiver(**{**_OPTIONAL, **entry})
    try:
        parse_range(made.versions)
    except ValueError as error:
        raise ArgumentError(f"waivers {path}: entry {i}: versions: {error}", entry=i) from error
    return made


def apply(
    waivers: Iterable[Waiver],
    results: Iterable[CaseResult],
    today: datetime.date,
    *,
    versions: Mapping[str, str],
    partial: bool,
) -> Applied:
    """Turn the failures that are waived.

    Args:
        waivers: what is known.
        results: what was found.
        today: decides which have expired.
        versions: of the backends, by name.
        partial: whether cases were left out: then only a waiver of one case that was run can be called unneeded.
    """
    given, made = tuple(waivers), []
    used: dict[Waiver, None] = {}
    met: set[Waiver] = set()
    for result in results:
        mine = [w for w in given if w.matches(result, versions)]
        met.update(mine)
        valid = next((w for w in mine if w.expiry >= today), None)
        if result.outcome not in BAD or not mine:
            made.append(result)
        elif valid is None:
            made.append(result.turned(result.outcome, f"(its waiver expired on {mine[0].expiry}) {result.message}"))
        else:
            used[valid] = None
            made.append(result.turned(Outcome.WAIVED, f"{valid.reason} ({valid.issue}): {result.message}"))
    faults = []
    for w in given:
        if w.expiry < today:
            faults.append(f"the waiver of {w} expired on {w.expiry}: mend the fault, or agree on another day")
        elif w not in used and (not partial or (w in met and "*" not in w.case)):
            faults.append(f"the waiver of {w} matches no failure: delete it")
    return Applied(tuple(made), tuple(used), tuple(faults))
