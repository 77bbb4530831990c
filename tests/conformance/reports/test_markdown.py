"""Markdown for CI summaries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opmux.conformance.reports import markdown
from opmux.conformance.reports.model import ProfileLine

from .pages import acme, conformant, large


def test_the_verdict_comes_first_with_what_it_rests_on() -> None:
    lines = markdown.render([acme()]).splitlines()
    assert lines[2] == "## ❌ acme 1.2.0 on acme:0"
    assert lines[4].startswith("**not conformant** · 2 failures · not sufficient for any claim (partial)")
    assert "flushes subnormals" in lines[4]
    assert "self-declared" in lines[4]


def test_a_conformant_backend_names_its_profiles() -> None:
    assert "**conformant** to core-f32" in markdown.render([conformant()])


def test_a_run_that_shows_nothing_is_not_green() -> None:
    page = replace(conformant(), conformant=(), complete=False)
    text = markdown.render([page])
    assert "⚠️" in text
    assert "✅" not in text


def test_text_of_backends_is_never_markup() -> None:
    page = replace(acme(), backend="<img src=x>", troubles=("<b>bold</b> | [x](http://example.com)",))
    text = markdown.render([page])
    assert "<img" not in text.replace("\\<img", "")
    assert "\\<b\\>bold\\</b\\> \\| \\[x\\](http://example.com)" in text


def test_a_waiver_that_has_expired_is_no_case_that_was_not_run() -> None:
    lines = markdown.render([replace(acme(), waiver_faults=("the waiver of exp expired on 2026-01-31",))]).splitlines()
    assert "- **not run:** a worker did not start" in lines
    assert "- **waivers:** the waiver of exp expired on 2026-01-31" in lines


def test_a_part_of_the_suite_says_nothing_of_profiles_it_hardly_met() -> None:
    hardly = ProfileLine("full", True, False, False, 0, 91, ("copy", "full"), 0)
    page = replace(acme(), profiles=(*acme().profiles, hardly))
    assert "| full |" not in markdown.render([page])
    assert "| core-f32 |" in markdown.render([page])
    assert "| full | 0 of 91 |" in markdown.render([replace(page, obstacles=(("quick", "a sample"),))])
    assert "says nothing of a whole profile" in markdown.render([replace(page, profiles=(hardly,))])


def test_a_message_cannot_close_its_fence() -> None:
    page = acme()
    case = replace(page.failures[0].case, message="```\n</details>\n# a heading")
    text = markdown.render([replace(page, failures=(replace(page.failures[0], case=case),))])
    assert "````text\n```\n</details>" in text


def test_a_summary_never_outgrows_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "LIMIT", 20_000)
    text = markdown.render([large(2000), conformant()])
    assert len(text.encode()) <= 20_000
    assert text.rstrip().endswith("a summary holds no more.")
    assert text.count("<details>") == text.count("</details>")


def test_a_run_that_fails_everywhere_fits_a_summary() -> None:
    assert len(markdown.render([large()]).encode()) < 200_000


def test_the_failures_shown_are_of_many_ops() -> None:
    page = large(5000)
    shown = {f.case.op for f in page.first_failures(50)}
    assert len(page.first_failures(50)) == 50
    assert len(shown) == 50


def test_backends_stand_side_by_side() -> None:
    text = markdown.render([acme(), conformant()])
    assert "|  | acme | globex |" in text
    assert "| core-f32 | 23 of 31 | ✓ 31 of 31 |" in text
    assert "| exp | \\! 0 of 2 | ± 1 of 2 |" in text
