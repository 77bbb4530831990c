"""Cases of regions: right compilers pass and are shown, wrong ones are refuted, none has nothing to judge."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.cases.case import REGIONS
from opmux.conformance.cases.enumerate import cases
from opmux.conformance.cases.regions.chains import FLOATS
from opmux.conformance.cases.regions.family import DTYPES, rows
from opmux.conformance.cases.regions.row import Operand
from opmux.conformance.certificates.certify import certify
from opmux.conformance.planted.judge import execute_all, registered
from opmux.conformance.planted.twin.backend import Twin
from opmux.conformance.planted.twin.regions import Regions
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.results.report import Report
from opmux.conformance.results.subject import Subject
from opmux.conformance.results.verdicts import verdicts
from opmux.conformance.running.isolation import Job, Runner
from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection
from opmux.conformance.target import targets
from opmux.core.dispatch.claims import CLAIMS, Verdict
from opmux.core.dispatch.decision import Claim
from opmux.core.dtypes import BY_NAME
from opmux.core.errors import ArgumentError
from opmux.core.plugins import manager, proofs
from opmux.plugin import Device, Graph, Kernel, Reason, Refusal, Rejection, hookimpl

ONE = "regions-float32-values-chain-product-and-sum"
NAME = "region-cases"


class Changed(Regions):
    """The twin's compiler with its kernels changed."""

    def __init__(self, change: Callable[[Kernel], Any]) -> None:
        super().__init__()
        self._change = change

    def compile(self, graph: Graph, device: Device) -> Any:
        made = super().compile(graph, device)
        return self._change(made) if isinstance(made, Kernel) else made


def outcomes(compiler: Callable[[], Regions] | None, *ids: str) -> list[CaseResult]:
    with registered(NAME, Twin(regions=compiler)):
        return list(execute_all(NAME, ids or (ONE,)))


def check_right_regions(t: str, *, quick: bool) -> None:
    found = outcomes(Regions, *(c.id for c in cases(REGIONS, t, quick)))
    assert [(r.id, r.message) for r in found if r.outcome not in (Outcome.PASS, Outcome.UNSUPPORTED)] == []
    assert sum(r.outcome is Outcome.PASS for r in found) > 0.9 * len(found) > 3


@pytest.mark.parametrize("t", DTYPES)
def test_right_regions_pass(t: str) -> None:
    check_right_regions(t, quick=True)


@pytest.mark.slow
@pytest.mark.parametrize("t", DTYPES)
def test_right_regions_pass_whole(t: str) -> None:
    check_right_regions(t, quick=False)


def test_without_a_region_compiler_there_is_nothing_to_judge() -> None:
    (found,) = outcomes(None)
    assert found.outcome is Outcome.UNSUPPORTED
    assert "compiles no regions" in found.message


def test_a_backend_of_region_compilers_alone_is_judged() -> None:
    class Compiler:
        @hookimpl
        def opmux_region_compilers(self) -> list[Regions]:
            return [Regions()]

    manager.register(NAME, Compiler())
    try:
        (found,) = execute_all(NAME, [ONE])
    finally:
        manager.unregister(NAME)
    assert (found.outcome, list(found.errors)) == (Outcome.PASS, [f"{NAME}/region:chain:canonical"])


def test_what_is_shown_of_a_family_is_kept(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "regions.py").write_text("A = 1\n")
    shown = verdicts(subject, results("region:rows:canonical", 9), quick=False, seed=0)
    proofs.keep(NAME, subject.version, tmp_path, shown)
    with CLAIMS.set_aside():
        proofs.recall(NAME, subject.version, tmp_path)
        (key,) = shown
        assert (key.kernel, key.dtype) == ("region:rows:canonical", "float32")
        assert CLAIMS.verdict(key).level is Claim.SHOWN


def test_a_graph_that_no_region_takes_says_nothing() -> None:
    refuses = partial(Changed, lambda kernel: Refusal(0, "not today"))
    (found,) = outcomes(refuses)
    assert (found.outcome, found.errors) == (Outcome.UNSUPPORTED, {})


