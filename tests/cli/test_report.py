"""opmux report, the files that opmux conformance writes, and the workflow that vendors reuse."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from opmux.cli.main import app

from .conftest import Command

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "vendor-conformance.yml"
RUN = ("conformance", "--op", "exp", "--dtype", "float32", "--quick")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture
def certificate(folder: Path, opmux: Command) -> Callable[[str], str]:
    def made(backend: str) -> str:
        path = folder / f"{backend}.json"
        if not path.exists():
            opmux(*RUN, "--backend", backend, "--certificate", str(path))
        return str(path)

    return made


def test_a_run_writes_every_report(opmux: Command, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("html", "markdown", "junit")}
    status, _, err = opmux(
        *RUN, "--backend", "numpy", *(word for kind, path in files.items() for word in (f"--{kind}", str(path)))
    )
    assert status == 0, err
    assert files["html"].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "quick" in files["markdown"].read_text(encoding="utf-8")
    root = ET.parse(files["junit"]).getroot()
    assert int(root.get("tests", "0")) > 0
    assert any(float(case.get("time", "0")) > 0 for case in root.iter("testcase"))


def test_a_page_of_a_run_says_whether_it_was_sealed(opmux: Command, tmp_path: Path) -> None:
    text, made = tmp_path / "report.md", tmp_path / "numpy.json"
    opmux(*RUN, "--backend", "numpy", "--markdown", str(text))
    assert "a run, not sealed" in text.read_text(encoding="utf-8")
    opmux(
        *RUN, "--backend", "numpy", "--markdown", str(text), "--certificate", str(made), "--html", str(tmp_path / "h")
    )
    assert "not sealed" not in text.read_text(encoding="utf-8")
    assert "self-declared" in text.read_text(encoding="utf-8")
    assert json.loads(made.read_text())["digest"] in (tmp_path / "h").read_text(encoding="utf-8")


def test_what_all_agree_on_is_left_out_until_asked_for(
    opmux: Command, certificate: Callable[[str], str], tmp_path: Path
) -> None:
    both = certificate("numpy"), certificate("llvm")
    _, out, _ = opmux("report", *both)
    assert "all agree on 1 more pairs of op and dtype (1 passed); --all shows them" in out
    assert "✓ passed" not in out
    assert re.search(r"^exp +all +✓ passed +✓ passed$", opmux("report", *both, "--all")[1], re.MULTILINE)


@pytest.mark.parametrize(("option", "says"), [("--timeout", "0.1 or more"), ("--workers", "1 or more")])
def test_a_number_out_of_range_is_told_with_its_range(opmux: Command, option: str, says: str) -> None:
    status, out, err = opmux(*RUN, option, "0")
    assert (status, out) == (2, "")
    assert says in err


def test_where_nothing_ran_nothing_is_written(opmux: Command, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    # One part of so many holds no case of this op.
    few = ("--op", "random_bits", "--dtype", "uint32", "--shard", "7/9999")
    status, _, err = opmux("conformance", "--backend", "numpy", *few, "--html", str(page))
    assert status == 5
    assert "nothing ran" in err
    assert not page.exists()


def test_a_place_that_is_not_there_is_named_before_the_run(opmux: Command) -> None:
    status, _, err = opmux(*RUN, "--junit", "/nowhere/junit.xml")
    assert status == 2
    assert "--junit" in err
    assert "/nowhere/junit.xml" in err


def test_certificates_stand_side_by_side(opmux: Command, certificate: Callable[[str], str], tmp_path: Path) -> None:
    status, out, err = opmux("report", certificate("numpy"), certificate("llvm"), "--html", str(tmp_path / "both.html"))
    assert status == 0, err
    assert re.search(r"^profile +numpy +llvm$", out, re.MULTILINE)
    assert out.count("not sufficient") >= 2
    assert (tmp_path / "both.html").exists()


def test_json_has_every_pair_of_every_backend(as_json: Callable[..., Any], certificate: Callable[[str], str]) -> None:
    found = as_json("report", certificate("numpy"), certificate("llvm"))
    assert [b["name"] for b in found["backends"]] == ["numpy", "llvm"]
    (pair,) = found["ops"]
    assert (pair["op"], pair["dtype"], pair["status"]) == ("exp", "float32", ["pass", "pass"])
    assert all(worst["unit"] == "ULP" for worst in pair["worst"])


@pytest.mark.parametrize("text", ["not json", "[]", '{"kind": "opmux-certificate"}', '{"kind": "other"}'])
def test_what_is_no_certificate_is_named(opmux: Command, tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    status, _, err = opmux("report", str(path))
    assert status == 2
    assert "odd.json" in err
    assert "Traceback" not in err


def test_an_edited_certificate_is_refused(opmux: Command, certificate: Callable[[str], str], tmp_path: Path) -> None:
    document = json.loads(Path(certificate("numpy")).read_text())
    document["conformant"] = ["core-f32"]
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(document))
    status, _, err = opmux("report", str(path))
    assert status == 2
    assert "edited since it was sealed" in err


def test_a_report_that_cannot_be_written_is_a_mistake(opmux: Command, certificate: Callable[[str], str]) -> None:
    status, _, err = opmux("report", certificate("numpy"), "--markdown", "/nowhere/summary.md")
    assert status == 2
    assert "/nowhere/summary.md" in err


def workflow() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the extras `dev` and `docs`")
    loaded: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    # YAML 1.1 reads the word `on` as true.
    return {("on" if key is True else key): value for key, value in loaded.items()}


def scripts() -> Iterator[str]:
    for job in workflow()["jobs"].values():
        for step in job["steps"]:
            if "run" in step:
                yield step["run"]


def commands() -> Iterator[list[str]]:
    """Yield the words of every opmux command in the workflow."""
    for script in scripts():
        for line in script.replace("\\\n", " ").splitlines():
            if re.match(r"\s*opmux ", line):
                yield shlex.split(line.partition(" || ")[0])[1:]


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_every_command_of_the_workflow_exists_with_its_options() -> None:
    seen = []
    for words in commands():
        command, rest = resolved(words)
        options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        assert {w for w in rest if w.startswith("--")} <= options, words
        seen.append(command.name)
    assert {"doctor", "conformance", "merge", "report", "verify"} <= set(seen)
    more = {word for script in scripts() for word in re.findall(r"more\+=\((--[\w-]+)", script)}
    options = {name for p in resolved(["conformance"])[0].params for name in p.opts}
    assert more == {"--baseline", "--shard"}
    assert more | {"--strict-claims"} <= options


def test_the_workflow_is_reusable_and_runs_no_text_of_its_inputs() -> None:
    given = workflow()
    inputs = given["on"]["workflow_call"]["inputs"]
    assert {"backend", "profile", "python", "install", "shards", "baseline"} <= set(inputs)
    assert [name for name, one in inputs.items() if one.get("required")] == ["backend"]
    assert [script for script in scripts() if "${{" in script] == []


def test_every_input_of_the_workflow_is_used() -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", WORKFLOW.read_text(encoding="utf-8")))
    assert used == set(workflow()["on"]["workflow_call"]["inputs"])


def test_the_parts_of_the_workflow_follow_one_another() -> None:
    jobs = workflow()["jobs"]
    assert jobs["run"]["needs"] == "plan"
    assert jobs["certificate"]["needs"] == "run"
    assert "GITHUB_STEP_SUMMARY" in "".join(scripts())
