"""What becomes of backends that refuse, have little, claim much, or leave an op to its decomposition."""

from __future__ import annotations

from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection
from opmux.plugin import CallSpec, Kernel, Prepared
from tests.conformance.zoo import TWINS, Zoo, kernel, registered


def _run(backend: str, op: str, dtype: str, *cases: str) -> dict[str, tuple[str, str]]:
    report = run(Selection((backend,), ops=(op,), dtypes=(dtype,), cases=cases, isolate=False))
    return {c.id: (c.outcome.value, c.message) for c in report.cases}


def test_refusing_with_another_exception_is_a_failure() -> None:
    def prepare(spec: CallSpec) -> Prepared:
        raise ValueError("not today")

    with registered("zoo-refusal", Zoo([Kernel("exp", "exp", "cpu", prepare)])) as name:
        outcome, message = _run(name, "exp", "float32", "exp-float32-values")["exp-float32-values"]
    assert outcome == "fail"
    assert "returning a Rejection" in message


def test_an_op_without_kernels_is_unsupported() -> None:
    with registered("zoo-other", Zoo([kernel("exp", TWINS["exp"])])) as name:
        found = _run(name, "matmul", "float32", "matmul-float32-values-square")
    assert found["matmul-float32-values-square"][0] == "unsupported"


def test_claiming_a_profile_and_refusing_a_part_of_it_fails() -> None:
    with registered("zoo-claims", Zoo([kernel("add", TWINS["add"])], ("core-f32",))) as name:
        found = _run(name, "matmul", "float32", "matmul-float32-values-square")
    outcome, message = found["matmul-float32-values-square"]
    assert outcome == "fail"
    assert "claims core-f32" in message


def test_a_decomposition_into_own_kernels_is_reported_as_one() -> None:
    with registered("zoo-square", Zoo([kernel("multiply", TWINS["multiply"])])) as name:
        report = run(Selection((name,), ops=("square",), dtypes=("float32",), isolate=False))
    ran = {c.kernel for c in report.cases if c.outcome.value == "pass" and c.kind == "values"}
    assert ran == {"decomposition of zoo-square/multiply"}
