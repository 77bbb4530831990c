"""How much of a profile a backend passes on a device."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ...core.errors import ArgumentError
from ...core.op import OPS
from ...opset.declare import declaration_of
from ...opset.profiles import PROFILES
from ..cases.case import ANY, DEVICE
from ..cases.enumerate import DEVICE_DTYPES, case_ids
from .outcome import CaseResult, Outcome

#: Families of ops, easiest first.
_FAMILIES: Final = (
    "creation", "bitwise", "arithmetic", "comparison", "rounding", "exponential", "casting", "movement", "reductions",
    "contraction",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProfileVerdict:
    """How much of a profile a backend passes on a device.

    Attributes:
        backend, device, profile: which.
        claimed: whether the backend claims the profile.
        passed, of: ops, the device's own cases counting as one.
        whole: whether every case of the profile was run, not only a sample of them.
        missing: ops that do not pass, in the order in which the profile is best built; the first is what to do next.
        pairs: the same as ``op dtype``.
        waived: how many of its cases are waived: a profile with one is not passed.
    """

    backend: str
    device: str
    profile: str
    claimed: bool
    passed: int
    of: int
    whole: bool
    missing: tuple[str, ...]
    pairs: tuple[str, ...]
    waived: int

    @property
    def passed_whole(self) -> bool:
        """Whether all of the profile was run, nothing of it is missing and nothing of it was waived.

        That makes nobody conformant: what fails elsewhere stands against it, see ``Report.conformant``.
        """
        return self.whole and not self.missing and not self.waived


def require_profile(name: str, known: Iterable[str] = tuple(PROFILES)) -> None:
    """Refuse the name of a profile that does not exist, and tell the nearest ones.

    Args:
        name: as given.
        known: names of the profiles that exist.

    Raises:
        ArgumentError: there is no such profile.
    """
    names = list(dict.fromkeys(known))
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=2)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ArgumentError(f"no profile named {name!r}{hint}; there are {', '.join(names)}", profile=name)


def demanded_by(profile: str) -> frozenset[tuple[str, str]]:
    """Return the pairs of op and dtype that a profile demands, the device's own cases among them."""
    given = PROFILES[profile]
    names = {ANY, *(t.name for t in given.dtypes)}
    return given.pairs | {(DEVICE, t) for t in DEVICE_DTYPES if t in names and case_ids(DEVICE, t)}


def verdict_of(
    backend: str, device: str, profile: str, results: Iterable[CaseResult], *, claimed: bool, seed: int | None
) -> ProfileVerdict | None:
    """Return the verdict on a profile, or None where nothing of it was run.

    Args:
        backend, device, profile: which.
        results: of the backend on the device.
        claimed: whether the backend claims the profile.
        seed: with which the cases were made; None for a sample of them, which is never whole.
    """
    demanded = demanded_by(profile)
    found: dict[tuple[str, str], list[CaseResult]] = defaultdict(list)
    for c in results:
        if c.pair in demanded:
            found[c.pair].append(c)
    if not any(op != DEVICE for op, _ in found):
        return None
    failing = sorted(pair for pair in demanded if not _passes(found.get(pair, []), profile))
    order = sorted({op for op, _ in failing}, key=_build_order)
    ops = {op for op, _ in demanded}
    return ProfileVerdict(
        backend,
        device,
        profile,
        claimed,
        len(ops) - len(order),
        len(ops),
        seed is not None and all(_whole(pair, found.get(pair, []), seed) for pair in demanded),
        tuple(order),
        tuple(" ".join(pair) for pair in failing),
        sum(c.outcome is Outcome.WAIVED for cs in found.values() for c in cs),
    )


def _build_order(op: str) -> tuple[int, bool, str]:
    """Return a key that sorts ops as they are best built: what others need comes first, the whole device last."""
    if op == DEVICE:
        return len(_FAMILIES) + 1, False, op
    family = declaration_of(OPS[op]).family
    place = _FAMILIES.index(family) if family in _FAMILIES else len(_FAMILIES)
    return 0 if op == "copy" else place, "elementwise" not in OPS[op].facts, op


def _whole(pair: tuple[str, str], results: Iterable[CaseResult], seed: int) -> bool:
    """Return whether every case of a pair has been run."""
    ran = {c.id for c in results if c.outcome is not Outcome.NOT_RUN}
    return set(case_ids(*pair, seed=seed)) == ran


def _passes(results: list[CaseResult], profile: str) -> bool:
    """A pair passes with at least one pass and nothing else, but for refusals of what lies outside of the profile."""
    fine = (Outcome.PASS, Outcome.WAIVED, Outcome.UNDER_CLAIM)
    return any(c.outcome is Outcome.PASS for c in results) and all(
        c.outcome in fine or (c.outcome is Outcome.UNSUPPORTED and c.optional(profile)) for c in results
    )
