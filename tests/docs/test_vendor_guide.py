"""docs/vendor-guide.md, followed as a newcomer would."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from opmux.cli import new_backend
from tests.stranger import install, opmux, python

from .test_write_a_backend import SESSION

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "vendor-guide.md").read_text(encoding="utf-8")
APPENDED = re.findall(r"^```\{code-block\} python\n:caption: append to (\S+)\n\n(.*?)^```$", PAGE, re.M | re.S)
#: What the page says of the core profile, in order: as generated, then after each block of kernels.
SAID = re.findall(r"^  core-f32: (\d+) of (\d+)(?:, next: (\w+))?$", PAGE, re.MULTILINE)


def lines(*texts: str) -> int:
    return sum(bool(line.strip()) for text in texts for line in text.splitlines())


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("generated") / "opmux-acme"
    new_backend.write(source, "acme", "acme")
    return source


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed with all that the page has added."""
    source, site = tmp_path_factory.mktemp("finished") / "opmux-acme", tmp_path_factory.mktemp("site")
    new_backend.write(source, "acme", "acme")
    for path, block in APPENDED:
        with (source / path).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{block}")
    install(source, site)
    return site


def verdict(site: Path, *arguments: str) -> dict[str, object]:
    done = opmux(site, "conformance", "--backend", "acme", "--profile", "core-f32", *arguments, "--json")
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert report["counts"]["fail"] + report["counts"]["crash"] + report["counts"]["timeout"] == 0
    [found] = [v for v in report["profiles"] if v["profile"] == "core-f32"]
    return dict(found)


def test_session_of_the_page_runs_as_shown(finished: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (finished / "session.txt").write_text("\n".join(blocks), encoding="utf-8")
    done = python(finished, "-c", SESSION, finished / "session.txt")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_generated_package_is_where_the_page_says(generated: Path, tmp_path: Path) -> None:
    install(generated, tmp_path)
    found = verdict(tmp_path)
    passed, of, following = SAID[0]
    assert (found["passed"], found["of"]) == (int(passed), int(of))
    assert str(found["missing"][0]).startswith(following)  # type: ignore[index]


def test_its_blocks_serve_the_whole_core_profile(finished: Path) -> None:
    found = verdict(finished, "--quick")
    assert not found["missing"], found


@pytest.mark.slow
def test_its_blocks_lead_to_the_core_profile(finished: Path) -> None:
    found = verdict(finished)
    assert found["passed"] == found["of"] == int(SAID[-1][0]) == int(SAID[-1][1])
    assert found["whole"]


def test_its_counts_of_lines_are_true() -> None:
    example = ROOT / "examples" / "abacus"
    counts = re.search(r"(\d+) lines of code.*?(\d+) lines of Python and (\d+) of C", PAGE, re.DOTALL)
    assert counts is not None
    python_files, c_files = sorted(example.glob("src/*/*.py")), sorted(example.glob("library/*"))
    assert [int(n) for n in counts.groups()] == [
        lines(*(block for _, block in APPENDED)),
        lines(*(path.read_text(encoding="utf-8") for path in python_files)),
        lines(*(path.read_text(encoding="utf-8") for path in c_files)),
    ]


def test_it_sends_nobody_to_an_option_or_command_that_is_not_there(generated: Path, tmp_path: Path) -> None:
    for command in ("conformance", "new-backend", "certificate show", "certificate verify", "certificate summary",
                    "certificate merge", "certificate diff", "certificate key", "certificate sign"):  # fmt: skip
        used = set(re.findall(rf"opmux {command}\b.*?$", PAGE, re.MULTILINE))
        options = {option for line in used for option in re.findall(r"(--[a-z-]+)", line)}
        done = opmux(tmp_path, *command.split(), "--help")
        assert done.returncode == 0, command
        assert [option for option in options if option not in done.stdout] == [], command
