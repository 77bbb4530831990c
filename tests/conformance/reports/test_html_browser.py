"""The HTML page as people meet it: in a real headless browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from opmux.conformance.reports import html

from .browser import Browser, Tab
from .pages import EVIL, acme, cell, conformant, large, timed

VISIBLE = "[...document.querySelectorAll('%s')].filter(e => e.offsetParent !== null).length"


def opened(browser: Browser, path: Path, *pages: object, fragment: str = "", width: int = 1300) -> Tab:
    path.write_text(html.render(pages), encoding="utf-8")  # type: ignore[arg-type]
    tab = browser.open(path, fragment=fragment, width=width)
    assert tab.evaluate("document.documentElement.dataset.ready") == "1"
    return tab


def test_the_page_runs_without_errors_and_asks_for_nothing(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, timed(acme()))
    assert tab.problems == []
    assert tab.requests == []
    assert tab.evaluate("document.documentElement.dataset.errors") == "0"


def test_the_policy_keeps_the_page_from_the_network(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, acme())
    blocked = tab.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'blocked')")
    assert blocked == "blocked"
    assert any("Content Security Policy" in p for p in tab.problems)


def test_text_of_a_backend_never_runs(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, acme())
    assert "owned" not in tab.evaluate("document.title")
    shown = tab.evaluate("document.querySelector('.failure pre').textContent")
    assert shown.startswith(EVIL.partition("\x00")[0])


def test_the_matrix_has_a_sign_and_a_colour_for_every_pair(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, acme())
    cells = tab.evaluate("[...document.querySelectorAll('td.cell')].map(c => [c.textContent, c.className])")
    assert len(cells) == 7
    assert {sign for sign, _ in cells} == {"-", "+", "✗", "!", "◇", "w", "?"}
    colours = "new Set([...document.querySelectorAll('td.cell')].map(c => getComputedStyle(c).background)).size"
    assert tab.evaluate(colours) == 6  # a crash is as red as a failure: its sign tells it apart


def test_typing_filters_every_part_of_the_page(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, timed(acme()))
    assert tab.evaluate(VISIBLE % "tr.op") == 6
    tab.evaluate("document.body.focus()")
    tab.press("/")
    assert tab.evaluate("document.activeElement.name") == "words"
    tab.call("Input.insertText", text="exp")
    assert tab.evaluate(VISIBLE % "table.matrix tr.op") == 1
    assert tab.evaluate("document.querySelector('#filter output').value") == "1 of 6 ops"
    assert tab.evaluate(VISIBLE % "details.failures") == 2
    tab.evaluate("document.querySelector('[name=words]').value = 'add'")
    tab.evaluate("document.querySelector('[name=words]').dispatchEvent(new Event('input'))")
    assert tab.evaluate(VISIBLE % "details.failures") == 0
    assert tab.evaluate(VISIBLE % "#b0-failures") == 0


def test_a_link_carries_a_filter(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, acme(), fragment="only=1&filter=float32")
    rows = tab.evaluate(
        "[...document.querySelectorAll('tr.op')].filter(r => !r.hidden).map(r => r.cells[0].textContent)"
    )
    assert rows == ["exp", "sum", "max"]


def test_a_failing_cell_leads_to_its_failures(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, acme())
    open_ = "document.querySelector('#b0-f-exp-float64').open"
    assert tab.evaluate(open_) is False
    tab.evaluate("document.querySelector('td.s-crash a').click()")
    tab.evaluate("new Promise(done => setTimeout(done, 50))")
    assert tab.evaluate(open_) is True
    assert tab.evaluate("document.querySelector('#b0-f-exp-float64 details').open") is True


def test_arrow_keys_move_between_cells_and_the_inspector_follows(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, acme())
    tab.evaluate("document.querySelector('td.s-fail').focus()")
    said = "document.querySelector('.inspector .said').innerText"
    assert "exp float32: failed" in tab.evaluate(said)
    assert "worst error 1.5 ULP" in tab.evaluate(said)
    tab.press("ArrowRight")
    assert "exp float64: crashed" in tab.evaluate(said)
    tabbed = "[...document.querySelectorAll('td[tabindex=\"0\"]')].map(c => c === document.activeElement)"
    assert tab.evaluate(tabbed) == [True]


def test_the_copy_button_takes_the_whole_command(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, acme())
    tab.evaluate("navigator.clipboard.writeText = async (text) => { window.taken = text }")
    tab.evaluate("document.querySelector('.failure button.copy').click()")
    assert tab.evaluate("window.taken") == acme().failures[0].reproducer
    assert tab.evaluate("document.querySelector('.failure button.copy').textContent") == "copied"


def test_nothing_is_cut_off_in_a_narrow_window(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, timed(large(400)), width=360)
    assert tab.evaluate("document.documentElement.scrollWidth") == 360


def test_the_page_is_dark_where_the_reader_wants_it(browser: Browser, written: Path) -> None:
    written.write_text(html.render([acme()]), encoding="utf-8")
    light, dark = (
        browser.open(written, dark=dark).evaluate("getComputedStyle(document.body).backgroundColor")
        for dark in (False, True)
    )
    assert light == "rgb(255, 255, 255)"
    assert dark != light


def test_charts_stand_for_what_was_timed(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, timed(acme()))
    titles = tab.evaluate("[...document.querySelectorAll('#b0-speed svg.chart title')].map(t => t.textContent)")
    assert "exp float32 small: 0.04 GFLOP/s by acme/exp" in titles
    assert "copy float32 large: 4 ms, 90% of the roofline, bound by memory" in titles
    labels = tab.evaluate("[...document.querySelectorAll('svg.chart')].map(s => s.getAttribute('aria-label'))")
    assert all(labels)
    assert len(labels) == 3


def test_backends_stand_side_by_side_and_unfold(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, timed(acme()), timed(conformant(), 2.0))
    assert tab.problems == []
    assert tab.evaluate(VISIBLE % "table.beside tr.op") == 6
    assert tab.evaluate(VISIBLE % "table.beside tr.dtype") == 0
    tab.evaluate("[...document.querySelectorAll('tr.op th')].find(h => h.innerText.includes('exp')).click()")
    shown = tab.evaluate(
        "[...document.querySelectorAll('tr.dtype')].filter(r => r.offsetParent !== null).map(r => r.innerText)"
    )
    assert shown == ["float32\t✗ 1.5 ULP\t✓ 0.9 ULP", "float64\t!\tnot tried"]
    assert "2.00" in tab.evaluate("document.querySelector('#times').innerText")
    tab.evaluate("location.hash = '#b1-top'; new Promise(done => setTimeout(done, 50))")
    assert tab.evaluate("document.querySelector('#b1-top').open") is True


def test_ops_on_which_all_agree_are_folded_until_asked_for(browser: Browser, written: Path) -> None:
    sum_ = cell("sum", "float32", "x/sum", **{"pass": 1})
    pages = [replace(page, cells=(*page.cells[-1:], sum_)) for page in (conformant(), conformant("acme"))]
    pages[1] = replace(pages[1], cells=(cell("exp", "float32", "acme/exp", fail=1), sum_))
    shown = VISIBLE % "table.beside tr.op"
    tab = opened(browser, written, *pages)
    assert tab.evaluate(shown) == 1
    assert "1 op on which all agree" in tab.evaluate("document.querySelector('p.agreed button').innerText")
    tab.evaluate("document.querySelector('[name=words]').value = 'sum'")
    tab.evaluate("document.querySelector('[name=words]').dispatchEvent(new Event('input'))")
    assert tab.evaluate("document.querySelector('table.beside tr.op:not([hidden])').innerText").endswith("✓ 1\t✓ 1")
    tab = opened(browser, written, *pages)
    tab.evaluate("document.querySelector('p.agreed button').click()")
    assert tab.evaluate(shown) == 2
    assert tab.evaluate("document.querySelector('p.agreed').hidden") is True


def test_paper_shows_everything(browser: Browser, written: Path) -> None:
    tab = opened(browser, written, timed(acme()))
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("document.querySelectorAll('details:not([open])').length") > 0
