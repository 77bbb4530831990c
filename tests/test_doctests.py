"""Every example in a docstring of the package runs and prints what it says.

pytest's own --doctest-modules would import modules by their path, and the checkout's root, which is the package, has
any folder name. So the modules are imported by name here, from the installed package.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = ROOT / "pyproject.toml"
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> Iterator[str]:
    """Yield the module names of the packages listed, which leaves out what only lies beside them in the checkout."""
    for package in tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]:
        yield package
        for module in pkgutil.iter_modules([str(ROOT.joinpath(*package.split(".")[1:]))]):
            if not module.ispkg and module.name != "__main__":
                yield f"{package}.{module.name}"


@pytest.mark.parametrize("name", list(modules()))
def test_examples_of_module(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples failed; their output is above"


def test_examples_of_functions_made_from_declarations() -> None:
    # doctest passes over a function whose globals are another module's, as those of generated functions are.
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    finder = doctest.DocTestFinder(recurse=False)
    namespace = importlib.import_module("opmux")
    for name, value in vars(namespace).items():
        if hasattr(value, "op"):
            for example in finder.find(value, name, module=False, globs={"ox": namespace}):
                runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md", "docs/numerics.md", "docs/errors.md"])
def test_examples_of_page(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    runner.run(doctest.DocTestParser().get_doctest(code, {}, page, page, 0))
    assert runner.summarize(verbose=False).attempted > 0
    assert runner.summarize(verbose=False).failed == 0


def test_there_are_examples_at_all() -> None:
    finder = doctest.DocTestFinder()
    found = sum(len(case.examples) for name in modules() for case in finder.find(importlib.import_module(name)))
    assert found > 0
