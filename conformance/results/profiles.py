"""How much of a profile a backend passes on a device."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ...core.errors import ArgumentError
from ...core.op import find_op
from ...opset.declare import declaration_of
from ...opset.profiles import PROFILES
from ..cases.case import ANY, DEVICE, KINDS
from ..cases.enumerate import DEVICE_DTYPES, case_ids, cases
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
        passed, of: ops, the device's own cases counting as one; of a profile about some kinds of these, kinds.
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
    names = {ANY, *(t.name for t in given.dtypes)} if given.kinds != () else set()
    return given.pairs | {(DEVICE, t) for t in DEVICE_DTYPES if t in names and case_ids(DEVICE, t)}


def demands(profile: str, op: str, kind: str) -> bool:
    """Return whether a profile demands the cases of a kind, where it demands their op and dtype."""
    kinds = PROFILES[profile].kinds
    return op != DEVICE or kinds is None or kind in kinds


def ids_of(profile: str, pair: tuple[str, str], seed: int) -> frozenset[str]:
    """Return the ids of the cases of an op and dtype that a profile demands."""
    if all(demands(profile, pair[0], kind) for kind in KINDS):
        return frozenset(case_ids(*pair, seed=seed))
    return frozenset(c.id for c in cases(*pair, seed=seed) if demands(profile, c.op, c.kind))


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
        if c.pair in demanded and demands(profile, c.op, c.kind):
            found[c.pair].append(c)
    kinds = PROFILES[profile].kinds or ()
    if not any(op != DEVICE or kinds for op, _ in found):
        return None
    failing = sorted(pair for pair in demanded if not _passes(found.get(pair, []), profile))
    order = sorted({op for op, _ in failing}, key=_build_order)
    ops = {op for op, _ in demanded}
    if kinds:  # of a profile about some kinds of case each of them counts
        mine = [c for cs in found.values() for c in cs if c.op == DEVICE]
        bad = [kind for kind in kinds if not _passes([c for c in mine if c.kind == kind], profile)]
        order, ops = [op for op in order if op != DEVICE] + bad, (ops - {DEVICE}) | set(kinds)
    return ProfileVerdict(
        backend,
        device,
        profile,
        claimed,
        len(ops) - len(order),
        len(ops),
        seed is not None and all(_whole(profile, pair, found.get(pair, []), seed) for pair in demanded),
        tuple(order),
        tuple(" ".join(pair) for pair in failing),
        sum(c.outcome is Outcome.WAIVED for cs in found.values() for c in cs),
    )


def _build_order(op: str) -> tuple[int, bool, str]:
    """Return a key that sorts ops as they are best built: what others need comes first, the whole device last."""
    if op == DEVICE:
        return len(_FAMILIES) + 1, False, op
    found = find_op(op)
    family = "" if found is None else declaration_of(found).family
    place = _FAMILIES.index(family) if family in _FAMILIES else len(_FAMILIES)
    return 0 if op == "copy" else place, found is None or "elementwise" not in found.facts, op


def _whole(profile: str, pair: tuple[str, str], results: Iterable[CaseResult], seed: int) -> bool:
    """Return whether every case of a pair that a profile demands has been run."""
    ran = {c.id for c in results if c.outcome is not Outcome.NOT_RUN}
    return ids_of(profile, pair, seed) == ran


def _passes(results: list[CaseResult], profile: str) -> bool:
    """A pair passes with at least one pass and nothing else, but for refusals of what lies outside of the profile."""
    fine = (Outcome.PASS, Outcome.WAIVED, Outcome.UNDER_CLAIM)
    return any(c.outcome is Outcome.PASS for c in results) and all(
        c.outcome in fine or (c.outcome is Outcome.UNSUPPORTED and c.optional(profile)) for c in results
    )
