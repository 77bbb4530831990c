"""The benchmark of collectives: its formulas, its checks, and a quick run in process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from opmux.benchmarks import collectives
from opmux.benchmarks.cli import main
from opmux.benchmarks.collectives_cases import Case, cases
from opmux.benchmarks.collectives_job import Job
from opmux.benchmarks.collectives_rank import Rank
from opmux.benchmarks.errors import WorkerError
from opmux.benchmarks.measure import Sample

MEGA = 1 << 20


@pytest.mark.parametrize(
    ("collective", "ranks", "bus"),
    [("all_reduce", 4, 1.5), ("reduce_scatter", 4, 0.75), ("all_gather", 2, 0.5), ("broadcast", 4, 1.0)],
)
def test_bus_bytes_are_those_of_nccl_tests(collective, ranks, bus):
    assert Case(collective, ranks, MEGA).bus_bytes == bus * MEGA


def test_cases_have_an_element_per_rank_and_names_of_their_own():
    made = cases(quick=False)
    assert len({c.name for c in made}) == len(made)
    assert {c.nbytes for c in made} >= {4, 64 * MEGA}
    small = [c for c in made if c.nbytes <= 64]
    assert all(c.brought(c.ranks - 1).size and c.expected(c.ranks - 1).size == c.gets() for c in small)


def test_expected_parts_make_up_the_whole():
    scattered = [Case("reduce_scatter", 4, 4096).expected(r) for r in range(4)]
    np.testing.assert_array_equal(np.concatenate(scattered), Case("all_reduce", 4, 4096).expected(2))
    assert Case("all_gather", 2, 80).expected(1).tolist()[10:] == Case("all_gather", 2, 80).brought(1).tolist()


class _Wrong:
    """A library that gives each rank what it brought."""

    rank = 1

    def versions(self):
        return {}

    def barrier(self):
        pass

    def prepare(self, case, variant):
        self.detail, self.brought = "", case.brought(1)
        self.call = lambda: None
        return self

    def results(self):
        return {1: self.brought}


def test_wrong_sum_is_told_with_its_place():
    rank = Rank(_Wrong())
    rank.answer({"do": "prepare", "case": Case("all_reduce", 2, 64).to_data(), "variant": ""})
    assert "rank 1: 16 elements differ; [0] is" in rank.answer({"do": "check", "variant": ""})["wrong"]


def _outcome(seconds: float) -> collectives.Outcome:
    return collectives.Outcome(samples=[Sample("x", r, 0, 1, seconds) for r in range(3)])


def test_targets_tell_the_worst_case_and_how_many_reach_it():
    fast = {
        "opmux": _outcome(4e-3),
        "opmux-out": _outcome(1e-3),
        "mpi4py": _outcome(2e-3),
        "gloo": _outcome(9e-3),
        "opmux-mpi": _outcome(2.2e-3),
    }
    slow = {"opmux": _outcome(1e-3), "opmux-out": _outcome(4e-3), "mpi4py": _outcome(2e-3), "gloo": _outcome(1e-3)}
    measured = [(Case("all_reduce", 2, MEGA), fast), (Case("broadcast", 2, MEGA), slow)]
    found = {t["name"]: t for t in collectives.targets(measured)}
    speed = found["in process, 2 ranks, 1 MiB and more: times as fast as the best peer"]
    assert (speed["value"], speed["worst"]) == (0.25, "broadcast 1 MiB 2 ranks")
    assert (speed["median"], speed["reached"], speed["cases"], speed["met"]) == (1.125, 1, 2, False)
    fresh = found["the same with fresh results in every call, 2 ranks"]
    assert (fresh["value"], fresh["worst"]) == (0.5, "all_reduce 1 MiB 2 ranks")
    above = found["over MPI, 2 ranks: time above mpi4py's, over the larger of 5 % and 2 us"]
    assert above["value"] == pytest.approx(2.0)
    assert found["in process, canonical over fast speed, 3 ranks"]["note"] == "not measured"


def test_job_that_cannot_start_says_why(tmp_path):
    without_torch = tmp_path / "python"
    without_torch.write_text("#!/bin/sh\necho No module named torch >&2\nexit 1\n")
    without_torch.chmod(0o755)
    with pytest.raises(WorkerError, match=r"gloo ended with status 1: .*No module named"):
        Job("gloo", 1, str(without_torch), 20.0)


def test_quick_run_in_process(tmp_path: Path):
    file = tmp_path / "report.json"
    assert (
        main(
            [
                "collectives",
                "--quick",
                "--peers",
                "opmux,opmux-out,copy",
                "--cases",
                "64 B 4 ranks",
                "--json",
                str(file),
            ]
        )
        == 0
    )
    made = json.loads(file.read_text())
    assert made["quotable"] is False
    assert made["cases"][0]["name"] == "all_reduce 64 B 4 ranks"
    rows = {(r["case"], r["contestant"]): r for r in made["summary"]}
    row = rows["reduce_scatter 64 B 4 ranks", "opmux"]
    assert (row["status"], row["seconds"]["median"] > 0, row["bus_bandwidth"] > 0) == ("measured", True, True)
    assert row["share"] == next(x["paired"] for x in row["ratios"] if x["over"] == "copy")
    assert "fused" in row["detail"]
    in_place = rows["broadcast 64 B 4 ranks", "opmux-out"]
    assert (in_place["status"], in_place["detail"][-8:]) == ("measured", "in place")
    assert in_place["share"] == pytest.approx(
        0.8 * next(x["paired"] for x in in_place["ratios"] if x["over"] == "copy")
    )


def test_a_table_without_contestants_is_left_out(capsys: pytest.CaptureFixture[str]):
    assert main(["collectives", "--quick", "--peers", "copy", "--cases", "64 B 2 ranks"]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("us of a call")]
    assert [head.split()[4:] for head in heads] == [["copy", "GB/s", "of", "copy"]]


@pytest.mark.parametrize(
    ("given", "said"), [(["--peers", "nccl"], "no contestant 'nccl'"), (["--cases", "11 ranks"], "no case contains")]
)
def test_mistakes_are_named(given, said, capsys):
    assert main(["collectives", "--quick", *given]) == 2
    assert said in capsys.readouterr().err
