"""JUnit XML, for what shows test results: a suite per op of each backend, a test case per case.

A failure is ``<failure>``; a crash or a time-out is ``<error>``; a refusal, a waiver, a failure that the baseline knows
and a case that was not run are ``<skipped>`` with their reason. What kept cases from running is an error in a suite of
its own, so that a run of which nothing is known is never green.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..results.outcome import Outcome
from .model import CaseLine, Cell, Failure, Page
from .words import first_line, shortened

#: What XML 1.0 cannot hold, not even escaped.
_NO_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Characters of a message.
_MESSAGE: Final = 2000
_ERRORS: Final = (Outcome.CRASH, Outcome.TIMEOUT)
_SKIPPED: Final = {
    Outcome.UNSUPPORTED: "unsupported", Outcome.WAIVED: "waived", Outcome.NOT_RUN: "not run",
}  # fmt: skip


def render(pages: Sequence[Page]) -> str:
    """Return the XML document of a run or of certificates."""
    root = ET.Element("testsuites", name="opmux conformance")
    for page in pages:
        for suite in _suites(page):
            root.append(suite)
    _count(root, list(root.iter("testcase")))
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suites(page: Page) -> Iterable[ET.Element]:
    failures = {f.case.id: f for f in page.failures}
    by_op: dict[str, list[CaseLine]] = defaultdict(list)
    for case in page.cases:
        by_op[case.op].append(case)
    cells: dict[str, list[Cell]] = defaultdict(list)
    for cell in page.cells:
        cells[cell.op].append(cell)
    where = f"{page.backend}@{page.device}"
    for op, cases in by_op.items():
        yield _suite(f"{where}.{op}", page, _facts(cells[op]), [_case(where, c, failures.get(c.id)) for c in cases])
    troubles = [*page.troubles]
    if not troubles and page.counts.get(Outcome.NOT_RUN):
        troubles.append(f"{page.counts[Outcome.NOT_RUN]} cases were not run")
    told = [("error", "trouble", t) for t in troubles] + [("failure", "waiver", f) for f in page.waiver_faults]
    if told:
        yield _suite(f"{where}.run", page, {}, [_trouble(where, i, *one) for i, one in enumerate(told, 1)])


def _suite(name: str, page: Page, facts: Mapping[str, str], cases: list[ET.Element]) -> ET.Element:
    made = ET.Element("testsuite", name=_clean(name))
    if page.begun:
        made.set("timestamp", page.begun.partition("+")[0])
    about = {"backend": page.backend, "version": page.version, "device": page.device, "model": page.model}
    properties = ET.SubElement(made, "properties")
    for key, value in {**about, "headline": page.headline, **facts}.items():
        ET.SubElement(properties, "property", name=key, value=_clean(value))
    made.extend(cases)
    _count(made, cases)
    return made


def _facts(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the kernels and the worst error of every dtype."""
    found: dict[str, str] = {}
    for c in cells:
        if c.kernels:
            found[f"kernel[{c.dtype}]"] = ", ".join(c.kernels)
        if c.worst is not None:
            found[f"worst[{c.dtype}]"] = f"{c.worst} in {c.worst.case}"
    return found


def _count(element: ET.Element, cases: Sequence[ET.Element]) -> None:
    element.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(c.find(tag) is not None for c in cases)))
    element.set("time", f"{sum(float(c.get('time', '0')) for c in cases):.3f}")


def _case(where: str, case: CaseLine, failure: Failure | None) -> ET.Element:
    name = case.id.removeprefix(f"{case.op}-{case.dtype}-")
    made = ET.Element("testcase", classname=_clean(f"{where}.{case.op}.{case.dtype}"), name=_clean(name))
    # A certificate keeps no times of cases; the schema asks for one.
    made.set("time", f"{case.seconds or 0.0:.4f}")
    message = _clean(first_line(case.message))
    if failure is not None and failure.known:
        ET.SubElement(made, "skipped", message=f"known to the baseline: {message}")
    elif failure is not None:
        kind = "error" if case.outcome in _ERRORS else "failure"
        found = ET.SubElement(made, kind, type=case.outcome + " (flaky)" * failure.flaky, message=message)
        told = [shortened(case.message, _MESSAGE), f"kernel: {case.kernel}" if case.kernel else ""]
        told += [f"run it alone: {failure.reproducer}" if failure.reproducer else ""]
        found.text = _clean("\n".join(line for line in told if line))
    elif case.outcome in _SKIPPED:
        word = _SKIPPED[Outcome(case.outcome)]
        ET.SubElement(made, "skipped", message=f"{word}: {message}" if message else word)
    elif case.outcome == Outcome.UNDER_CLAIM:
        ET.SubElement(made, "system-out").text = f"under-claim: {message}"
    return made


def _trouble(where: str, i: int, tag: str, kind: str, text: str) -> ET.Element:
    made = ET.Element("testcase", classname=_clean(f"{where}.run"), name=f"{kind} {i}", time="0")
    ET.SubElement(made, tag, type=kind, message=_clean(first_line(text))).text = _clean(text)
    return made


def _clean(text: str) -> str:
    """Return a text with what XML cannot hold shown as escapes."""
    return _NO_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
