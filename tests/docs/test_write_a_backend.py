"""The examples of docs/write-a-backend.md, on the package that `opmux new-backend` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opmux.cli import new_backend
from opmux.core.hooks import Hooks
from opmux.core.plugins import manifest
from tests.stranger import install, python

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "write-a-backend.md").read_text(encoding="utf-8")
SESSION = """
import doctest, sys
case = doctest.DocTestParser().get_doctest(open(sys.argv[1]).read(), {}, "page", None, 0)
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
runner.run(case)
sys.exit(1 if runner.failures or not runner.tries else 0)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, site = tmp_path_factory.mktemp("opmux-acme"), tmp_path_factory.mktemp("site")
    new_backend.write(source, "acme", "acme")
    install(source, site)
    return site


def test_session_of_the_page_runs_as_shown(site: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (site / "session.txt").write_text("\n".join(blocks), encoding="utf-8")
    done = python(site, "-c", SESSION, site / "session.txt")
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_manifest_keys_are_those_of_the_table() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| (?:yes|no) \|", PAGE, re.MULTILINE)) == set(manifest._KEYS)


def test_its_hooks_are_those_of_the_table() -> None:
    listed = set(re.findall(r"^\| `(opmux_\w+)` \|", PAGE, re.MULTILINE))
    assert listed == {name for name in vars(Hooks) if name.startswith("opmux_")}
