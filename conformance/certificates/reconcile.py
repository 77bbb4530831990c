"""Executed cases against the whole list of the suite: a certificate is complete where nothing stands against it.

The list is enumerated from the opset again, not taken from the run: what a run left out, it cannot leave out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

from ..cases.enumerate import all_pairs, case_ids
from ..results.outcome import Outcome
from ..running.selection import Shard
from .model import Backend, Obstacle, Run

UNIDENTIFIED: Final = "unidentified"


class Missing(StrEnum):
    """Why a certificate is not complete."""

    QUICK = "quick"  # a sample of the cases, with fewer values
    PARTIAL = "partial"  # some ops, dtypes or cases were chosen
    STOPPED = "stopped"  # ended at the first failure, or when its time was over
    SHARD = "shard"  # one part of a run, to be merged
    NOT_RUN = "not-run"  # cases that could not be run
    ABSENT = "absent"  # cases of the suite without a result
    DOUBLED = "doubled"  # cases with more than one result
    UNKNOWN = "unknown"  # cases that the suite does not have
    UNPROVEN = "unproven"  # passes without an assertion, or with an error that is no number
    IN_PROCESS = "in-process"  # not in worker processes of the suite, or not by the command
    UNIDENTIFIED = "unidentified"  # an implementation without files
    CHANGED = "changed"  # files of the implementation or of the suite that changed during the run


#: What merging the other shards brings.
MENDED_BY_MERGING: Final = frozenset({Missing.SHARD, Missing.ABSENT})


def all_ids(seed: int) -> dict[str, tuple[str, ...]]:
    """Return the id of every case of the suite, by ``op-dtype``."""
    return {"-".join(pair): case_ids(*pair, seed=seed) for pair in all_pairs()}


def reconcile(
    cases: Mapping[str, Mapping[str, str]], run: Run, backend: Backend, doubled: Iterable[str] = ()
) -> tuple[Obstacle, ...]:
    """Return what stands against a complete certificate, as far as its own parts say.

    Args:
        cases: outcomes by ``op-dtype`` and the rest of the id.
        run: how it was made.
        backend: whose.
        doubled: ids that came more than once, which *cases* cannot hold.
    """
    expected = {case for ids in all_ids(run.seed).values() for case in ids}
    found = {f"{pair}-{label}": outcome for pair, rest in cases.items() for label, outcome in rest.items()}
    flags = _flags(run, backend)
    not_run = sorted(case for case, outcome in found.items() if outcome == Outcome.NOT_RUN)
    lists = (
        (Missing.NOT_RUN, not_run),
        (Missing.ABSENT, sorted(expected - set(found))),
        (Missing.DOUBLED, sorted(set(doubled))),
        (Missing.UNKNOWN, sorted(set(found) - expected)),
    )
    return (*flags, *(obstacle(reason, ids) for reason, ids in lists if ids))


def obstacle(reason: Missing, ids: list[str]) -> Obstacle:
    """Return an obstacle that names the first few cases of a list."""
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return Obstacle(str(reason), f"{len(ids)} cases: {', '.join(ids[:3])}{more}")


def _flags(run: Run, backend: Backend) -> Iterator[Obstacle]:
    table = (
        (run.quick, Missing.QUICK, "a quick run takes a sample of the cases"),
        (run.partial, Missing.PARTIAL, "ops, dtypes or cases were chosen"),
        (run.stopped, Missing.STOPPED, "it ended at its first failure, or when its time was over"),
        (not run.isolated, Missing.IN_PROCESS, "it was not made by the command in worker processes of the suite"),
        (backend.implementation == UNIDENTIFIED, Missing.UNIDENTIFIED, "the implementation has no files to know it by"),
    )
    for holds, reason, detail in table:
        if holds:
            yield Obstacle(str(reason), detail)
    if run.shards and (lacking := lacking_shards(run.shards)):
        yield Obstacle(str(Missing.SHARD), f"{', '.join(run.shards)} only; {', '.join(lacking)} are to be merged")


def lacking_shards(shards: Iterable[str]) -> list[str]:
    """Return the shards that are missing beside some.

    >>> lacking_shards(["1/3"])
    ['2/3', '3/3']
    """
    given = [Shard.parse(s) for s in shards]
    counts = {s.count for s in given}
    have = set(map(str, given))
    return [str(Shard(i, n)) for n in sorted(counts) for i in range(1, n + 1) if str(Shard(i, n)) not in have]


def summary_of(obstacles: Iterable[Obstacle]) -> str:
    """Return in a few words why a certificate is not complete."""
    return ", ".join(dict.fromkeys(o.reason for o in obstacles))
