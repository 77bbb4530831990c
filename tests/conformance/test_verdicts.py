"""What a run shows or refutes reaches the dispatcher, is kept for the implementation tried, and for no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.results.subject import Subject
from opmux.conformance.results.verdicts import verdicts
from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection
from opmux.conformance.target import targets
from opmux.core.dispatch.claims import CLAIMS, ClaimKey, Verdict
from opmux.core.dispatch.decision import Claim
from opmux.core.errors import UnsupportedError
from opmux.core.plugins import proofs
from opmux.plugin import Promises
from tests.conformance.zoo import TWINS, Zoo, kernel, registered, sign_of_zero

CASES = Selection(ops=("hypot",), dtypes=("float32",), isolate=False)


@pytest.fixture
def twin() -> Iterator[str]:
    promising = replace(kernel("hypot", TWINS["hypot"]), promises=Promises(max_ulp={"float32": 0.5}))
    with registered("twin-claims", Zoo([promising, kernel("multiply", sign_of_zero)])) as name:
        yield name


def _found(name: str, results: tuple[CaseResult, ...], quick: bool = False) -> dict[tuple[str, str], Verdict]:
    (target,) = targets(name)
    made = verdicts(Subject.of(target), results, quick=quick, seed=0)
    return {(key.kernel, key.dtype): verdict for key, verdict in made.items()}


def test_passing_whole_shows_a_kernel_and_its_worst_error(twin: str) -> None:
    shown = _found(twin, run(replace(CASES, backends=(twin,))).cases)["hypot", "float32"]
    assert shown.level is Claim.SHOWN
    assert shown.max_ulp is not None
    assert 0.49 < shown.max_ulp <= 0.5


def test_failing_refutes_and_names_the_case(twin: str) -> None:
    results = run(replace(CASES, backends=(twin,), ops=("multiply",))).cases
    refuted = _found(twin, results)["multiply", "float32"]
    assert (refuted.level, refuted.max_ulp) == (Claim.REFUTED, None)
    assert refuted.evidence.startswith("multiply-float32-")


@pytest.mark.parametrize("left_out", ["one case", "quick", "not run", "waived"])
def test_less_than_all_shows_nothing(twin: str, left_out: str) -> None:
    results = run(replace(CASES, backends=(twin,))).cases
    if left_out == "one case":
        results = results[:-1]
    elif left_out != "quick":
        results = (results[0].turned(Outcome.NOT_RUN if left_out == "not run" else Outcome.WAIVED, ""), *results[1:])
    assert _found(twin, results, quick=left_out == "quick") == {}


def test_a_crash_refutes_whatever_served_the_op(twin: str) -> None:
    results = run(replace(CASES, backends=(twin,))).cases
    crashed = (replace(results[0], outcome=Outcome.CRASH, errors={}), *results[1:])
    assert _found(twin, crashed)["hypot", "float32"].level is Claim.REFUTED


def test_shown_claims_serve_tighter_demands_and_refuted_ones_none(twin: str) -> None:
    x = ox.asarray(np.ones(4, np.float32))
    (target,) = targets(twin)
    with ox.policy(backends={twin}, fallback="forbid", max_ulp=0.5), pytest.raises(UnsupportedError):
        ox.hypot(x, x)
    report = run(replace(CASES, backends=(twin,)))
    proofs.keep(twin, "0", None, verdicts(Subject.of(target), report.cases, quick=False, seed=0))
    with ox.policy(backends={twin}, fallback="forbid", max_ulp=0.5):
        assert ox.hypot(x, x).numpy()[0] == np.float32(np.sqrt(2))
    CLAIMS.record({ClaimKey(twin, "0", "hypot", "float32", target.device.info.name): Verdict(Claim.REFUTED)})
    with ox.policy(backends={twin}, fallback="forbid"), pytest.raises(UnsupportedError, match="refuted"):
        ox.hypot(x, x)


def test_what_was_found_is_kept_for_these_files_alone(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("A = 1\n")
    key = ClaimKey("acme", "1.2", "exp", "float32", "a card")
    proofs.keep("acme", "1.2", tmp_path, {key: Verdict(Claim.SHOWN, 0.75)})
    CLAIMS.clear()
    proofs.recall("acme", "1.2", tmp_path)
    assert (CLAIMS.verdict(key).level, CLAIMS.verdict(key).max_ulp) == (Claim.SHOWN, 0.75)
    CLAIMS.clear()
    proofs.recall("acme", "1.3", tmp_path)
    assert CLAIMS.verdict(key).level is Claim.DECLARED
    (tmp_path / "kernels.py").write_text("A = 2\n")
    proofs.recall("acme", "1.2", tmp_path)
    assert CLAIMS.verdict(key).level is Claim.DECLARED


def test_a_later_run_adds_to_what_was_kept(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("A = 1\n")
    exp, log = (ClaimKey("acme", "1.2", op, "float32", "a card") for op in ("exp", "log"))
    proofs.keep("acme", "1.2", tmp_path, {exp: Verdict(Claim.SHOWN)})
    proofs.keep("acme", "1.2", tmp_path, {log: Verdict(Claim.REFUTED)})
    CLAIMS.clear()
    proofs.recall("acme", "1.2", tmp_path)
    assert (CLAIMS.verdict(exp).level, CLAIMS.verdict(log).level) == (Claim.SHOWN, Claim.REFUTED)
