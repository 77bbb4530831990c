"""The examples of docs/cuda.md, on a pretended GPU."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from tests.backends.cuda.host.plugin import OnHost, registered

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cuda.md").read_text(encoding="utf-8")
PROGRAM, SESSION = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_first_program_prints_what_it_computes(capsys: pytest.CaptureFixture[str]) -> None:
    with registered(OnHost()):
        exec(PROGRAM, {})
    assert capsys.readouterr().out.startswith("[[1096.633")


def test_a_new_kernel_is_tried_as_shown() -> None:
    runner = doctest.DocTestRunner()
    runner.run(doctest.DocTestParser().get_doctest(SESSION, {}, "docs/cuda.md", None, 0))
    found = runner.summarize(verbose=False)
    assert (found.attempted > 5, found.failed) == (True, 0)
