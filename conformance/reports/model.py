"""What a report says of one backend on one device, as plain values; every format is made from this and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from ..certificates.reconcile import Missing
from ..results.outcome import Outcome
from .status import STATUSES, Status, status_of
from .words import outcome_words

#: Reasons of a certificate that is about a part of the suite.
_PARTS: Final = frozenset({Missing.PARTIAL, Missing.SHARD})


@dataclass(frozen=True, slots=True)
class Worst:
    """The largest error that passed.

    Attributes:
        error, unit: how large, in ``"ULP"`` or ``"of the bound"``.
        case, kernel: where it was seen, and of which kernel.
        share: the error over what the contract allows; None where the contract is not known here.
        rounded: whether it is that of the correctly rounded result, to which nothing is nearer.
    """

    error: float
    unit: str
    case: str
    kernel: str
    share: float | None
    rounded: bool = False

    def __str__(self) -> str:
        return f"{self.error:.3g} {self.unit}" if self.unit != "of the bound" else f"{self.error:.2g} of the bound"


@dataclass(frozen=True)
class Cell:
    """One op and dtype.

    Attributes:
        op, dtype, family: which; the family is empty for what the opset does not know.
        counts: how many cases ended how.
        kernels: what ran.
        worst: the largest error; None where every bit is given.
        determinism: the classes that its kernels promise and kept to, comma-separated.
        unpromised: how many of the unsupported cases are about promises that no kernel makes, which is no gap.
    """

    op: str
    dtype: str
    family: str
    counts: Mapping[str, int]
    kernels: tuple[str, ...] = ()
    worst: Worst | None = None
    determinism: str = ""
    unpromised: int = 0

    @cached_property
    def status(self) -> Status:
        """How it stands."""
        refused = self.counts.get(Outcome.UNSUPPORTED, 0) - self.unpromised
        return status_of({**self.counts, Outcome.UNSUPPORTED: refused}, self.kernels)

    @property
    def tally(self) -> str:
        """How many cases ended how, in words."""
        return tally(self.counts)


@dataclass(frozen=True, slots=True)
class CaseLine:
    """One case.

    Attributes:
        id, op, dtype, outcome: which, and what became of it.
        seconds: how long it took; None where that was not kept.
        message, kernel: why it did not pass, and what ran.
    """

    id: str
    op: str
    dtype: str
    outcome: str
    seconds: float | None = None
    message: str = ""
    kernel: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that fails the run.

    Attributes:
        case: which.
        reproducer: a command that runs it alone.
        flaky: whether it passed when it was run again.
        known: whether the baseline has it, so that it is no regression.
    """

    case: CaseLine
    reproducer: str
    flaky: bool = False
    known: bool = False

    @property
    def word(self) -> str:
        """What it did."""
        return STATUSES[self.case.outcome].word


