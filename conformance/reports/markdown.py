"""Markdown for the summary page of a CI job: what matters first, what to do next, the first failures folded."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Final

from .compare import Comparison, compare
from .model import Failure, Page
from .words import first_line, in_seconds, outcome_words, shortened

#: Bytes; a CI summary holds 1 MiB and is dropped whole beyond it.
LIMIT: Final = 900 * 1024
#: Failures that are shown, of all backends together.
_FAILURES: Final = 50
_MESSAGE: Final = 1000
_REST: Final = "The rest is left out: a summary holds no more.\n"
_SIGNS: Final = {"conformant": "✅", "not conformant": "❌", "not sufficient": "⚠️", "no profile": "⚠️"}
_ACTIVE: Final = re.compile(r"([\\`*_{}\[\]<>#|~$@!&])")


def render(pages: Sequence[Page]) -> str:
    """Return the Markdown of a run or of certificates; never more than a CI summary holds."""
    each = max(_FAILURES // max(len(pages), 1), 3)
    parts = ["# opmux conformance"]
    if not pages:
        parts.append("Nothing ran.")
    if len(pages) > 1:
        parts.append(_beside(compare(pages)))
    parts += [part for page in pages for part in _page(page, each)]
    return _cut(parts)


def _page(page: Page, limit: int) -> Iterable[str]:
    yield f"## {_SIGNS[page.verdict]} {escaped(page.backend)} {escaped(page.version)} on {escaped(page.device)}"
    to = f" to {', '.join(page.conformant)}" if page.conformant else ""
    facts = "".join(f" · {escaped(fact)}" for fact in page.facts)
    yield f"**{page.verdict}**{to}{facts}"
    counts = ", ".join(f"{n:,} {outcome_words(name)}" for name, n in page.counts.items()) or "nothing ran"
    yield f"{counts}; {page.assertions:,} assertions in {in_seconds(page.seconds)}."
    if page.told_profiles:
        rows = [
            (
                p.profile,
                "✓ conformant" if p.conformant else f"{p.passed} of {p.of}",
                "yes" if p.claimed else "no",
                p.note,
            )
            for p in page.told_profiles
        ]
        yield _table(("profile", "passed", "claimed", "to do"), rows)
    elif page.profiles:
        yield "A part of the suite was run, which says nothing of a whole profile."
    told = [("not run", t) for t in page.troubles] + [("waivers", f) for f in page.waiver_faults]
    if told:
        yield "\n".join(f"- **{what}:** {escaped(shortened(text, _MESSAGE))}" for what, text in told)
    if page.failures:
        yield from _failures(page, limit)
    if page.under_claims:
        shown = [f"- `{_code(case)}` {escaped(first_line(message))}" for case, message in page.under_claims[:limit]]
        yield _folded(f"{len(page.under_claims):,} under-claims", "\n".join(shown))


def _failures(page: Page, limit: int) -> Iterable[str]:
    yield "**Next:** " + escaped(first_line(page.failures[0].case.message))
    yield f"```sh\n{page.failures[0].reproducer.replace('```', '')}\n```"
    shown = "\n\n".join(map(_failure, page.first_failures(limit)))
    rest = len(page.failures) - limit
    more = f"\n\nAnd {rest:,} more; the HTML report and the certificate hold them." if rest > 0 else ""
    yield _folded(f"{len(page.failures):,} failures", shown + more)


def _failure(f: Failure) -> str:
    notes = " (flaky)" * f.flaky + " (known)" * f.known
    # A fence longer than any in the message cannot be closed by it.
    longest = max((len(run) for run in re.findall("`+", f.case.message)), default=0)
    fence = "`" * max(3, longest + 1)
    message = shortened(f.case.message, _MESSAGE)
    return f"**{f.word}** `{_code(f.case.id)}`{notes}\n\n{fence}text\n{message}\n{f.reproducer}\n{fence}"


def _beside(c: Comparison) -> str:
    verdicts = _table(
        ("", *c.names), [("verdict", *(f"{_SIGNS[p.verdict]} {p.verdict}" for p in c.pages)), *_profiles(c)]
    )
    differing = [op for op in c.ops if op.differs]
    if not differing:
        return f"{verdicts}\n\nAll {len(c.ops)} ops stand alike."
    rows = [(op.op, *(" ".join((op.told(i)[0].sign, op.told(i)[1])) for i in range(len(c.pages)))) for op in differing]
    return f"{verdicts}\n\n{_folded(f'{len(differing)} of {len(c.ops)} ops differ', _table(('op', *c.names), rows))}"


def _profiles(c: Comparison) -> Iterable[tuple[str, ...]]:
    for name in c.profiles:
        lines = [next((p for p in page.profiles if p.profile == name), None) for page in c.pages]
        yield (name, *("" if p is None else f"{'✓ ' * p.conformant}{p.passed} of {p.of}" for p in lines))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell if cell == '---' else escaped(cell) for cell in line)} |" for line in lines)


def _folded(summary: str, text: str) -> str:
    # The empty lines make what is inside Markdown again.
    return f"<details><summary>{html.escape(summary)}</summary>\n\n{text}\n\n</details>"


def escaped(text: str) -> str:
    r"""Return a text that shows as it is, in one line.

    >>> escaped("a_b <script> | x")
    'a\\_b \\<script\\> \\| x'
    """
    return _ACTIVE.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return text.replace("`", "'").replace("\n", " ")


def _cut(parts: Iterable[str]) -> str:
    """Return as many whole parts as a summary holds: one that was cut through would swallow what follows."""
    kept: list[str] = []
    left = LIMIT - len(_REST.encode())
    for part in parts:
        left -= len(part.encode()) + 2
        if left < 0:
            return "\n\n".join([*kept, _REST])
        kept.append(part)
    return "\n\n".join(kept) + "\n"
