"""From a run's report to certificates, one per implementation and device.

A witness is taken before the run, and compared with what there is afterwards; without one nothing is complete.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from ...core.dispatch.decision import Claim
from ...core.dispatch.registry import REGISTRY
from ...core.kernel import CANONICAL_ORDER, Determinism, Kernel
from ...core.plugins import manager
from ...core.plugins.identity import implementation
from ...core.runtime import ensure_loaded
from ...opset.declare import VERSION
from .. import identity
from ..cases.case import REGIONS
from ..results.outcome import BAD, CaseResult, Outcome
from ..results.report import Report
from ..results.subject import Subject, environment
from ..results.verdicts import is_family, verdicts
from ..running.isolation import WORKER
from ..running.selection import Selection
from .assemble import Evidence, assemble
from .model import Backend, Certificate, DeviceUsed, Failure, KernelRow, Note, Obstacle, Run, Suite, Worst
from .reconcile import UNIDENTIFIED, Missing, all_ids, obstacle, reconcile

#: Characters of a message that are kept: thousands of failures stay a readable file.
_MESSAGE: Final = 600


@dataclass(frozen=True)
class Witness:
    """What there was before a run, read from the files at that moment.

    Attributes:
        command: that makes the same run.
        isolated: whether cases run in worker processes of the suite.
        resumed: whether results of an interrupted run are taken over.
        suite, core: digests of the files of the suite and of opmux's core.
        implementations: digest of each backend's files, by name.
    """

    command: str = ""
    isolated: bool = False
    resumed: bool = False
    suite: str = ""
    core: str = ""
    implementations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, selection: Selection) -> Witness:
        """Return the witness of a run that is about to be made."""
        ensure_loaded()
        return cls(
            command_of(selection),
            selection.isolate and selection.command == WORKER,
            selection.resume,
            *_suite(),
            {name: _implementation(name) for name in REGISTRY.contributions},
        )

    def is_still(self, backend: str) -> bool:
        """Return whether a backend's files are what they were; of one without files nothing can be said."""
        return self.implementations.get(backend) == _implementation(backend)


def certify(report: Report, subject: Subject, witness: Witness | None = None) -> Certificate:
    """Return the certificate of one implementation on one device.

    Args:
        report: of a run.
        subject: one of ``report.subjects``.
        witness: taken before the run; without one the certificate is not complete.
    """
    witness = witness or Witness()
    mine = report.of(subject.backend, subject.device)
    cases: dict[str, dict[str, str]] = defaultdict(dict)
    for r in mine:
        pair = "-".join(r.pair)
        label = r.id.removeprefix(f"{pair}-")
        if cases[pair].get(label) not in BAD:  # of two results, which is a fault of its own, the bad one stays
            cases[pair][label] = str(r.outcome)
    seen = Counter(r.id for r in mine)
    backend = _backend(subject)
    run = Run(
        report.begun, round(report.seconds, 3), report.seed, witness.command, report.quick,
        _chosen(report, seen), report.stopped, witness.isolated, witness.resumed,
        (report.shard,) if report.shard else (),
    )  # fmt: skip
    obstacles = [*reconcile(cases, run, backend, [case for case, n in seen.items() if n > 1])]
    obstacles += _unproven(mine)
    obstacles += _changed(subject, witness)
    failed = [r for r in mine if r.outcome in BAD]
    return assemble(
        Evidence(
            _suite_of(report.seed),
            backend,
            _device(subject),
            environment(),
            run,
            tuple(obstacles),
            sum(r.assertions for r in mine),
            dict(cases),
            _kernels(report, subject, mine),
            _worst(mine),
            tuple(Failure(r.id, str(r.outcome), r.message[:_MESSAGE], r.reproducer, r.flaky) for r in failed),
            tuple(w.to_dict() for w in report.waivers if w.backend == subject.backend),
            tuple(Note(r.id, r.message[:_MESSAGE]) for r in mine if r.outcome is Outcome.UNDER_CLAIM),
            report.troubles,
            report.waiver_faults,
            _performance(report.performance.get((subject.backend, subject.device))),
        )
    )


def certificates(report: Report, witness: Witness | None = None) -> list[Certificate]:
    """Return a certificate for every subject of a run of which something was run."""
    ran = {(c.backend, c.device) for c in report.cases}
    return [certify(report, s, witness) for s in report.subjects if (s.backend, s.device) in ran]


def command_of(selection: Selection) -> str:
    """Return the command that makes the same run, without what changes no result.

    >>> command_of(Selection(("acme",), seed=3))
    'opmux conformance --backend acme --seed 3'
    """
    words = ["opmux", "conformance"]
    repeated = (("--backend", selection.backends), ("--op", selection.ops), ("--dtype", selection.dtypes))
    for option, values in (*repeated, ("--case", selection.cases)):
        for value in values:
            words += [option, value]
    single = (("--profile", selection.profile), ("--shard", selection.shard), ("--waivers", selection.waivers))
    for name, one in (*single, ("--seed", selection.seed or None)):
        if one is not None:
            words += [name, Path(one).name if isinstance(one, Path) else str(one)]
    words += ["--quick"] * selection.quick + ["--exit-first"] * selection.exit_first
    return shlex.join(words)


def _chosen(report: Report, seen: Iterable[str]) -> bool:
    """Return whether cases were chosen beyond the shard: a run of one shard is not partial for being one."""
    if not report.shard:
        return report.partial
    from ..running.selection import Shard

    shard, ran = Shard.parse(report.shard), set(seen)
    ids = (case for some in all_ids(report.seed).values() for case in some)
    return not report.quick and any(shard.holds(case) and case not in ran for case in ids)


