"""Guard zones and garbage around every op: what a table of right values does not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.cases.devices import guard_zones, interception
from opmux.conformance.cases.enumerate import cases
from opmux.conformance.results.outcome import CaseResult
from opmux.conformance.running.execute import execute
from opmux.conformance.running.isolation import Job
from opmux.conformance.target import Target
from opmux.plugin import CallSpec, Kernel, Prepared
from tests.conformance.device_runs import target_of
from tests.conformance.zoo import Zoo, registered
from tests.remote import launch_plants


def guards(target: Target, op: str, t: str = "float32") -> CaseResult:
    case = next(c for c in cases(op, t) if c.id == f"{op}-{t}-memory-guards")
    return execute(case, target, Job(target.backend, target.device.name, op, t, False, (case.id,)))


@pytest.mark.parametrize("op", ["exp", "add", "sum", "matmul", "concat", "pad", "gather"])
@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_right_kernels_pass(backend: str, op: str) -> None:
    found = guards(target_of(backend), op)
    assert (found.outcome.value, found.message) == ("pass", "")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (launch_plants.past_the_end, "4 bytes behind one of"),
        (launch_plants.before_the_start, "4 bytes before one of"),
        (launch_plants.keeps_arrays, "stay allocated"),
        (launch_plants.scribbles, "operand 0 is not as it was"),
    ],
    ids=["end", "start", "keeps", "operand"],
)
@pytest.mark.parametrize("op", ["exp", "sum"])
def test_a_fault_of_a_launch_is_seen(fault: Callable[[], Any], says: str, op: str) -> None:
    target, faulty = target_of("numpy"), fault()

    def around(kernel: Kernel, right: Any) -> Any:
        return lambda *arguments: faulty(right, *arguments)

    with interception.kernels(target, around):
        found = guards(target, op)
    assert found.outcome.value == "fail"
    assert says in found.message


def test_a_device_has_its_own_driver_again_when_the_last_guarded_buffer_is_freed() -> None:
    device = target_of("numpy").device
    own = device.driver
    with guard_zones.guarded(device, 0xA5) as guards:
        kept = ox.asarray([1.0, 2.0], device=device)
    assert device.driver is guards
    assert kept.tolist() == [1.0, 2.0]
    del kept
    assert device.driver is own


def accumulating(start: Callable[[Any, Any], None], workspace: int = 0) -> Kernel:
    """A sum over everything that adds to what is there already."""

    def prepare(spec: CallSpec) -> Prepared:
        axes = spec.attributes["axis"]

        def launch(outs: Any, ins: Any, scratch: Any, queue: Any) -> None:
            found = np.sum(ins[0].host, axis=axes, keepdims=spec.attributes["keepdims"], dtype=np.float64)
            start(outs[0].host, None if scratch is None else scratch.host)
            outs[0].host[...] += found

        return Prepared(launch, workspace)

    return Kernel("sum", "sum", "cpu", prepare)


def zeroed(out: Any, scratch: Any) -> None:
    out[...] = 0


def from_scratch(out: Any, scratch: Any) -> None:
    out[...] = scratch.view(np.float32)[0]


@pytest.mark.parametrize(
    ("start", "workspace", "outcome"),
    [(zeroed, 0, "pass"), (lambda out, scratch: None, 0, "fail"), (from_scratch, 64, "fail")],
    ids=["zeroed", "output", "workspace"],
)
def test_memory_that_is_taken_for_zero_is_seen(start: Any, workspace: int, outcome: str) -> None:
    """Fresh memory often is zero: then such a kernel gives the right values."""
    with registered("zoo-sum", Zoo([accumulating(start, workspace)])) as name:
        assert guards(target_of(name), "sum").outcome.value == outcome