@dataclass(frozen=True, slots=True)
class ProfileLine:
    """How much of a profile is passed.

    Attributes:
        profile: its name.
        claimed, conformant, whole: whether the backend claims it, passes it, and whether all of it was run.
        passed, of: ops.
        missing: ops that do not pass, what to do next first.
        waived: cases of it that are waived.
    """

    profile: str
    claimed: bool
    conformant: bool
    whole: bool
    passed: int
    of: int
    missing: tuple[str, ...]
    waived: int

    @property
    def note(self) -> str:
        """What to do next, or why it is not passed."""
        parts = [f"next: {', '.join(self.missing[:3])}"] if self.missing else []
        if len(self.missing) > 3:
            parts[0] += f" and {len(self.missing) - 3} more"
        parts += [] if self.whole else ["not all of it was run"]
        parts += [f"{self.waived} waived cases"] if self.waived else []
        if self.conformant and not self.claimed:
            parts.append("not claimed")
        if not parts and not self.conformant:
            parts.append("passed, and not conformant for what failed or was not run elsewhere")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a kernel promises on an op and dtype, and whether it is shown.

    Attributes:
        kernel, op, dtype: which.
        level: ``"declared"``, ``"shown"`` or ``"refuted"``.
        max_ulp: the largest error that was shown; None where it is not counted in ULP.
        determinism: the class that was shown.
    """

    kernel: str
    op: str
    dtype: str
    level: str
    max_ulp: float | None
    determinism: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one call takes; times are in seconds.

    Attributes:
        op, dtype, size_class, specs, kernel: which call, and what ran.
        seconds, spread, repeats: median, interquartile range and number of samples.
        share: of the device's own measured roofline; None where it has none.
        bound: what the least time is spent on.
        predicted: seconds by the cost model.
        flops, nbytes: the work that the op declares; 0 where it was not kept.
    """

    op: str
    dtype: str
    size_class: str
    specs: str
    kernel: str
    seconds: float
    spread: float = 0.0
    repeats: int = 0
    share: float | None = None
    bound: str = ""
    predicted: float | None = None
    flops: float = 0.0
    nbytes: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes timings of two backends comparable."""
        return self.op, self.dtype, self.size_class


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured.

    Attributes:
        rows: the timings.
        bandwidths: bytes per second by working set in bytes, ascending.
        rates: operations per second by dtype.
        flags: what a person should look at.
    """

    rows: tuple[Timing, ...]
    bandwidths: tuple[tuple[float, float], ...] = ()
    rates: tuple[tuple[str, float], ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """What a report says of one backend on one device.

    Attributes:
        backend, version, device, distribution, implementation, claims: the backend, and where it ran.
        kind, model, memory, flushes_subnormals, features: the device; memory in bytes.
        origin: the file that this comes from; empty for a run itself.
        seal: who answers for it.
        complete: whether the run can show anything.
        obstacles: why not, each a reason and its detail.
        conformant: the profiles that are passed.
        suite: versions and digests of the suite.
        begun, seconds, seed, shards, command: of the run.
        environment: versions and switches.
        assertions: how many results, refusals and facts were held to what they must be.
        profiles, cells, cases, failures, proofs: what was found.
        waivers: reason, issue, expiry and the rest of each that was used.
        under_claims: cases that work undeclared, each with a message.
        troubles: what kept cases from running.
        waiver_faults: waivers that have expired or that nothing needs; each fails the run.
        speed: None where nothing was measured.
        digest: that seals the certificate; empty where there is none.
    """

    backend: str
    version: str
    device: str
    distribution: str = ""
    implementation: str = ""
    claims: tuple[str, ...] = ()
    kind: str = ""
    model: str = ""
    memory: int = 0
    flushes_subnormals: bool = False
    features: tuple[str, ...] = ()
    origin: str = ""
    seal: str = "self-declared"
    complete: bool = True
    obstacles: tuple[tuple[str, str], ...] = ()
    conformant: tuple[str, ...] = ()
    suite: Mapping[str, str] = field(default_factory=dict)
    begun: str = ""
    seconds: float = 0.0
    seed: int = 0
    shards: tuple[str, ...] = ()
    command: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    assertions: int = 0
    profiles: tuple[ProfileLine, ...] = ()
    cells: tuple[Cell, ...] = ()
    cases: tuple[CaseLine, ...] = ()
    failures: tuple[Failure, ...] = ()
    proofs: tuple[Proof, ...] = ()
    waivers: tuple[Mapping[str, str], ...] = ()
    under_claims: tuple[tuple[str, str], ...] = ()
    troubles: tuple[str, ...] = ()
    waiver_faults: tuple[str, ...] = ()
    speed: Speed | None = None
    digest: str = ""

    @cached_property
    def by_pair(self) -> dict[tuple[str, str], Cell]:
        """The cells by op and dtype."""
        return {(c.op, c.dtype): c for c in self.cells}

    @cached_property
    def told_profiles(self) -> tuple[ProfileLine, ...]:
        """The profiles of which the run says something: all, but of a part those that were run whole or passed by half.

        What a part of the suite left out is nothing that is to be done next.
        """
        if not _PARTS & {reason for reason, _ in self.obstacles}:
            return self.profiles
        return tuple(p for p in self.profiles if p.whole or 2 * p.passed >= p.of)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many cases ended how; outcomes without any are left out."""
        found = Counter[str]()
        for c in self.cells:
            found.update(c.counts)
        return {str(o): found[str(o)] for o in Outcome if found[str(o)]}

    def first_failures(self, limit: int) -> tuple[Failure, ...]:
        """Return so many failures in their order: of every op the first one, then the second, and so on."""
        met = Counter[str]()
        ranked = []
        for i, f in enumerate(self.failures):
            ranked.append((met[f.case.op], i, f))
            met[f.case.op] += 1
        return tuple(f for _, _, f in sorted(sorted(ranked, key=lambda r: r[:2])[:limit], key=lambda r: r[1]))

    @property
    def verdict(self) -> str:
        """``"conformant"``, ``"not conformant"``, ``"not sufficient"`` or ``"no profile"``."""
        if self.conformant:
            return "conformant"
        if self.failures:
            return "not conformant"
        # Nothing failed: either the run can show nothing, or it shows no profile whole.
        return "no profile" if self.complete else "not sufficient"

    @property
    def facts(self) -> tuple[str, ...]:
        """What matters most besides the verdict, each in a few words."""
        found, waived = len(self.failures), self.counts.get(Outcome.WAIVED, 0)
        reasons = ", ".join(dict.fromkeys(reason for reason, _ in self.obstacles))
        parts = [f"{found:,} {'failure' if found == 1 else 'failures'}"] if found else []
        if not self.complete:
            lacking = "incomplete" if self.verdict == "not sufficient" else "not sufficient for any claim"
            parts.append(f"{lacking} ({reasons})" if reasons else lacking)
        parts += ["flushes subnormals"] if self.flushes_subnormals else []
        parts += [f"{waived:,} waived"] if waived else []
        return (*parts, self.seal)

    @property
    def headline(self) -> str:
        """Verdict and facts in one sentence."""
        to = f" to {', '.join(self.conformant)}" if self.conformant else ""
        return "; ".join((f"{self.verdict}{to}", *self.facts))


def tally(counts: Mapping[str, int]) -> str:
    """Return how many cases ended how, in words.

    >>> tally({"pass": 1200, "fail": 2, "crash": 0})
    '1,200 pass, 2 fail'
    """
    return ", ".join(f"{counts[o]:,} {outcome_words(o)}" for o in map(str, Outcome) if counts.get(o)) or "nothing ran"
