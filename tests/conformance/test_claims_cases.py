"""Both sides of claims: declared and declined, working and undeclared, promised and impossible or not kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from opmux.conformance.cases.enumerate import cases
from opmux.conformance.results.outcome import Outcome
from opmux.conformance.running.execute import execute
from opmux.conformance.running.isolation import Job
from opmux.conformance.target import targets
from opmux.plugin import Accepts, CallSpec, Determinism, Kernel, Prepared, Promises, Reason, Rejection
from tests.conformance.zoo import Zoo, registered

NOTHING = Promises()
Prepare = Callable[[CallSpec], Prepared | Rejection]


def _computed(compute: Callable[..., Any], widths: frozenset[str] = frozenset()) -> Prepare:
    """A kernel's prepare, which declines dtypes outside of *widths* where there are some."""

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        if widths and spec.arrays[0].dtype.name not in widths:
            return Rejection(Reason.DTYPE, f"it takes {', '.join(sorted(widths))}")

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            with np.errstate(all="ignore"):
                outs[0].host[...] = compute(*[x.host for x in ins])

        return Prepared(launch)

    return prepare


def _kernel(prepare: Prepare, *dtypes: str, op: str = "exp", promises: Promises = NOTHING) -> Kernel:
    return Kernel(op, op, "cpu", prepare, Accepts((frozenset(dtypes),) if dtypes else ()), promises)


def _exp(x: Any) -> Any:
    return np.exp(x.astype(np.float64))


def _outcome(name: str, case: str, kernel: Kernel) -> tuple[Outcome, str]:
    with registered(name, Zoo([kernel])):
        op, dtype = case.split("-")[:2]
        (found,) = (c for c in cases(op, dtype) if c.id == case)
        result = execute(found, targets(name)[0], Job(name, "cpu:0", op, dtype, False, ()))
    return result.outcome, result.message


def test_declared_and_declined_is_a_failure() -> None:
    kernel = _kernel(_computed(_exp, frozenset({"float64"})), "float32", "float64")
    outcome, message = _outcome("claims-declines", "exp-float32-claims-declared", kernel)
    assert outcome is Outcome.FAIL
    assert "declares float32" in message


def test_declared_and_served_passes() -> None:
    kernel = _kernel(_computed(_exp), "float32", "float64")
    assert _outcome("claims-serves", "exp-float32-claims-declared", kernel) == (Outcome.PASS, "")


def test_a_dtype_that_is_not_declared_is_no_claim() -> None:
    kernel = _kernel(_computed(_exp), "float64")
    assert _outcome("claims-none", "exp-float32-claims-declared", kernel)[0] is Outcome.UNSUPPORTED


def test_working_and_undeclared_is_an_under_claim() -> None:
    outcome, message = _outcome("claims-modest", "exp-float32-claims-undeclared", _kernel(_computed(_exp), "float64"))
    assert outcome is Outcome.UNDER_CLAIM
    assert "claims-modest/exp does not declare float32" in message


@pytest.mark.parametrize("compute", [lambda x: np.zeros(x.shape), lambda x: np.exp(x) * 1.01], ids=["zeros", "off"])
def test_wrong_on_what_is_not_declared_is_no_claim(compute: Callable[..., Any]) -> None:
    kernel = _kernel(_computed(compute), "float64")
    assert _outcome("claims-wrong", "exp-float32-claims-undeclared", kernel)[0] is Outcome.PASS


def test_declining_what_is_not_declared_is_honest() -> None:
    kernel = _kernel(_computed(_exp, frozenset({"float64"})), "float64")
    assert _outcome("claims-honest", "exp-float32-claims-undeclared", kernel)[0] is Outcome.PASS


def test_a_kernel_that_takes_halves_for_doubles_stays_in_its_own_memory() -> None:
    def as_doubles(spec: CallSpec) -> Prepared:
        import ctypes

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            ctypes.memmove(outs[0].ptr, ins[0].ptr, outs[0].size * 8)

        return Prepared(launch)

    kernel = _kernel(as_doubles, "float64")
    assert _outcome("claims-doubles", "exp-float16-claims-undeclared", kernel)[0] is Outcome.PASS


@pytest.mark.parametrize(
    ("promises", "says"),
    [
        (Promises(determinism=Determinism.CANONICAL, order="mine"), "'mine'"),
        (Promises(max_ulp={"float32": 40.0}), "the op demands"),
        (Promises(max_ulp={"float32": -1.0}), "nothing keeps"),
        (Promises(determinism=Determinism.BATCH), "names no order"),
    ],
    ids=["order", "looser", "negative", "no-order"],
)
def test_a_promise_that_cannot_be_kept_is_a_failure(promises: Promises, says: str) -> None:
    kernel = _kernel(_computed(_exp), "float32", promises=promises)
    outcome, message = _outcome("claims-promises", "exp-float32-claims-promises", kernel)
    assert outcome is Outcome.FAIL
    assert says in message


@pytest.mark.parametrize(("bound", "outcome"), [(0.2, Outcome.FAIL), (0.51, Outcome.PASS)])
def test_a_promised_largest_error_is_held_to_the_samples(bound: float, outcome: Outcome) -> None:
    kernel = _kernel(_computed(_exp), "float32", promises=Promises(max_ulp={"float32": bound}))
    found, message = _outcome("claims-ulp", "exp-float32-claims-max-ulp", kernel)
    assert found is outcome
    if outcome is Outcome.FAIL:
        assert "promises 0.2 at most" in message


def test_a_rejection_without_a_reason_is_a_failure() -> None:
    kernel = _kernel(lambda spec: Rejection(Reason.DECLINED, ""), "float32")
    outcome, message = _outcome("claims-mute", "exp-float32-values", kernel)
    assert outcome is Outcome.FAIL
    assert "does not say why" in message


def test_every_kernel_of_a_backend_is_held_to_the_oracle() -> None:
    """The dispatcher prepares only the cheapest kernel; a dearer one that is wrong must not pass unseen."""
    right = Kernel("exp.right", "exp", "cpu", _computed(_exp), priority=1)
    wrong = Kernel("exp.wrong", "exp", "cpu", _computed(lambda x: np.exp(x) * 1.01))
    with registered("claims-second", Zoo([right, wrong])) as name:
        (found,) = (c for c in cases("exp", "float32") if c.id == "exp-float32-values-grid")
        result = execute(found, targets(name)[0], Job(name, "cpu:0", "exp", "float32", False, ()))
    assert result.outcome is Outcome.FAIL
    assert "exp.wrong" in result.message
