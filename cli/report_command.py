"""The command that shows certificates to people: report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .output import JsonOption, emit, messages, table

if TYPE_CHECKING:
    from ..conformance.reports.compare import Comparison, OpRow, PairRow
    from ..conformance.reports.model import Page

#: Shared by `opmux conformance`, which writes the same files of a run.
HTML_HELP: Final = "Write one HTML page that needs no network; needs the extra `conformance`."
MARKDOWN_HELP: Final = "Write Markdown for the summary of a CI job."
JUNIT_HELP: Final = "Write JUnit XML."


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(report)


def report(
    certs: Annotated[list[Path], typer.Argument(metavar="CERT...", help="Certificates.", show_default=False)],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help=HTML_HELP, show_default=False)] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help=MARKDOWN_HELP, show_default=False)] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help=JUNIT_HELP, show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Show what all agree on, too.")] = False,
    json: JsonOption = None,
) -> None:
    """Put certificates side by side: verdicts, profiles, ops and dtypes, errors and times.

    Exit status 0; 2 where a file is no certificate.

    Example: opmux report acme.json other.json --html report.html
    """
    from ..conformance.certificates.sign import standing
    from ..conformance.certificates.store import read
    from ..conformance.reports.build import page_of
    from ..conformance.reports.compare import compare

    read_ones = [(read(path), path) for path in certs]
    pages = tuple(page_of(c, origin=path.name, seal=standing(c)) for c, path in read_ones)
    write_reports(pages, html=html, markdown=markdown, junit=junit)
    found = compare(pages)
    if json:
        emit(_data(found), json)
    if json != "-":
        _show(found, every)


def write_reports(pages: Sequence[Page], *, html: Path | None, markdown: Path | None, junit: Path | None) -> None:
    """Write the reports that are asked for.

    Raises:
        ArgumentError: a file cannot be written, or jinja2 is not installed.
    """
    from ..conformance.certificates.store import write_text
    from ..conformance.reports import html as as_html
    from ..conformance.reports import junit as as_junit
    from ..conformance.reports import markdown as as_markdown

    renderers: tuple[tuple[Path | None, Callable[[Sequence[Page]], str]], ...] = (
        (html, as_html.render), (markdown, as_markdown.render), (junit, as_junit.render),
    )  # fmt: skip
    for path, render in renderers:
        if path is not None and pages:
            write_text(path, render(pages))
            messages.print(f"wrote {path}", markup=False)
        elif path is not None:
            messages.print(f"nothing ran, so {path} was not written", markup=False)


def _show(c: Comparison, every: bool) -> None:
    several = len(c.pages) > 1
    for name, page in zip(c.names, c.pages, strict=True):
        typer.echo(f"{name} on {page.device}: {page.headline}")
    typer.echo("")
    rows = [(name, *(_profile(page, name) for page in c.pages)) for name in c.profiles]
    table(None, ("profile", *c.names), rows)
    typer.echo("")
    shown = [row for op in c.ops for row in _op_rows(op, every, several)]
    if shown:
        table(None, ("op", "dtypes", *c.names), shown)
        typer.echo("")
    left = len(c.ops) - len({row[0] for row in shown})
    if several and not every:
        _tell_agreed(c)
    elif left:
        typer.echo(f"{left} {'more ' * bool(shown)}ops pass on every dtype; --all shows them")
    if several:
        _show_errors(c)
        _show_times(c)


def _tell_agreed(c: Comparison) -> None:
    """Count what is left out, by how it stands."""
    found = Counter(pair.statuses[0].word for op in c.ops for pair in op.pairs if pair.agreed)
    if found:
        words = ", ".join(f"{n:,} {word}" for word, n in found.most_common())
        typer.echo(f"all agree on {found.total():,} more pairs of op and dtype ({words}); --all shows them")


def _profile(page: Page, name: str) -> str:
    line = next((p for p in page.profiles if p.profile == name), None)
    if line is None:
        return ""
    if line not in page.told_profiles:
        return "a part was run"
    said = "conformant" if line.conformant else f"{line.passed} of {line.of}"
    return f"{said} ({line.note})" if line.note else said


def _op_rows(op: OpRow, every: bool, several: bool) -> Iterator[tuple[str, ...]]:
    """Yield a row per group of dtypes on which all stand the same way."""
    from ..conformance.reports.words import abridged

    groups: dict[tuple[str, ...], list[PairRow]] = {}
    for pair in op.pairs:
        groups.setdefault(tuple(f"{s.sign} {s.word}".strip() for s in pair.statuses), []).append(pair)
    calm = ("pass", "composed")
    if not every and not several and all(s.name in calm for p in op.pairs for s in p.statuses):
        return
    for told, pairs in groups.items():
        if every or not (several and pairs[0].agreed):
            yield (op.op, "all" if len(groups) == 1 else ", ".join(abridged([p.dtype for p in pairs])), *told)


def _show_errors(c: Comparison) -> None:
    """Show the ops and dtypes on which worst errors differ most, as shares of what is allowed."""
    found = []
    for op in c.ops:
        for pair in op.pairs:
            shares = [cell.worst.share for cell in pair.cells if cell is not None and cell.worst is not None]
            known = [share for share in shares if share is not None]
            if len(known) > 1 and max(known) > min(known):
                said = ["" if cell is None or cell.worst is None else str(cell.worst) for cell in pair.cells]
                found.append((max(known) - min(known), (op.op, pair.dtype, *said)))
    if found:
        rows = [row for _, row in sorted(found, key=lambda item: -item[0])[:_ERRORS]]
        table("\nworst errors, where they differ most", ("op", "dtype", *c.names), rows)


#: Rows of worst errors in the terminal.
_ERRORS: Final = 15


def _show_times(c: Comparison) -> None:
    if not c.speeds:
        return
    rows = [(size, *("" if m is None else f"{m:.2f}x" for m in c.means(size))) for size in c.sizes]
    table("\ntimes as multiples of the fastest, geometric means", ("calls", *c.names), rows, numbers=c.names)
    if c.caution:
        typer.echo(f"{c.caution}: these times say nothing of the backends alone")


def _data(c: Comparison) -> dict[str, Any]:
    return {
        "backends": [
            {
                "name": name, "backend": p.backend, "version": p.version, "device": p.device, "model": p.model,
                "certificate": p.origin, "digest": p.digest, "verdict": p.verdict, "headline": p.headline,
                "conformant": list(p.conformant), "counts": p.counts, "failures": len(p.failures),
            }
            for name, p in zip(c.names, c.pages, strict=True)
        ],
        "profiles": {
            profile: [
                next(({"passed": x.passed, "of": x.of, "conformant": x.conformant} for x in p.profiles
                      if x.profile == profile), None)
                for p in c.pages
            ]
            for profile in c.profiles
        },
        "ops": [
            {
                "op": pair.op,
                "dtype": pair.dtype,
                "differs": pair.differs,
                "status": [s.name for s in pair.statuses],
                "worst": [
                    None if x is None or x.worst is None else {"error": x.worst.error, "unit": x.worst.unit}
                    for x in pair.cells
                ],
            }
            for op in c.ops
            for pair in op.pairs
        ],
        "times": [
            {
                "op": r.op, "dtype": r.dtype, "size_class": r.size_class,
                "seconds": [None if t is None else t.seconds for t in r.timings],
            }
            for r in c.speeds
        ],
        "caution": c.caution,
    }  # fmt: skip