def test_a_region_without_a_family_shows_nothing_and_is_still_held_to_its_nodes() -> None:
    nameless = partial(Changed, lambda kernel: dataclasses.replace(kernel, family=None))
    (found,) = outcomes(nameless)
    assert (found.outcome, "names no family" in found.message) == (Outcome.UNSUPPORTED, True)


def test_a_kernel_that_refuses_is_no_failure_and_one_that_breaks_is() -> None:
    no = Rejection(Reason.RANK, "too many axes")
    (refused,) = outcomes(partial(Changed, lambda kernel: dataclasses.replace(kernel, prepare=lambda spec: no)))
    assert (refused.outcome, "too many axes" in refused.message) == (Outcome.UNSUPPORTED, True)
    (broken,) = outcomes(partial(Changed, lambda kernel: dataclasses.replace(kernel, prepare=lambda spec: 1 / 0)))
    assert (broken.outcome, "ZeroDivisionError" in broken.message) == (Outcome.FAIL, True)


def test_a_compiler_that_answers_nonsense_fails() -> None:
    (found,) = outcomes(partial(Changed, lambda kernel: Refusal(99, "?")))
    assert (found.outcome, "must return a Kernel" in found.message) == (Outcome.FAIL, True)


@pytest.fixture
def subject() -> Iterator[Subject]:
    with registered(NAME, Twin(regions=Regions)):
        yield Subject.of(targets(NAME)[0])


def results(family: str, count: int, outcome: Outcome = Outcome.PASS) -> list[CaseResult]:
    """Every case about regions on float32; a family ran in some of them, and the first ended in its own way."""
    made = []
    for i, c in enumerate(cases(REGIONS, "float32")):
        errors = {f"{NAME}/{family}": 0.0} if i < count else {}
        ended = outcome if i == 0 else Outcome.PASS if i < count else Outcome.UNSUPPORTED
        made.append(CaseResult(c.id, NAME, REGIONS, "float32", c.kind, "cpu:0", ended, errors, "exact", 1))
    return made


def found(subject: Subject, mine: list[CaseResult]) -> dict[str, Verdict]:
    return {key.kernel: v for key, v in verdicts(subject, mine, quick=False, seed=0).items()}


def test_a_family_is_shown_by_several_graphs(subject: Subject) -> None:
    assert found(subject, results("region:rows:canonical", 2)) == {}
    assert found(subject, results("region:rows:canonical", 3))["region:rows:canonical"].level is Claim.SHOWN
    assert found(subject, results("region:rows:canonical", 9)[:-1]) == {}  # not all of the cases were run


def test_one_wrong_graph_refutes_a_family_and_leaves_others_unproved(subject: Subject) -> None:
    bad = results("region:rows:canonical", 9, Outcome.FAIL)
    other = [dataclasses.replace(r, errors={f"{NAME}/region:chain:canonical": 0.0}) if 0 < i < 5 else r
             for i, r in enumerate(bad)]  # fmt: skip
    assert {k: v.level for k, v in found(subject, other).items()} == {"region:rows:canonical": Claim.REFUTED}


def test_a_failure_is_that_of_the_family_which_its_message_names(subject: Subject) -> None:
    rows, chain = (f"{NAME}/region:{family}:canonical" for family in ("rows", "chain"))
    mine = [dataclasses.replace(r, errors=dict.fromkeys((chain, rows), 0.0) if r.errors else {})
            for r in results("region:rows:canonical", 9, Outcome.FAIL)]  # fmt: skip
    named = [dataclasses.replace(mine[0], message=f"{rows}: 3 of 9 elements are wrong"), *mine[1:]]
    assert {k: v.level for k, v in found(subject, named).items()} == {"region:rows:canonical": Claim.REFUTED}
    unnamed = [dataclasses.replace(mine[0], message="ValueError"), *mine[1:]]
    assert set(found(subject, unnamed)) == {"region:rows:canonical", "region:chain:canonical"}


