"""The command that holds backends to their promises: conformance."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import JsonOption, emit, messages
from .report_command import HTML_HELP, JUNIT_HELP, MARKDOWN_HELP, write_reports
from .specs import SHORT

if TYPE_CHECKING:
    from ..conformance.certificates.certify import Witness
    from ..conformance.certificates.model import Certificate
    from ..conformance.results.report import Report

_SELECTION = "What to run"
_RESULTS = "What to do with the results"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(conformance)


def conformance(
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Only this one; repeatable.", show_default=False, rich_help_panel=_SELECTION),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="Only this profile, e.g. core-f32.", show_default=False, rich_help_panel=_SELECTION),
    ] = None,
    op: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this op; repeatable; 'device' is what is about no single op.",
            show_default=False,
            rich_help_panel=_SELECTION,
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="Only this dtype; repeatable.", show_default=False, rich_help_panel=_SELECTION),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this case, by its exact id; repeatable.", show_default=False, rich_help_panel=_SELECTION
        ),
    ] = None,
    last_failed: Annotated[
        bool,
        typer.Option("--lf", "--last-failed", help="Only what failed last time.", rich_help_panel=_SELECTION),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A sample of the cases; not sufficient for a claim.", rich_help_panel=_SELECTION),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Part I of N, by a hash of the case id.", show_default=False, rich_help_panel=_SELECTION
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the same run where it was interrupted.")] = False,
    exit_first: Annotated[bool, typer.Option("--exit-first", "-x", help="Stop at the first failure.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one case may take.")] = 60.0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; one per core, at most four.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what cases draw at random.")] = 0,
    waivers: Annotated[
        Path | None, typer.Option(help="TOML file of known failures.", show_default=False, rich_help_panel=_RESULTS)
    ] = None,
    strict_claims: Annotated[
        bool,
        typer.Option("--strict-claims", help="What works undeclared fails the run.", rich_help_panel=_RESULTS),
    ] = False,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write what was found as a certificate; FILE-BACKEND-DEVICE where there are several.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CERT",
            help="Fail only on what did not fail in this certificate; repeatable.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    performance: Annotated[
        bool | None,
        typer.Option(
            "--performance/--no-performance",
            help="Measure performance beside it; a whole run does.",
            show_default=False,
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=HTML_HELP, show_default=False, rich_help_panel=_RESULTS),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=MARKDOWN_HELP, show_default=False, rich_help_panel=_RESULTS),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=JUNIT_HELP, show_default=False, rich_help_panel=_RESULTS),
    ] = None,
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
    from ..conformance.running.journal import last_failed as failed_last
    from ..conformance.running.run import run
    from ..conformance.running.selection import Selection, Shard
    from ..core.dispatch.registry import REGISTRY
    from ..core.runtime import ensure_loaded

    chosen = tuple(case or ())
    if last_failed:
        ensure_loaded()
        chosen = failed_last(backend or sorted(REGISTRY.contributions))
        if not chosen:
            messages.print("nothing failed last time: every case selected is run")
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
    if certificate is not None:
        _write(made, certificate)
    if html or markdown or junit:
        write_reports(pages_of_run(report, made), html=html, markdown=markdown, junit=junit)
    if json:
        emit(report.to_dict(), json)
    raise typer.Exit(report.exit_code)


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


def _write(made: Sequence[Certificate], path: Path) -> None:
    """Write the certificate of every implementation on every device that was tried."""
    from ..conformance.certificates.store import paths_for, write

    for c, place in zip(made, paths_for(made, path), strict=True):
        write(c, place)
        messages.print(f"wrote {place}: {c.headline} (self-declared)", markup=False)
    if not made:
        messages.print(f"nothing ran, so {path} was not written", markup=False)
