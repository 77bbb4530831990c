"""A certificate on one page of Markdown, and as a badge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from .model import Certificate, ProfileRow

#: Rows of a table on the page; what is left out is counted.
_ROWS: Final = 12
#: Width of a character of 11 px DejaVu Sans or Verdana, on average, in pixels; narrow and wide ones apart.
_WIDTH, _NARROW, _WIDE = 6.6, 3.8, 9.6
_NARROW_ONES: Final = frozenset("fijlrtI.,:;|!()[]-' ")
_WIDE_ONES: Final = frozenset("mwMW%@")
_GREEN, _RED, _GREY, _DARK = "#2e7d32", "#b3261e", "#6b6b6b", "#444"


def headline(c: Certificate, standing: str) -> str:
    """Return the first line of everything that is said of a certificate.

    Args:
        c: the certificate.
        standing: what is known of its origin, e.g. ``"self-declared"``.
    """
    return f"{c.headline} ({standing})"


def summary(c: Certificate, standing: str) -> str:
    """Return one page of Markdown."""
    e = c.environment
    about = (
        ("backend", f"{c.backend.name} {c.backend.version} ({c.backend.distribution or 'no distribution'})"),
        ("implementation", c.backend.implementation),
        ("device", f"{c.device.model} ({c.device.name}, {c.device.memory / (1 << 30):.1f} GiB)"),
        ("suite", f"opmux {c.suite.version}, opset {c.suite.opset}, {c.suite.cases} cases, {c.suite.digest}"),
        ("environment", ", ".join(f"{k} {v}" for k, v in e.items())),
        ("run", f"{c.run.begun}, {c.run.seconds:.0f} s, seed {c.run.seed}: `{c.run.command}`"),
        ("counts", ", ".join(f"{n} {o.replace('_', ' ')}" for o, n in c.counts.items() if n) or "nothing ran"),
        ("assertions", str(c.assertions)),
        ("origin", standing),
        ("digest", c.digest),
    )
    parts = [f"# {_cell(headline(c, standing))}", _table(("", ""), about)]
    if c.incomplete:
        parts += ["## Why it is not sufficient", *_list(f"{o.reason}: {o.detail}" for o in c.incomplete)]
    rows = [
        (p.profile, f"{p.passed} of {p.of}", _verdict(c, p), ", ".join(p.missing[:4]))
        for p in sorted(c.profiles, key=lambda p: (not p.conformant, not p.claimed))
    ]
    parts += ["## Profiles", _table(("profile", "ops", "", "next"), rows)]
    for title, lines in (
        ("Failures", [f"{f.outcome} `{f.id}`{' (flaky)' * f.flaky}: {f.message.splitlines()[0][:160]}"
                      if f.message else f"{f.outcome} `{f.id}`" for f in c.failures]),
        ("Waivers", [f"{w.get('case')} {w.get('op')} {w.get('dtype')}: {w.get('reason')} ({w.get('issue')}, until "
                     f"{w.get('expiry')})" for w in c.waivers]),
        ("Works, and is not claimed", [f"`{n.id}`: {n.message[:160]}" for n in c.warnings]),
        ("Troubles", list(c.troubles)),
        ("Waivers that have expired or that nothing needs", list(c.waiver_faults)),
    ):  # fmt: skip
        if lines:
            parts += [f"## {title}", *_list(map(_cell, lines))]
    parts += _accuracy(c)
    return "\n\n".join(parts) + "\n"


def _verdict(c: Certificate, p: ProfileRow) -> str:
    if p.conformant:
        return "conformant"
    if not p.passed_whole:
        return "not conformant" if p.whole else "not all of it was run"
    return "passed, but cases failed elsewhere" if c.failures else "passed, but the run is not sufficient"


def _accuracy(c: Certificate) -> list[str]:
    found = sorted(((w, row) for row in c.ops for w in row.worst), key=lambda x: (x[0].unit, -x[0].error))
    if not found:
        return []
    made = ["## Largest errors"]
    for unit in dict.fromkeys(w.unit for w, _ in found):
        mine = [(row.op, row.dtype, f"{w.error:.3g}", w.kernel) for w, row in found if w.unit == unit]
        made.append(_table(("op", "dtype", unit, "kernel"), mine[:_ROWS]))
        if len(mine) > _ROWS:
            made.append(f"and {len(mine) - _ROWS} more, none of them larger")
    return made


def _list(lines: Iterable[str]) -> list[str]:
    kept = list(lines)
    more = [f"- and {len(kept) - _ROWS} more"] if len(kept) > _ROWS else []
    return ["\n".join([*(f"- {line}" for line in kept[:_ROWS]), *more])]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)])


def _cell(text: str) -> str:
    """Return text that no reader of Markdown takes for a table, HTML or a second line."""
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def badge(c: Certificate, standing: str) -> str:
    """Return an SVG image: green where it is conformant to something, red where a case failed, grey otherwise."""
    if c.failures:
        text, colour = "not conformant", _RED
    elif c.conformant:
        named = ", ".join(c.conformant[:2]) + (f" +{len(c.conformant) - 2}" if len(c.conformant) > 2 else "")
        flushes = ", flushes subnormals" if c.device.flushes_subnormals else ""
        text, colour = f"{named} conformant{flushes} ({standing})", _GREEN
    else:
        text, colour = "no profile" if c.complete else "not sufficient", _GREY
    return _svg("opmux", text, colour, c.headline)


def _svg(left: str, right: str, colour: str, title: str) -> str:
    a, b = _width(left) + 12, _width(right) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{a + b}" height="20" role="img" '
        f'aria-label="{escape(f"{left}: {right}")}">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{a}" height="20" fill="{_DARK}"/><rect x="{a}" width="{b}" height="20" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{a / 2:g}" y="14" textLength="{a - 12}">{escape(left)}</text>'
        f'<text x="{a + b / 2:g}" y="14" textLength="{b - 12}">{escape(right)}</text></g></svg>\n'
    )


def _width(text: str) -> int:
    """Return about how many pixels a text is wide; ``textLength`` makes it exact."""
    return round(sum(_NARROW if c in _NARROW_ONES else _WIDE if c in _WIDE_ONES else _WIDTH for c in text))
