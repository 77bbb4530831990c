"""What is kept of a run that ends early, and the page that is made of a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opmux.benchmarks import page, report
from opmux.benchmarks import run as run_module
from opmux.benchmarks.cli import main
from opmux.benchmarks.kinds import make_case
from opmux.benchmarks.peers import PROBE
from opmux.benchmarks.run import QUICK, Request
from opmux.benchmarks.schema import check_report
from opmux.benchmarks.suites import Suite, Target

CASES = [make_case("add", "float32", (4, n), (4, n), limit="device copy") for n in (4, 8, 12)]
NAMES = [case.name for case in CASES]
SUITE = Suite(
    "gpu",
    "t",
    "GB/s",
    lambda quick: CASES,
    (Target("faster", NAMES[0], "opmux-cuda", "cupy", 1.15), Target("last", NAMES[2], "opmux-cuda", "cupy", 9.0)),
    device="cuda",
)
VERSIONS = {"opmux-cuda": {"device": "A GPU", "NVRTC": "13.0"}, "cupy": {"cuBLAS": "130"}}


@pytest.fixture
def measured(
    monkeypatch: pytest.MonkeyPatch, scripted: Callable[..., Any], right: Any
) -> Callable[..., dict[str, Any]]:
    """Run the suite with workers of which CuPy's takes twice the time."""

    def run(**how: Any) -> dict[str, Any]:
        keep = how.pop("keep", lambda made: None)
        workers = scripted(**{"opmux-cuda": (right, 1e-3), "cupy": (right, 2e-3), PROBE: (right, 1e-3)})
        for name, worker in workers.items():
            worker.hello = lambda name=name: VERSIONS[name]
        opened = SimpleNamespace(peers=("opmux-cuda", "cupy"), worker=workers.__getitem__)
        monkeypatch.setattr(run_module, "pool", lambda peers, timeout: nullcontext(opened))
        monkeypatch.setattr(run_module, "missing", lambda name: None)
        return run_module.run(Request(SUITE, opened.peers, QUICK, **how), lambda *seen: None, keep)

    return run


def test_after_each_case_the_report_is_whole_and_says_what_is_left(
    measured: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    file, kept = tmp_path / "kept.json", []

    def keep(made: dict[str, Any]) -> None:
        report.write(made, file)
        kept.append(json.loads(file.read_text()))

    whole = measured(keep=keep)
    for made in (*kept, whole):
        check_report(made)
    assert [[c["name"] for c in made["cases"]] for made in kept] == [NAMES[:1], NAMES[:2], NAMES]
    assert [made["left_out"] for made in kept] == [NAMES[1:], NAMES[2:], []]
    assert kept[0]["targets"][0]["met"]
    assert kept[0]["targets"][1]["value"] is None
    assert whole["left_out"] == []


def test_no_case_is_begun_when_the_time_is_over(
    measured: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(run_module, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))  # of no other thread
    made = measured(within=15.0)
    assert ([c["name"] for c in made["cases"]], made["left_out"]) == (NAMES[:1], NAMES[1:])


def test_a_page_tells_the_machine_the_figures_and_the_targets(measured: Callable[..., dict[str, Any]]) -> None:
    made = measured(only="4x")
    made["left_out"] = ["another"]
    text = page.markdown(made)
    assert "A GPU; NVRTC 13.0; cuBLAS 130" in text
    assert "Not measured, for want of time: another." in text
    row = next(line for line in text.splitlines() if line.startswith(f"| {NAMES[0]} "))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [
        "1 ms", "0.000192", "", "2.00", "opmux-cuda/kernel",
    ]  # fmt: skip
    assert "| faster | 2.00 | 1.15 |" in text
    assert "| last | 2.00 (missed) | 9.00 |" in text
    part = page.markdown(measured(only=NAMES[0]))
    assert f"| last | not measured: opmux-cuda and cupy were not both measured on {NAMES[2]} | 9.00 |" in part


def test_a_page_is_printed_and_drawn_of_a_file(
    measured: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the figure needs matplotlib (extra demo)")
    file, figure = tmp_path / "report.json", tmp_path / "figure.png"
    report.write(measured(), file)
    assert main(["page", str(file), "--plot", str(figure)]) == 0
    assert f"| {NAMES[2]} |" in capsys.readouterr().out
    assert figure.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"schema": 2}', "is missing"),
        ('{"schema": 1}', "schema is 1; this reads version 2"),
        ("[]", "is list"),
        ("{", "Expecting"),
        (None, "No such file"),
    ],
)
def test_a_page_of_what_is_no_report_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, word: str
) -> None:
    file = tmp_path / "other.json"
    if text is not None:
        file.write_text(text)
    assert main(["page", str(file)]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert str(file) in told
    assert word in told