def test_a_crash_refutes_every_family_that_ran(subject: Subject) -> None:
    mine = results("region:rows:canonical", 9)
    crashed = [dataclasses.replace(mine[0], outcome=Outcome.CRASH, errors={}), *mine[1:]]
    assert found(subject, crashed)["region:rows:canonical"].level is Claim.REFUTED


@pytest.mark.parametrize(("place", "dtype"), [("bool", "bool"), ("one number of threads", "float32")])
def test_what_shows_nothing_of_a_family_may_refute_it(subject: Subject, place: str, dtype: str) -> None:
    name = f"{NAME}/region:rows:batch on {place}"
    mine = results(f"region:rows:batch on {place}", 9, Outcome.FAIL)
    mine[0] = dataclasses.replace(mine[0], message=f"{name}: 3 of 9 elements are wrong")
    shown = [dataclasses.replace(r, id=f"regions-bool-{i}", dtype="bool", errors={f"{NAME}/region:rows:batch": 0.0},
                                 outcome=Outcome.PASS) for i, r in enumerate(mine)]  # fmt: skip
    made = verdicts(subject, [*mine, *shown], quick=False, seed=0)
    assert [(k.kernel, k.dtype, v.level, v.evidence) for k, v in made.items()] == [
        ("region:rows:batch", dtype, Claim.REFUTED, mine[0].id)
    ]


def test_a_family_that_takes_the_process_down_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_FAULT", "exits")
    job = Job("zoo-down-regions", "cpu:0", REGIONS, "float32", True, (ONE,))
    runner = Runner(60.0, (sys.executable, "-m", "tests.conformance.faulty_worker"))
    try:
        (found,) = runner.run(job)
    finally:
        runner.close()
    assert (found.outcome, list(found.errors)) == (Outcome.CRASH, ["zoo-down-regions/region:chain:canonical"])


def test_what_another_dtype_leads_is_no_claim_on_this_one(subject: Subject) -> None:
    assert found(subject, results("region:rows:canonical on bool", 9)) == {}


def test_a_certificate_tells_of_families(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opmux.conformance.certificates.reconcile.all_pairs", lambda: [(REGIONS, "float32")])
    wrong = results("region:rows:canonical", 9, Outcome.FAIL)
    made = certify(Report((NAME,), tuple(wrong), subjects=(subject,), begun="2026-01-01T00:00:00+00:00"), subject)
    (row,) = made.ops
    assert [(k.name, k.declared, k.determinism) for k in row.kernels] == [
        (f"{NAME}/region:rows:canonical", True, "canonical")
    ]
    assert [(c.kernel, c.op, c.dtype, c.level) for c in made.claims] == [
        ("region:rows:canonical", REGIONS, "float32", "refuted")
    ]


def test_the_command_selects_regions_and_reports_their_families() -> None:
    with registered(NAME, Twin(regions=Regions)):
        report = run(Selection((NAME,), ops=(REGIONS,), dtypes=("bool",), isolate=False))
    assert report.exit_code == 0
    kernels = {c["kernel"] for c in report.to_dict()["cases"]}
    assert f"{NAME}/region:chain:canonical" in kernels


def test_the_tables_are_whole() -> None:
    labels = [(row.kind, row.label) for row in rows()]
    assert len(set(labels)) == len(labels) > 150
    assert {t for row in rows() for t in row.dtypes} == set(DTYPES)
    assert all(BY_NAME[t] for t in FLOATS.split())


@pytest.mark.parametrize("text", ["4x", "x4", "4 float33", "4 5", ""])
def test_an_operand_that_names_nothing_is_told(text: str) -> None:
    with pytest.raises(ArgumentError, match="operand"):
        Operand.parse(text)


def test_hard_operands_hold_what_they_are_called_for() -> None:
    x = Operand.parse("1500 hard").host(ox.float32, 0)
    assert np.isnan(x).any()
    assert np.isinf(x).any()
    assert ((x == 0) & np.signbit(x)).any()
    assert ((np.abs(x) < np.finfo(np.float32).tiny) & (x != 0)).any()
