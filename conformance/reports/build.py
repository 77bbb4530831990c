"""Pages from certificates, and from a run: its certificate with what no certificate keeps, the time of every case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..cases.case import REGIONS
from ..certificates.model import Certificate, OpRow
from ..results.outcome import PROMISES, Outcome
from ..results.report import Report
from . import facts
from .model import CaseLine, Cell, Failure, Page, ProfileLine, Proof, Speed, Timing, Worst


def page_of(given: Certificate, *, origin: str = "", seal: str = "self-declared") -> Page:
    """Return the page of a certificate.

    Args:
        given: the certificate.
        origin: the file that it comes from.
        seal: who answers for it.
    """
    backend, device, run = given.backend, given.device, given.run
    rows = {(row.op, row.dtype): row for row in given.ops}
    shown: dict[tuple[str, str], list[str]] = defaultdict(list)
    for claim in given.claims:
        if claim.level == "shown":
            shown[claim.op, claim.dtype].append(claim.determinism)
    messages = {f.id: f.message for f in given.failures} | {w.id: w.message for w in given.warnings}
    lines = {case: _line(case, str(outcome), messages.get(case, "")) for case, outcome in given.outcomes()}
    return Page(
        backend.name, backend.version, device.name, backend.distribution, backend.implementation, backend.claims,
        device.kind, device.model, device.memory, device.flushes_subnormals, device.features,
        origin=origin,
        seal=seal,
        complete=given.complete,
        obstacles=tuple((o.reason, o.detail) for o in given.incomplete),
        conformant=given.conformant,
        suite={
            "opset": given.suite.opset, "suite": given.suite.version, "suite digest": given.suite.digest,
            "core digest": given.suite.core, "cases in the suite": f"{given.suite.cases:,}",
        },
        begun=run.begun,
        seconds=run.seconds,
        seed=run.seed,
        shards=run.shards,
        command=run.command,
        environment={**given.environment, **backend.dependencies},
        assertions=given.assertions,
        profiles=tuple(
            ProfileLine(
                p.profile, p.claimed, p.profile in given.conformant, p.whole, p.passed, p.of, p.missing, p.waived
            )
            for p in given.profiles
        ),
        cells=tuple(_cell(rows[pair], shown[pair], given.cases) for pair in facts.in_order(rows)),
        cases=tuple(lines.values()),
        failures=tuple(Failure(lines[f.id], f.reproducer, f.flaky) for f in given.failures),
        proofs=tuple(Proof(c.kernel, c.op, c.dtype, c.level, c.max_ulp, c.determinism) for c in given.claims),
        waivers=given.waivers,
        under_claims=tuple((w.id, w.message) for w in given.warnings),
        troubles=given.troubles,
        waiver_faults=given.waiver_faults,
        speed=None if given.performance is None else _speed(given.performance),
        digest=given.digest,
    )  # fmt: skip


def pages_of_run(report: Report, certificates: Sequence[Certificate], files: Sequence[Path] = ()) -> tuple[Page, ...]:
    """Return a page for every backend and device of which something was run.

    Args:
        report: of the run.
        certificates: that follow from it.
        files: where they were written; without them nothing was sealed.
    """
    written: Sequence[Path | None] = files or [None] * len(certificates)
    return tuple(_page_of_run(report, c, path) for c, path in zip(certificates, written, strict=True))


def _page_of_run(report: Report, certificate: Certificate, file: Path | None) -> Page:
    where = certificate.backend.name, certificate.device.name
    mine = report.of(*where)
    lines = {c.id: CaseLine(c.id, c.op, c.dtype, str(c.outcome), c.seconds, c.message, c.kernel) for c in mine}
    regressions = {c.id for c in report.regressions if (c.backend, c.device) == where}
    bad = [c for c in report.failures if (c.backend, c.device) == where]
    page = page_of(certificate)
    if file is None:
        page = replace(page, seal="a run, not sealed", digest="")
    else:
        page = replace(page, origin=file.name)
    flags = tuple(flag.message for flag in report.flags_of(where))
    return replace(
        page,
        cases=tuple(lines.values()),
        failures=tuple(Failure(lines[c.id], c.reproducer, c.flaky, c.id not in regressions) for c in bad),
        speed=None if page.speed is None else replace(page.speed, flags=flags),
    )


def _line(case: str, outcome: str, message: str) -> CaseLine:
    # Neither ops nor dtypes hold a dash; labels may.
    op, dtype, *_ = case.split("-", 2)
    return CaseLine(case, op, dtype, outcome, message=message)


def _cell(row: OpRow, determinism: Iterable[str], cases: Mapping[str, Mapping[str, str]]) -> Cell:
    found = [facts.worst(row.op, row.dtype, w.error, w.unit, w.case, w.kernel) for w in row.worst]
    largest = max((w for w in found if w is not None), key=_rank, default=None)
    classes = ", ".join(dict.fromkeys(d for d in determinism if d != "none"))
    family = facts.families().get(row.op, "")
    mine = cases.get(row.pair, {})
    open_to_all = row.op == REGIONS  # nobody has to compile regions
    unpromised = sum(
        o == Outcome.UNSUPPORTED and (open_to_all or label.partition("-")[0] in PROMISES) for label, o in mine.items()
    )
    kernels = tuple(k.name for k in row.kernels)
    return Cell(row.op, row.dtype, family, row.counts, kernels, largest, classes, unpromised)


def _rank(w: Worst) -> tuple[float, float]:
    return w.share or 0.0, w.error


def _speed(given: Mapping[str, Any]) -> Speed:
    """Return what a certificate says of speed; its roofline and flags may be absent."""
    roofline = given.get("roofline") or {}
    return Speed(
        tuple(map(_timing, given["rows"])),
        tuple((float(t["nbytes"]), t["nbytes"] / t["seconds"]) for t in roofline.get("transfers", ())),
        tuple((r["dtype"], float(r["flops"])) for r in roofline.get("rates", ())),
        tuple(str(flag["message"]) for flag in given.get("flags", ())),
    )


def _timing(given: Mapping[str, Any]) -> Timing:
    share, predicted = given.get("share"), given.get("predicted")
    return Timing(
        given["op"], given["dtype"], given["size_class"], " ".join(given.get("specs", ())), given.get("kernel", ""),
        float(given["seconds"]), float(given.get("spread", 0.0)), int(given.get("repeats", 0)),
        None if share is None else float(share), given.get("bound", ""),
        None if predicted is None else float(predicted),
        float(given.get("flops", 0.0)), float(given.get("nbytes", 0.0)),
    )  # fmt: skip
