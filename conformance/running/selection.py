"""What a run is asked for, and the cases that follow from it."""

from __future__ import annotations

import difflib
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ...core.dtypes import dtype
from ...core.errors import ArgumentError
from ..cases.case import ANY, DEVICE, REGIONS
from ..cases.enumerate import all_pairs, case_ids, ops
from ..results.profiles import demanded_by, ids_of, require_profile
from .isolation import WORKER

#: Seconds that one case may take, unless another limit is given; and the least limit, which a worker's answer takes.
TIME_LIMIT: Final = 60.0
LEAST_LIMIT: Final = 0.1


@dataclass(frozen=True)
class Shard:
    """One part of a run that several machines share.

    Attributes:
        index: which, from 1.
        count: of how many.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that a text such as ``"2/4"`` names.

        Raises:
            ArgumentError: for anything else.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise ArgumentError(f"shard {text!r}: give I/N with 1 <= I <= N, such as 2/4", shard=text)
        return cls(int(index), int(count))

    def holds(self, case: str) -> bool:
        """Return whether a case belongs to it: by a hash of the id, so that a shard is the same wherever it runs."""
        return zlib.crc32(case.encode()) % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Selection:
    """What to run.

    Attributes:
        backends: names; none for every usable one.
        profile: only what this profile demands.
        ops, dtypes: names; none for all. ``"device"`` is the op of the cases that are about a whole device.
        quick: a sample of the cases, which is not sufficient for a claim.
        cases: exact ids; none for all.
        waivers: a file of known failures.
        isolate: run in worker processes; backends registered in this process alone can only be run here.
        limit: seconds that one case may take before its worker is ended.
        workers: processes; None for one per core, at most four.
        exit_first: stop at the first failure.
        command: starts a worker, where it is not to be the suite's own.
        seed: of what the cases draw at random.
        shard: only this part, by a hash of the case id.
        resume: go on with the same run where it was interrupted.
        strict_claims: an under-claim is a failure.
        performance: seconds that each backend's performance may be measured for; 0 measures none.
        within: seconds after which the run ends with what it has found.
        lenient: whether ids of cases that are not among those selected are left out instead of being an error.
    """

    backends: tuple[str, ...] = ()
    profile: str | None = None
    ops: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    quick: bool = False
    cases: tuple[str, ...] = ()
    waivers: Path | None = None
    isolate: bool = True
    limit: float = TIME_LIMIT
    workers: int | None = None
    exit_first: bool = False
    command: tuple[str, ...] = field(default=WORKER)
    seed: int = 0
    shard: Shard | None = None
    resume: bool = False
    strict_claims: bool = False
    performance: float = 0.0
    within: float = math.inf
    lenient: bool = False

    def __post_init__(self) -> None:
        # Written so that NaN is refused too.
        if not LEAST_LIMIT <= self.limit < math.inf:
            raise ArgumentError(
                f"a case cannot have {self.limit:g} seconds: the timeout is {LEAST_LIMIT:g} or more, and "
                f"{TIME_LIMIT:g} where none is given",
                timeout=self.limit,
            )
        if not self.within > 0:
            raise ArgumentError(
                f"a run cannot end within {self.within:g} seconds: it is more than 0; none is given for no end",
                within=self.within,
            )
        for what, given, least in (("workers", self.workers, 1), ("seed", self.seed, 0)):
            if given is not None and given < least:
                raise ArgumentError(f"{what} is {given}: it is a whole number, {least} or more", **{what: given})

    @property
    def partial(self) -> bool:
        """Whether some of the suite is left out."""
        return bool(self.profile or self.ops or self.dtypes or self.cases or self.shard)


def chosen_pairs(selection: Selection) -> list[tuple[str, str]]:
    """Return the pairs of op and dtype that a selection names.

    Raises:
        ArgumentError: for an op or a profile that does not exist.
        DTypeError: for a dtype that does not exist.
    """
    for name in selection.ops:
        if name not in {DEVICE, REGIONS, *(op.name for op in ops())}:
            near = _near(name, (DEVICE, REGIONS, *(op.name for op in ops())))
            raise ArgumentError(f"no op named {name!r}{near}; `opmux ops` lists them", op=name)
    types = {name if name == ANY else dtype(name).name for name in selection.dtypes}
    if selection.profile is not None:
        require_profile(selection.profile)
    demanded = None if selection.profile is None else demanded_by(selection.profile)
    return [
        (op, t)
        for op, t in all_pairs()
        if (not selection.ops or op in selection.ops)
        and (not types or t in types)
        and (demanded is None or (op, t) in demanded)
    ]


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _near_case(name: str, selection: Selection) -> str:
    """Return what was probably meant: one of the ops and dtypes selected, or else any; to list all takes seconds."""
    mine = chosen_pairs(selection)
    for pairs in (mine, set(all_pairs()).difference(mine)):
        near = _near(name, sorted(case for pair in pairs for case in case_ids(*pair, seed=selection.seed)))
        if near:
            return near
    return ""


def chosen_cases(selection: Selection) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the ids of the cases of every pair that has some; the cases themselves hold half a gigabyte of operands.

    Raises:
        ArgumentError: for a profile, an op or the id of a case that does not exist among those selected.
        DTypeError: for a dtype that does not exist.
    """
    wanted = set(selection.cases)
    found = {pair: tuple(_selected(selection, pair, wanted)) for pair in chosen_pairs(selection)}
    unknown = sorted(wanted.difference(*found.values()))
    if unknown and selection.shard is None and not selection.lenient:
        near = _near_case(unknown[0], selection)
        raise ArgumentError(f"no case {unknown[0]!r} among those selected{near}; ids are exact", cases=tuple(unknown))
    if not found and not selection.lenient:
        raise ArgumentError(_nothing(selection), ops=selection.ops, dtypes=selection.dtypes)
    return {pair: mine for pair, mine in found.items() if mine}


def _nothing(selection: Selection) -> str:
    """Return why a selection is empty, and what would not be."""
    asked = f"{' or '.join(selection.ops) or 'no op'} on {' or '.join(selection.dtypes) or 'any dtype'}"
    wider = chosen_pairs(replace(selection, profile=None))
    if wider and selection.profile is not None:
        return f"{selection.profile} does not demand {asked}; leave out --profile, or see `opmux ops` for what is core"
    taken = sorted({t for op, t in all_pairs() if op in selection.ops})
    return f"there are no cases of {asked}; the dtypes taken are {', '.join(taken) or 'none'}"


def _selected(selection: Selection, pair: tuple[str, str], wanted: set[str]) -> Iterator[str]:
    if wanted and not any(case.startswith("-".join(pair)) for case in wanted):
        return
    narrow = selection.profile if pair[0] == DEVICE else None
    demanded = None if narrow is None else ids_of(narrow, pair, selection.seed)
    for case in case_ids(*pair, quick=selection.quick, seed=selection.seed):
        if demanded is not None and case not in demanded:
            continue
        if (not wanted or case in wanted) and (selection.shard is None or selection.shard.holds(case)):
            yield case
