"""The backend of docs/write-a-backend.md, taken from the page, built, installed, and used as the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "write-a-backend.md").read_text(encoding="utf-8")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
CLI = "from opmux.cli.main import main; main()"
SESSION = """
import doctest, sys
case = doctest.DocTestParser().get_doctest(open(sys.argv[1]).read(), {}, "write-a-backend", None, 0)
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
runner.run(case)
sys.exit(1 if runner.failures or not runner.tries else 0)
"""


def files_of(page: str) -> dict[str, str]:
    """The captioned code blocks: path, content."""
    return dict(re.findall(r"^```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put on the path, into which the page's package was installed as a wheel."""
    source, site = tmp_path_factory.mktemp("opmux-acme"), tmp_path_factory.mktemp("site")
    for path, content in files_of(PAGE).items():
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_text(content, encoding="utf-8")
    command = [sys.executable, "-c", BUILD, str(site)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(site / done.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(site)
    return site


def python(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPMUX_", "PYTHON"))}
    environment |= {"PYTHONPATH": str(site), "OPMUX_CACHE_DIR": str(site / "cache"), "OPMUX_DISABLE": "llvm"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=120)


def test_page_has_the_files_that_it_lists() -> None:
    listed = re.search(r"^```\nopmux-acme/\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert listed is not None
    names = [line.strip() for line in textwrap.dedent(listed[1]).splitlines() if not line.endswith("/")]
    assert sorted(Path(path).name for path in files_of(PAGE)) == sorted(names)


def test_session_of_the_page_runs_as_shown(site: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (site / "session.txt").write_text("\n".join(blocks), encoding="utf-8")
    done = python(site, "-c", SESSION, site / "session.txt")
    assert done.returncode == 0, done.stdout + done.stderr


def test_doctor_finds_the_backend_ready(site: Path) -> None:
    done = python(site, "-c", CLI, "doctor", "--json")
    assert done.returncode == 0, done.stderr
    [acme] = [b for b in json.loads(done.stdout)["backends"] if b["name"] == "acme"]
    assert (acme["state"], acme["version"], acme["devices"], acme["kernels"]) == ("ready", "1.0", ["acme:0"], 3)


def test_conformance_of_the_backend_says_what_the_page_says(site: Path) -> None:
    [command, *said] = re.findall(r"^\$ opmux (conformance .* --quick)$\n(.*?)^```$", PAGE, re.M | re.S)[0]
    done = python(site, "-c", CLI, *command.split())
    assert done.returncode == 0, done.stdout + done.stderr
    # How many cases there are is the suite's business; that none fails is the page's.
    assert re.search(re.sub(r"\d+", r"\\d+", said[0].strip()), done.stdout)


def test_its_manifest_keys_are_those_of_the_table(site: Path) -> None:
    table = set(re.findall(r"^\| `(\w+)` \| (?:yes|no) \|", PAGE, re.MULTILINE))
    done = python(site, "-c", "from opmux.core.plugins import manifest; print(*manifest._KEYS)")
    assert table == set(done.stdout.split())
