"""The HTML page as text; tests/conformance/reports/test_html_browser.py opens it."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from opmux.conformance.reports import html
from opmux.core.errors import ArgumentError

from .pages import EVIL, acme, conformant, large, timed


class Structure(HTMLParser):
    """Collects ids, links, and elements that are not closed as they were opened."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.faults: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [str(given["id"])] if "id" in given else []
        self.links += [str(given["href"])] if "href" in given and tag == "a" else []
        self._open += [] if tag in self.VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(tag)


def test_every_element_is_closed_and_every_link_leads_somewhere() -> None:
    found = Structure(html.render([timed(acme()), timed(conformant())]))
    assert found.faults == []
    assert len(set(found.ids)) == len(found.ids)
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)


def test_the_first_lines_say_what_matters() -> None:
    text = re.sub(r"<[^>]+>", "", html.render([acme()]).partition("<body>")[2])
    first = text[: text.index("42 assertions")]
    for word in ("acme 1.2.0", "acme:0", "not conformant", "2 failures", "flushes subnormals", "1 waived",
                 "self-declared", "claims core-f32", "not sufficient for any claim"):  # fmt: skip
        assert word in first, word


def test_messages_are_text() -> None:
    text = html.render([acme()])
    assert "<script>document" not in text
    assert "&lt;script&gt;document" in text
    assert EVIL not in text


def test_the_same_page_is_the_same_bytes() -> None:
    assert html.render([timed(acme())]) == html.render([timed(acme())])


def test_a_page_without_times_says_so() -> None:
    assert "Not measured in this run" in html.render([acme()])


def test_a_run_that_fails_everywhere_stays_small() -> None:
    text = html.render([timed(large())])
    assert len(text.encode()) < 2_000_000
    assert "And 19,700 more" in text


def test_failures_that_are_left_out_are_named_by_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "FAILURES", 1)
    assert "And 1 more, which the certificate holds: exp (1)." in html.render([acme()])


def test_a_pair_whose_failures_do_not_all_stand_says_how_many_there_are() -> None:
    assert "18 failures, 2 of them here" in html.render([large()])


def test_an_op_of_another_opset_is_shown() -> None:
    page = acme()
    cell = replace(page.cells[0], op="warp<9>", family="")
    assert "warp&lt;9&gt;" in html.render([replace(page, cells=(cell, *page.cells))])


def test_the_page_names_no_address_to_load_from() -> None:
    text = html.render([timed(acme()), conformant()])
    assert re.findall(r'(?:src|href|action)="(?!#|data:,)[^"]*"', text) == []
    assert "url(" not in text
    assert "@import" not in text


def test_without_jinja2_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ArgumentError, match=r"opmux\[conformance\]"):
        html.render([acme()])


def test_nothing_run_is_an_error_and_no_empty_page() -> None:
    with pytest.raises(ArgumentError, match="nothing ran"):
        html.render([])
