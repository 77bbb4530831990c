"""``opmux bench``: every kernel of a call, checked and timed. No time is judged here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opmux.conformance.performance import bench as module
from opmux.conformance.performance.roofline import Arithmetic, Roofline, Transfer

from .conftest import Command

#: As little as the command measures.
QUICK = ("--repeats", "3", "--time", "0.01")


ROOF = Roofline(1e-6, (Transfer(1e6, 1e-4, "copy"),), (Arithmetic("float32", 1e11, "matmul"),))


@pytest.fixture(autouse=True)
def roofline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring one takes a second or more; one test does."""
    if "measures_the_roofline" not in request.node.name:
        monkeypatch.setattr(module, "measure_roofline", lambda *given, **named: ROOF)


def test_every_eligible_kernel_is_timed_and_the_fastest_comes_first(as_json: Callable[..., Any]) -> None:
    made = as_json("bench", "exp", "f32[64]", *QUICK)
    assert {r["backend"] for r in made["rows"]} >= {"numpy", "llvm"}
    seconds = [r["seconds"] for r in made["rows"]]
    assert seconds == sorted(seconds)
    for r in made["rows"]:
        assert r["status"] == "measured"
        assert r["q1"] <= r["seconds"] <= r["q3"]
        assert r["ratio"] == pytest.approx(r["predicted"] / r["seconds"])
        assert r["gbytes"] == pytest.approx(2 * 64 * 4 / r["seconds"] / 1e9)
        assert r["bound"] == "launch"
        assert r["share"] == pytest.approx(ROOF.transfer_seconds(512) / r["seconds"])
    assert made["checked"] == "the oracle"


def test_it_measures_the_roofline_of_the_device(as_json: Callable[..., Any]) -> None:
    roof = as_json("bench", "sqrt", "f32[64]", *QUICK)["roofline"]
    assert roof["launch"] > 0
    assert [t["nbytes"] for t in roof["transfers"]] == [1 << 14]
    assert [r["dtype"] for r in roof["rates"]] == ["float32"]


def test_a_kernel_that_is_not_eligible_is_shown_with_its_reason(opmux: Command) -> None:
    status, out, _ = opmux("bench", "matmul", "f32[8,8]", "f32[8,8]", *QUICK)
    assert status == 0
    assert "rejected: dtype" in out
    assert "roofline, measured on cpu:0" in out


def test_only_the_backends_asked_for(as_json: Callable[..., Any]) -> None:
    rows = as_json("bench", "sqrt", "f32[64]", "--backend", "numpy", *QUICK)["rows"]
    assert {r["backend"] for r in rows if r["status"] == "measured"} == {"numpy"}


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("sum", "f32[8,8]", "-s", "axis=1"), "sum(float32[8,8], axis=(1,))"),
        (("concat", "f32[2,8]", "f32[3,8]"), "concat(float32[2,8], float32[3,8])"),
        (("full", "-s", "shape=2,3", "-s", "fill_value=1.5"), "full(float32[], shape=(2,3))"),
        (("iota", "-s", "shape=4"), "iota(shape=(4,))"),
        (("add", "f32[8]", "-1"), "add(float32[8], float32[])"),
        (("exp", "f64[3,4]@strides(1,-3)"), "exp(float64[3,4] strided)"),
        (("gather", "f32[8,8]", "i64[3]", "-s", "axis=1"), "gather(float32[8,8], int64[3], axis=1)"),
        (("softmax", "f32[4,8]"), "softmax(float32[4,8], axis=(1,))"),
    ],
)
def test_calls_as_words(arguments: tuple[str, ...], call: str, as_json: Callable[..., Any]) -> None:
    assert as_json("bench", *arguments, *QUICK)["call"] == call


def test_operands_that_are_cast_first_are_told(opmux: Command) -> None:
    status, out, err = opmux("bench", "add", "f32[8]", "f64[8]", *QUICK)
    assert status == 0
    assert out.startswith("add(float64[8], float64[8])")
    assert "the casts are not timed" in err


def test_csv_has_a_line_per_candidate(opmux: Command, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    status, out, _ = opmux("bench", "exp", "f32[64]", *QUICK, "--csv", str(file))
    assert status == 0
    assert out
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert {r["candidate"].partition("/")[0] for r in rows} >= {"numpy", "llvm"}
    assert all(float(r["us_q1"]) <= float(r["us"]) <= float(r["us_q3"]) for r in rows)


def test_csv_on_standard_output_stands_alone(opmux: Command) -> None:
    _, out, _ = opmux("bench", "exp", "f32[64]", *QUICK, "--csv", "-")
    assert next(csv.reader(io.StringIO(out)))[:3] == ["op", "call", "device"]
    assert "roofline, measured" not in out


def test_a_wrong_kernel_gets_no_time_and_status_1(opmux: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run_once = module._run_once

    def planted(*given: Any) -> Any:
        results, failed = run_once(*given)
        results["llvm/exp"] = [results["llvm/exp"][0] + np.float32(1e-3)]
        return results, failed

    monkeypatch.setattr(module, "_run_once", planted)
    status, out, err = opmux("bench", "exp", "f32[64]", *QUICK, "--json")
    row = next(r for r in json.loads(out)["rows"] if r["candidate"] == "llvm/exp")
    assert (status, row["status"], row["seconds"]) == (1, "wrong", None)
    assert "ULP" in row["note"]
    assert "a result is wrong" in err


@pytest.mark.parametrize(
    ("arguments", "checked"),
    [
        (("exp", "f32[100000]"), "the oracle, 4096 elements of 100000"),
        (("matmul", "f32[640,640]", "f32[640,640]"), "the oracle, 4 rows of 640"),
    ],
)
def test_of_large_calls_a_part_is_checked(
    arguments: tuple[str, ...], checked: str, as_json: Callable[..., Any]
) -> None:
    assert as_json("bench", *arguments, "--backend", "numpy", *QUICK)["checked"] == checked


@pytest.mark.parametrize(
    ("second", "alike"), [([1.0, 2.0], True), ([1.0, 2.00001], True), ([1.0, 2.1], False), ([1.0, np.nan], False)]
)
def test_what_the_oracle_cannot_do_is_held_to_each_other(second: list[float], alike: bool) -> None:
    results = {name: [np.array(x, np.float32)] for name, x in (("a", [1.0, 2.0]), ("b", second))}
    words, wrong = module._each_other(results)
    assert words == "each other"
    assert (not wrong) is alike


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("xp", "f32[8]"), "did you mean exp"),
        (("exp",), "was called as exp()"),
        (("exp", "f32[8"), "'f32[8'"),
        (("exp", "f32[8]", "--backend", "acme"), "acme, which is no usable backend"),
        (("exp", "f32[8]", "--device", "tpu"), "no device 'tpu'"),
        (("exp", "f32[8]", "--repeats", "0"), "--repeats"),
        (("exp", "f32[8]", "--time", "0"), "--time"),
        (("add", "f32[8]", "f32[9]"), "ShapeError"),
        (("exp", "f32[1000000,1000000]"), "OutOfMemoryError"),
        (("exp", "f32[8]", *QUICK, "--csv", "/no/such/folder/x.csv"), "cannot write"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], word: str, opmux: Command) -> None:
    status, out, err = opmux("bench", *arguments)
    assert (status, out) == (2, "")
    assert word in err
    assert "Traceback" not in err
