"""Cycles of a systolic array, against what SCALE-Sim counts."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from opmux.backends.sim.timing.convolution import Convolution
from opmux.backends.sim.timing.systolic import Array, cycles, gemm
from opmux.benchmarks.sim import INTERPRETER, cycles_of, has_scalesim, run_scalesim
from opmux.benchmarks.sim import main as benchmark
from opmux.benchmarks.sim_layers import jobs

GOLDEN = json.loads(Path(__file__).with_name("scalesim.json").read_text(encoding="utf-8"))
LAYERS = [(job, layer) for job in jobs(quick=False) for layer in job["layers"]]


@pytest.mark.parametrize(("dataflow", "expected"), [("os", 10175), ("ws", 11199), ("is", 14207)])
def test_the_golden_product_takes_its_cycles(dataflow: Any, expected: int) -> None:
    assert gemm(256, 128, 256, Array(32, 32, dataflow)).cycles == expected


def test_the_first_layer_of_alexnet_takes_its_cycles() -> None:
    sizes = Convolution((224, 224), (11, 11), 3, 96, (4, 4)).lowered(rounded_up=True)
    assert sizes == (55 * 55, 96, 11 * 11 * 3)
    assert gemm(*sizes, Array(32, 32, "ws")).cycles == 112283


def test_the_golden_counts_are_many_and_of_every_kind() -> None:
    assert len(GOLDEN["layers"]) == len(LAYERS) >= 30
    arrays = {(job["rows"], job["columns"]) for job, _ in LAYERS}
    assert {(8, 8), (256, 256)} <= arrays
    assert {job["dataflow"] for job, _ in LAYERS} == {"os", "ws", "is"}
    assert sum("image" in layer for _, layer in LAYERS) >= 15


@pytest.mark.parametrize("index", range(len(LAYERS)))
def test_a_layer_is_counted_as_scalesim_counts_it(index: int) -> None:
    (job, layer), theirs = LAYERS[index], GOLDEN["layers"][index]
    ours = cycles_of(job, layer)
    assert theirs["stalls"] == 0
    assert ours.cycles == theirs["cycles"]
    assert 100 * ours.utilisation == pytest.approx(theirs["utilisation"], rel=1e-12)
    assert 100 * ours.mapping == pytest.approx(theirs["mapping"], rel=1e-12)
    assert (ours.input_reads, ours.weight_reads) == (theirs["input_reads"], theirs["weight_reads"])
    # Output stationary, SCALE-Sim counts a row and a column of bubbles per fold as results.
    bubbles = ours.folds * (job["rows"] + job["columns"]) if job["dataflow"] == "os" else 0
    assert ours.output_writes + bubbles == theirs["output_writes"]


def test_layers_beside_scalesim_where_it_is_installed() -> None:
    interpreter = os.environ.get(INTERPRETER) or sys.executable
    if not has_scalesim(interpreter):
        pytest.skip(
            f"scalesim is not installed; set {INTERPRETER} to an interpreter that has it (with NumPy below 2.4)"
        )
    work = jobs(quick=True)
    answer = run_scalesim(interpreter, work)
    ours = [cycles_of(job, layer).cycles for job in work for layer in job["layers"]]
    assert ours == [row["cycles"] for row in answer["layers"]]


def test_an_empty_product_takes_nothing() -> None:
    for sizes in ((0, 4, 4), (4, 0, 4), (4, 4, 0)):
        assert gemm(*sizes, Array(8, 8, "ws")).cycles == 0
        assert cycles(*sizes, Array(8, 8, "ws")) == 0


def test_one_plain_array_takes_the_cycles_of_scalesim() -> None:
    for dataflow in ("os", "ws", "is"):
        array = Array(16, 8, dataflow)
        assert cycles(50, 60, 70, array) == gemm(50, 60, 70, array).cycles


def test_arrays_share_folds_and_the_fullest_decides() -> None:
    # 3 x 3 folds of 8 x 8 on 4 arrays: one array has 3 of them, each k + rows + columns - 2 cycles.
    assert cycles(24, 24, 10, Array(8, 8, "os"), count=4) == 3 * (10 + 14) - 1


def test_a_higher_rate_shortens_time_and_not_the_skew() -> None:
    assert cycles(8, 8, 100, Array(8, 8, "os"), rate=2.0) == 50 + 14 - 1


def test_shadow_registers_hide_the_load_behind_computing() -> None:
    array = Array(8, 8, "ws")
    # 4 folds; m = 100 rows go through each while the next 8 rows of weights come: 3 x 100, and one fold whole.
    assert cycles(100, 16, 16, array, double_buffered=True) == 3 * 100 + (100 + 2 * 8 + 8 - 2) - 1
    # With m = 2 the load of 8 rows is what takes the time.
    assert cycles(2, 16, 16, array, double_buffered=True) == 3 * 8 + (2 + 2 * 8 + 8 - 2) - 1


def test_windows_that_do_not_fit_are_left_out_or_counted_as_scalesim_does() -> None:
    uneven = Convolution((10, 9), (3, 3), 2, 4, (2, 4), batch=5)
    assert uneven.lowered() == (5 * 4 * 2, 4, 18)
    assert uneven.lowered(rounded_up=True) == (5 * 5 * 3, 4, 18)


def test_the_benchmark_runs_without_scalesim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("opmux.benchmarks.sim.has_scalesim", lambda interpreter: False)
    target = tmp_path / "sim.json"
    assert benchmark(["--quick", "--json", str(target)]) == 0
    made = json.loads(target.read_text())
    assert made["quotable"] is False
    assert [t["met"] for t in made["targets"]] == [True, False, True]


def test_the_benchmark_fails_on_a_count_that_differs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = {**GOLDEN, "layers": [{**row, "cycles": row["cycles"] + 1} for row in GOLDEN["layers"]]}
    path = tmp_path / "golden.json"
    path.write_text(json.dumps(wrong))
    monkeypatch.setattr("opmux.benchmarks.sim.has_scalesim", lambda interpreter: False)
    monkeypatch.setattr("opmux.benchmarks.sim.GOLDEN", path)
    assert benchmark(["--quick"]) == 1


def test_an_interpreter_without_scalesim_is_a_mistake_of_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark(["--quick", "--scalesim", "/nonexistent/python"]) == 2
    assert "pip install scalesim" in capsys.readouterr().err
