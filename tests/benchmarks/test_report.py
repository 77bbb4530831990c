"""The form of the report, and one whole quick run."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opmux.benchmarks.cli import main
from opmux.benchmarks.errors import SchemaError
from opmux.benchmarks.pool import ROOT
from opmux.benchmarks.probes import FlopsProbe, TrafficProbe, probe_assembly
from opmux.benchmarks.schema import check_report, markdown
from opmux.benchmarks.table import notes, seconds


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str]:
    """Return the report, standard output and standard error of a quick run."""
    path = tmp_path_factory.mktemp("bench") / "report.json"
    command = [sys.executable, "-m", "benchmarks", "reductions", "--quick", "--cases", "sum f32", "--json", str(path)]
    done = subprocess.run(
        [*command, "--peers", "opmux,opmux-numpy,numpy"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(path.read_text()), done.stdout, done.stderr


def test_quick_run_measures_every_peer_and_the_limit(quick: tuple[dict[str, Any], str, str]) -> None:
    report = quick[0]
    assert {(m["case"], m["peer"]) for m in report["measurements"]} == {
        (c["name"], p) for c in report["cases"] for p in ("opmux", "opmux-numpy", "numpy", "probe")
    }
    assert {p["when"] for p in report["probes"]} == {"before", "after"}
    assert all(p["value"] > 0 for p in report["probes"])
    row = next(r for r in report["summary"] if r["peer"] == "opmux-numpy")
    assert row["detail"].startswith("numpy/")
    assert row["share"]["paired"] > 0
    assert row["error"] <= 1


def test_quick_run_says_that_it_is_not_quotable(quick: tuple[dict[str, Any], str, str]) -> None:
    report, output, progress = quick
    assert report["quotable"] is False
    assert "Not quotable" in output
    assert "[0/" in progress
    assert "[0/" not in output


def test_report_of_a_run_has_the_documented_form(quick: tuple[dict[str, Any], str, str]) -> None:
    check_report(quick[0])


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("surprise",), 1, "surprise is not part"),
        (("measurements", 0, "seconds"), "1", r"measurements\[\].seconds is '1'"),
        (("measurements", 0, "seconds"), float("nan"), "nan"),
        (("measurements", 0, "round"), True, "True, not int"),
        (("summary", 0, "seconds"), 1.0, r"summary\[\].seconds is float, not dict"),
        (("machine", "versions", "numpy"), None, r"machine.versions\{\} is None"),
        (("cases",), {}, "cases is dict, not list"),
        (("schema",), 99, "99"),
    ],
)
def test_other_forms_are_refused(
    quick: tuple[dict[str, Any], str, str], path: tuple[Any, ...], value: Any, word: str
) -> None:
    report = copy.deepcopy(quick[0])
    at: Any = report
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises(SchemaError, match=word):
        check_report(report)


@pytest.mark.parametrize("path", [("unit",), ("machine", "cpu"), ("targets", 0, "met")])
def test_missing_fields_are_refused(quick: tuple[dict[str, Any], str, str], path: tuple[Any, ...]) -> None:
    report = copy.deepcopy(quick[0])
    at: Any = report
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    with pytest.raises(SchemaError, match=f"{path[-1]} is missing"):
        check_report(report)


def test_readme_documents_the_form() -> None:
    assert markdown() in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_figure_is_drawn(quick: tuple[dict[str, Any], str, str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib, which is an extra")
    from opmux.benchmarks.plot import draw

    draw(quick[0], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_notes_name_what_was_left_out(quick: tuple[dict[str, Any], str, str]) -> None:
    report = copy.deepcopy(quick[0])
    report["peers"].append({"name": "torch", "status": "missing", "note": "torch is not installed", "versions": {}})
    report["summary"][0] |= {"status": "wrong", "note": "1 of 8 elements are wrong", "seconds": None}
    shown = notes(report)
    assert "torch: missing: torch is not installed" in shown
    assert any("wrong on sum f32 4096" in line for line in shown)


@pytest.mark.parametrize(("value", "text"), [(2.5, "2.5 s"), (1e-3, "1 ms"), (4.56e-8, "45.6 ns")])
def test_times_for_people(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["gem"], "no benchmark 'gem'"),
        (["gemm", "--peers", "nobody"], "no peer 'nobody'"),
        (["gemm", "--cases", "nothing"], "no case of gemm"),
        (["gemm", "--rounds", "0"], "at least one round"),
        (["gemm", "--timeout", "inf"], "--timeout inf: it must be between 0"),
        (["gemm", "--within", "nan"], "--within nan: it must be more than 0"),
        (["gemm", "--plot", "figure.txt"], "must end in .png"),
        (["gemm", "--json", "/nonexistent/x.json"], "cannot write"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(
    arguments: list[str], word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capfd.readouterr()
    assert word in " ".join(captured.err.split())
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_probes_use_the_whole_vector_and_keep_every_access() -> None:
    code = probe_assembly()
    if os.uname().machine != "x86_64":
        pytest.skip("looks for x86 instructions")
    body = code[code.index("fma_float32:") : code.index("fma_float64:")]
    assert body.count("vfmadd") >= 12
    assert "vmovntps" in code
    read = code[code.index("\nread:") : code.index("\nwrite:")]
    assert read.count("vmovaps") + read.count("vmovups") == 8


def test_probe_counts_its_work() -> None:
    one, two = FlopsProbe("float64", 1), FlopsProbe("float64", 2)
    assert two.work == 2 * one.work
    assert one.seconds(1) > 0
    assert TrafficProbe("copy", 100_000, 1).work == pytest.approx(1 << 20, rel=0.1)