def _suite() -> tuple[str, str]:
    """Return the digests of the suite and of the core, from the files as they are now."""
    core = Path(identity.__file__).resolve().parents[1] / "core"
    return identity.suite_digest.__wrapped__(), implementation(core)


def _suite_of(seed: int) -> Suite:
    digest, core = _suite()
    return Suite(identity.suite_version(), digest, core, VERSION, sum(map(len, all_ids(seed).values())))


def _implementation(backend: str) -> str:
    """Return the digest of a backend's files as they are now."""
    folder = manager.package_folder(backend)
    return UNIDENTIFIED if folder is None else implementation(folder)


def _backend(s: Subject) -> Backend:
    return Backend(s.backend, s.version, s.distribution, s.implementation, s.claims, _dependencies(s.distribution))


def _device(s: Subject) -> DeviceUsed:
    return DeviceUsed(s.device, s.kind, s.model, s.memory, s.flushes_subnormals, s.features)


def _dependencies(distribution: str) -> dict[str, str]:
    """Return the installed versions of what a distribution requires, extras left out."""
    found: dict[str, str] = {}
    try:
        required = metadata.requires(distribution) if distribution else None
    except metadata.PackageNotFoundError:
        return found
    for line in required or ():
        name = re.match(r"[\w.-]+", line)
        if name is not None and "extra ==" not in line:
            try:
                found[name[0]] = metadata.version(name[0])
            except metadata.PackageNotFoundError:
                found[name[0]] = "absent"
    return dict(sorted(found.items()))


def _unproven(mine: Iterable[CaseResult]) -> list[Obstacle]:
    """A pass is proof only with an assertion, at the first go, on a device that is still there, with errors known."""
    ids = [
        r.id
        for r in mine
        if r.outcome is Outcome.PASS
        and (r.assertions < 1 or r.flaky or r.lost or not all(map(math.isfinite, r.errors.values())))
    ]
    return [obstacle(Missing.UNPROVEN, sorted(ids))] if ids else []


def _changed(subject: Subject, witness: Witness) -> list[Obstacle]:
    """Compare what there was before the run, what the run says, and what there is now."""
    found = []
    digests = {witness.implementations.get(subject.backend), subject.implementation, _implementation(subject.backend)}
    if witness.isolated and len(digests) > 1:
        found.append(Obstacle(str(Missing.CHANGED), f"files of {subject.backend} changed during the run"))
    if witness.isolated and (witness.suite, witness.core) != _suite():
        found.append(Obstacle(str(Missing.CHANGED), "files of opmux changed during the run"))
    return found


def _kernels(report: Report, subject: Subject, mine: Sequence[CaseResult]) -> dict[str, tuple[KernelRow, ...]]:
    rows: dict[str, dict[str, KernelRow]] = defaultdict(dict)
    for r in mine:
        for name, error in r.errors.items():
            pair = "-".join(r.pair)
            known = rows[pair].get(name) or KernelRow(name, 0, None, "")
            worst = known.worst_ulp
            if r.unit == "ULP" and math.isfinite(error):
                worst = error if worst is None else max(worst, error)
            rows[pair][name] = KernelRow(name, known.ran + 1, worst, known.refuted)
    # By name, which is unique in a backend.
    mine_by_name = {f"{subject.backend}/{k.name}": k for k in REGISTRY.contributions[subject.backend].kernels}
    for key, verdict in verdicts(subject, mine, quick=report.quick, seed=report.seed).items():
        if verdict.level is Claim.REFUTED:
            name = f"{subject.backend}/{key.kernel}"
            op = REGIONS if is_family(name, subject.backend) else mine_by_name[name].op
            pair = f"{op}-{key.dtype}"
            rows[pair][name] = replace(rows[pair].get(name) or KernelRow(name, 0, None, ""), refuted=verdict.evidence)
    return {
        pair: tuple(
            _of_family(row)
            if is_family(row.name, subject.backend)
            else _promising(row, mine_by_name.get(row.name), *pair.split("-"))
            for row in some.values()
        )
        for pair, some in rows.items()
    }


def _of_family(row: KernelRow) -> KernelRow:
    """Return the row of a family of regions with what its regions promise, which its name says."""
    promised = row.name.rpartition(":")[2]
    canonical = promised == Determinism.CANONICAL.name.lower()
    return replace(row, declared=True, determinism=promised, order=CANONICAL_ORDER if canonical else None)


def _promising(row: KernelRow, kernel: Kernel | None, op: str, dtype: str) -> KernelRow:
    """Return a row with what the kernel declares and promises."""
    if kernel is None or kernel.op != op:
        return row
    p, accepts = kernel.promises, kernel.accepts.dtypes
    return replace(
        row,
        declared=not accepts or dtype in accepts[0],
        promised_ulp=p.max_ulp.get(dtype),
        determinism=p.determinism.name.lower(),
        order=p.order,
    )


def _worst(mine: Iterable[CaseResult]) -> dict[str, tuple[Worst, ...]]:
    found: dict[str, dict[str, Worst]] = defaultdict(dict)
    for r in mine:
        if r.outcome is not Outcome.PASS or r.unit in ("", "exact"):
            continue
        for kernel, error in r.errors.items():
            known = found["-".join(r.pair)].get(r.unit)
            if math.isfinite(error) and (known is None or error > known.error):
                found["-".join(r.pair)][r.unit] = Worst(error, r.unit, r.id, kernel)
    return {pair: tuple(by_unit.values()) for pair, by_unit in found.items()}


def _performance(given: Any) -> dict[str, Any] | None:
    """Return measurements as plain data; a time that is no number is null, since JSON has no NaN."""
    if given is None:
        return None
    made = _finite(given.to_dict() if hasattr(given, "to_dict") else given)
    return dict(made)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value
