"""Which backends the installed distributions announce, read from their metadata; nothing is imported."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Final

from .quarantine import QuarantineError, QuarantineReason, QuarantineRecord, Stage, guarded, record, refusal

GROUP: Final = "opmux.backends"
#: The distribution that this file is part of, and the package that its backends lie in.
OWN: Final = __name__.partition(".")[0]
_MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One entry point of the group.

    Attributes:
        name: the backend's name.
        module: the dotted module to import.
        attribute: the dotted attribute of it that is the plugin; empty for the module itself.
        distribution: the distribution's name.
        version: its version.
        own: whether it is one of opmux's own backends.
        source: the distribution's metadata.
    """

    name: str
    module: str
    attribute: str
    distribution: str
    version: str
    own: bool = False
    source: metadata.Distribution | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.distribution} {self.version}".strip()

    def quarantined(self, error: QuarantineError) -> QuarantineRecord:
        """Return the record of what happened to it."""
        return record(error, name=self.name, distribution=self.distribution, version=self.version)


@dataclass(frozen=True, slots=True)
class Discovery:
    """What the metadata says: backends that may be loaded, and those that were refused on sight."""

    candidates: tuple[Candidate, ...]
    refused: tuple[QuarantineRecord, ...]


def normalised(distribution: str) -> str:
    """Return a distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def discover() -> Discovery:
    """Read every entry point of the group; a distribution with broken metadata costs itself only."""
    candidates: list[Candidate] = []
    refused: list[QuarantineRecord] = []
    seen: set[str] = set()
    for source in _announcing():
        fallback = getattr(getattr(source, "_path", None), "name", "") or "a distribution without a name"
        name, version = fallback, ""
        try:
            with guarded(Stage.DISCOVERY, f"reading the metadata of {fallback}"):
                name, version = source.metadata["Name"] or fallback, source.version or ""
                # The same distribution further down the path is shadowed by the first one, as its modules are.
                if normalised(name) in seen:
                    continue
                points = [p for p in source.entry_points if p.group == GROUP]
            seen.add(normalised(name))
        except QuarantineError as error:
            broken = refusal(Stage.DISCOVERY, QuarantineReason.BROKEN_METADATA, str(error), detail=error.detail)
            refused.append(record(broken, name=name, distribution=name, version=version))
            continue
        for point in points:
            candidate = _candidate(point, name, version, source)
            (candidates if isinstance(candidate, Candidate) else refused).append(candidate)  # type: ignore[arg-type]
    return Discovery(tuple(candidates), tuple(refused))


def _announcing() -> Iterator[metadata.Distribution]:
    """Yield the distributions whose entry points mention the group; the others' are never parsed."""
    for source in metadata.distributions():
        try:
            text = source.read_text("entry_points.txt")
        except (OSError, ValueError):  # unreadable, or not text: whose it is cannot be said, so it is not ours
            continue
        if text and GROUP in text:
            yield source


def _candidate(
    point: metadata.EntryPoint, distribution: str, version: str, source: metadata.Distribution
) -> Candidate | QuarantineRecord:
    module, _, attribute = (part.strip() for part in point.value.partition("[")[0].partition(":"))
    if not _MODULE.fullmatch(module) or (attribute and not _MODULE.fullmatch(attribute)):
        message = f"entry point {point.name} = {point.value!r} of {distribution} is not 'package.module:attribute'"
        error = refusal(Stage.DISCOVERY, QuarantineReason.BROKEN_METADATA, message)
        return record(error, name=point.name, distribution=distribution, version=version)
    own = normalised(distribution) == OWN and module.startswith(f"{OWN}.")
    return Candidate(point.name, module, attribute, distribution, version, own, source)


def without_duplicates(candidates: Iterable[Candidate]) -> Discovery:
    """Refuse every backend whose name somebody else claims too: the order of installation must never decide.

    The names of opmux's own backends are reserved for it; between others, all claimants are refused.
    """
    by_name: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_name[candidate.name].append(candidate)
    kept: list[Candidate] = []
    refused: list[QuarantineRecord] = []
    for name, claimants in by_name.items():
        own = [c for c in claimants if c.own]
        if len(claimants) == 1:
            kept += claimants
            continue
        kept += own[:1]
        if own:
            message = f"the name {name!r} belongs to {own[0].label}, which ships with opmux"
            reason = QuarantineReason.RESERVED_NAME
        else:
            message = f"the name {name!r} is claimed by {' and by '.join(sorted(c.label for c in claimants))}"
            reason = QuarantineReason.DUPLICATE_NAME
        error = refusal(Stage.DISCOVERY, reason, message)
        refused += [c.quarantined(error) for c in claimants if c not in own]
    return Discovery(tuple(kept), tuple(refused))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which backends the user allows.

    Attributes:
        only: the names in ``OPMUX_BACKENDS``; None where it is not set, which allows all.
        disabled: the names in ``OPMUX_DISABLE``.
    """

    only: frozenset[str] | None = None
    disabled: frozenset[str] = frozenset()

    @classmethod
    def from_environment(cls) -> Selection:
        """Return what the environment says now."""
        only = _names(os.environ.get("OPMUX_BACKENDS", ""))
        return cls(only or None, _names(os.environ.get("OPMUX_DISABLE", "")))

    def why_not(self, name: str) -> str:
        """Return why this backend is not to be loaded; empty where it is."""
        if name in self.disabled:
            return f"OPMUX_DISABLE names {name}"
        if self.only is not None and name not in self.only:
            return f"OPMUX_BACKENDS does not name {name}"
        return ""

    def unknown(self, installed: Collection[str]) -> Iterator[QuarantineRecord]:
        """Yield a record for each name in ``OPMUX_BACKENDS`` that nobody provides: a misspelt one would be silent."""
        for name in sorted((self.only or frozenset()) - set(installed)):
            message = f"OPMUX_BACKENDS names {name!r}, which no installed distribution provides; installed: "
            error = refusal(
                Stage.DISCOVERY, QuarantineReason.UNKNOWN_NAME, message + (", ".join(sorted(installed)) or "none")
            )
            yield record(error, name=name)

    def idle(self, installed: Collection[str]) -> tuple[str, ...]:
        """Return what to say of names in ``OPMUX_DISABLE`` that nobody provides: they disable nothing."""
        there = ", ".join(sorted(installed)) or "none"
        return tuple(
            f"OPMUX_DISABLE names {name!r}, which no installed distribution provides; installed: {there}"
            for name in sorted(self.disabled - set(installed))
        )


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())
