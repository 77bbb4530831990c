"""The command that holds backends to their promises: conformance."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from . import conformance_options as given
from .output import JsonOption, emit, messages
from .report_command import write_reports
from .specs import SHORT

if TYPE_CHECKING:
    from ..conformance.certificates.certify import Witness
    from ..conformance.certificates.model import Certificate
    from ..conformance.results.report import Report


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(conformance)


def conformance(
    backend: given.Backends = None,
    profile: given.Profile = None,
    op: given.Ops = None,
    dtype: given.Dtypes = None,
    case: given.Cases = None,
    last_failed: given.LastFailed = False,
    quick: given.Quick = False,
    shard: given.ShardText = None,
    resume: given.Resume = False,
    exit_first: given.ExitFirst = False,
    timeout: given.Timeout = 60.0,
    within: given.Within = None,
    workers: given.Workers = None,
    seed: given.Seed = 0,
    waivers: given.Waivers = None,
    strict_claims: given.StrictClaims = False,
    certificate: given.CertificateFile = None,
    baseline: given.Baselines = None,
    performance: given.Performance = None,
    html: given.Html = None,
    markdown: given.Markdown = None,
    junit: given.Junit = None,
    json: JsonOption = None,
) -> None:
    """Hold backends to the contracts of the opset.

    Exit status 0 when nothing failed, 1 on failures, 2 on wrong usage, 3 when something kept cases from running (a
    device lost, a plugin in quarantine), 5 when nothing ran.

    Example: opmux conformance --backend llvm --op exp --dtype float32 -x --lf
    """
    from ..conformance.certificates.baseline import earlier_performance, known_failures
    from ..conformance.certificates.certify import Witness, certificates
    from ..conformance.performance.phase import BUDGET
    from ..conformance.reports.build import pages_of_run
    from ..conformance.reports.html import require_jinja2
    from ..conformance.running.journal import keep_last_failed
    from ..conformance.running.run import run
    from ..conformance.running.selection import Selection, Shard

    chosen = _failed_last(backend or ()) if last_failed else tuple(case or ())
    selection = Selection(
        tuple(backend or ()),
        profile,
        tuple(op or ()),
        tuple(SHORT.get(name, name) for name in dtype or ()),
        quick,
        chosen,
        waivers,
        limit=timeout,
        workers=workers,
        exit_first=exit_first,
        seed=seed,
        shard=None if shard is None else Shard.parse(shard),
        resume=resume,
        strict_claims=strict_claims,
        within=math.inf if within is None else within,
        lenient=last_failed,
    )
    if performance or (performance is None and not (quick or selection.partial)):
        selection = replace(selection, performance=BUDGET)
    _check_places({"--certificate": certificate, "--html": html, "--markdown": markdown, "--junit": junit})
    if html is not None:
        require_jinja2()
    before = _baseline(baseline or (), selection.backends)
    witness = Witness.of(selection)
    try:
        report = run(selection, messages)
    except KeyboardInterrupt:
        messages.print("the same command with --resume goes on where this run was")
        raise
    if before:
        report = replace(report, baseline=known_failures(before), earlier=earlier_performance(before))
    keep_last_failed(report.cases, report.failures)
    _record(report, witness)
    # Before the files: what a run took minutes to find must not be lost with one that cannot be written.
    if json != "-":
        typer.echo(report.summary())
    made = certificates(report, witness) if certificate or html or markdown or junit else []
    files = [] if certificate is None else _write(made, certificate)
    if html or markdown or junit:
        write_reports(pages_of_run(report, made, files), html=html, markdown=markdown, junit=junit)
    if json:
        emit(report.to_dict(), json)
    raise typer.Exit(report.exit_code)


def _failed_last(backends: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of what failed last time, of these backends or of all."""
    from ..conformance.running.journal import last_failed
    from ..core.dispatch.registry import REGISTRY
    from ..core.runtime import ensure_loaded

    ensure_loaded()
    chosen = last_failed(backends or sorted(REGISTRY.contributions))
    if not chosen:
        messages.print("nothing failed last time: every case selected is run")
    return chosen


def _record(report: Report, witness: Witness) -> None:
    """Write what the run shows where the dispatcher reads it; of files that changed meanwhile it shows nothing."""
    from ..conformance.results.verdicts import verdicts
    from ..core.plugins import manager, proofs

    for subject in report.subjects:
        if witness.is_still(subject.backend):
            found = verdicts(subject, report.cases, quick=report.quick, seed=report.seed)
            proofs.keep(subject.backend, subject.version, manager.package_folder(subject.backend), found)


def _check_places(files: Mapping[str, Path | None]) -> None:
    """Say before a long run, and not after it, that a file of its results could not be written."""
    for option, path in files.items():
        if path is None:
            continue
        folder = path.absolute().parent
        if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
            why = f"cannot write {path}: it is a folder, or lies where nothing can be written, or in no folder at all"
            raise typer.BadParameter(why, param_hint=option)


def _baseline(paths: Sequence[Path], backends: Collection[str]) -> list[Certificate]:
    from ..conformance.certificates.store import read

    found = [read(path) for path in paths]
    for path, c in zip(paths, found, strict=True):
        if backends and c.backend.name not in backends:
            why = f"{path} is about {c.backend.name}; what is run is {', '.join(backends)}"
            raise typer.BadParameter(why, param_hint="--baseline")
    return found


def _write(made: Sequence[Certificate], path: Path) -> list[Path]:
    """Write the certificate of every implementation on every device that was tried; return where."""
    from ..conformance.certificates.store import paths_for, write

    places = paths_for(made, path) if made else []
    for c, place in zip(made, places, strict=True):
        write(c, place)
        messages.print(f"wrote {place}: {c.headline} (self-declared)", markup=False)
    if not made:
        messages.print(f"nothing ran, so {path} was not written", markup=False)
    return places
