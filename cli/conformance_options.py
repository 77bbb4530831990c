"""The options of `opmux conformance`: what each is called, what it takes, and what its help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .report_command import HTML_HELP, JUNIT_HELP, MARKDOWN_HELP

_WHAT: Final = "What to run"
_HOW: Final = "How to run it"
_THEN: Final = "What to do with the results"


def _option(panel: str, text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, show_default=False, rich_help_panel=panel)


Backends = Annotated[list[str] | None, _option(_WHAT, "Only this one; repeatable.", "--backend")]
Profile = Annotated[str | None, _option(_WHAT, "Only this profile, e.g. core-f32.")]
Ops = Annotated[
    list[str] | None, _option(_WHAT, "Only this op; repeatable; 'device' and 'regions' are about no single op.", "--op")
]
Dtypes = Annotated[list[str] | None, _option(_WHAT, "Only this dtype; repeatable.", "--dtype")]
Cases = Annotated[list[str] | None, _option(_WHAT, "Only this case, by its exact id; repeatable.", "--case")]
LastFailed = Annotated[bool, _option(_WHAT, "Only what failed last time.", "--lf", "--last-failed")]
Quick = Annotated[bool, _option(_WHAT, "A sample of the cases; not sufficient for a claim.", "--quick")]
ShardText = Annotated[str | None, _option(_WHAT, "Part I of N, by a hash of the case id.", "--shard", metavar="I/N")]

Resume = Annotated[bool, _option(_HOW, "Go on with the same run where it was interrupted.", "--resume")]
ExitFirst = Annotated[bool, _option(_HOW, "Stop at the first failure.", "--exit-first", "-x")]
Timeout = Annotated[float, _option(_HOW, "Seconds that one case may take: 0.1 or more; 60 where absent.")]
Within = Annotated[
    float | None, _option(_HOW, "Seconds after which it ends with what it found; --resume goes on.", metavar="SECONDS")
]
Workers = Annotated[int | None, _option(_HOW, "Worker processes; one per core, at most four.")]
Seed = Annotated[int, _option(_HOW, "Of what cases draw at random; 0 where absent.")]

Waivers = Annotated[Path | None, _option(_THEN, "TOML file of known failures.")]
StrictClaims = Annotated[bool, _option(_THEN, "What works undeclared fails the run.", "--strict-claims")]
CertificateFile = Annotated[
    Path | None,
    _option(
        _THEN,
        "Write what was found as a certificate; FILE-BACKEND-DEVICE where there are several.",
        "--certificate",
        metavar="FILE",
    ),
]
Baselines = Annotated[
    list[Path] | None,
    _option(_THEN, "Fail only on what did not fail in this certificate; repeatable.", "--baseline", metavar="CERT"),
]
Performance = Annotated[
    bool | None,
    _option(_THEN, "Measure performance beside it; a whole run does.", "--performance/--no-performance"),
]
Html = Annotated[Path | None, _option(_THEN, HTML_HELP, metavar="FILE")]
Markdown = Annotated[Path | None, _option(_THEN, MARKDOWN_HELP, metavar="FILE")]
Junit = Annotated[Path | None, _option(_THEN, JUNIT_HELP, metavar="FILE")]
