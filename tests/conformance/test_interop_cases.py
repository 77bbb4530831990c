"""The cases of what goes between devices and libraries, and the profile that they belong to."""

from __future__ import annotations

import numpy as np
import pytest

from opmux.conformance.cases.devices import interop
from opmux.conformance.cases.enumerate import case_ids
from opmux.conformance.planted.judge import execute_all, registered
from opmux.conformance.planted.twin.accelerator import Accelerator
from opmux.conformance.planted.twin.backend import Twin
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.results.profiles import demanded_by, demands, verdict_of
from opmux.conformance.running.selection import Selection, chosen_cases
from opmux.conformance.target import Findings
from opmux.core.devices.device import DEVICES, find_device
from opmux.core.errors import ConformanceError
from opmux.core.runtime import several_hosts

PAIR = ("device", "any")
IDS = [i for i in case_ids(*PAIR) if "-interop-" in i]


@pytest.mark.parametrize("driver", [None, Accelerator], ids=["cpu", "own device"])
def test_the_twin_passes(driver: type[Accelerator] | None) -> None:
    with registered("twin", Twin(driver=driver)) as name:
        found = list(execute_all(name, [i for i in IDS if not i.endswith("everywhere")]))
    assert [(r.id, r.message) for r in found if r.outcome is not Outcome.PASS] == []


def test_another_host_is_a_partner_of_the_host() -> None:
    with several_hosts(2):
        assert [d.name for d in interop.partners(find_device("cpu:0"))] == ["cpu:1"]


def test_the_host_is_a_partner_of_a_device() -> None:
    with registered("twin", Twin(driver=Accelerator)):
        device = next(d for d in DEVICES if d.kind == "planted")
        assert [d.name for d in interop.partners(device)] == ["cpu:0"]


def test_a_copy_that_changes_a_byte_is_told() -> None:
    class Odd(Accelerator):
        def upload(self, handle, offset, source, queue):  # type: ignore[no-untyped-def]
            super().upload(handle, offset, source ^ np.uint8(1), queue)

    with registered("twin", Twin(driver=Odd)):
        device = next(d for d in DEVICES if d.kind == "planted")
        with pytest.raises(ConformanceError, match="from planted:0 to cpu:0"):
            interop.between(device, find_device("cpu:0"), Findings(), 0)


def test_all_installed_devices_are_tried_in_a_process_of_their_own() -> None:
    (found,) = execute_all("numpy", ["device-any-interop-everywhere"])
    assert (found.outcome, found.message) == (Outcome.PASS, "")


def _results(outcome: Outcome, kinds: tuple[str, ...]) -> list[CaseResult]:
    return [
        CaseResult(i, "acme", *PAIR, i.split("-")[2], "acme:0", outcome, assertions=1)
        for i in case_ids(*PAIR)
        if i.split("-")[2] in kinds
    ]


def test_the_profile_demands_queues_and_interop_alone() -> None:
    assert demanded_by("async") == {PAIR}
    assert [k for k in ("queues", "interop", "memory", "faults") if demands("async", "device", k)] == [
        "queues", "interop",
    ]  # fmt: skip
    chosen = chosen_cases(Selection(("numpy",), "async"))
    assert {i.split("-")[2] for i in chosen[PAIR]} == {"queues", "interop"}


def test_the_profile_counts_kinds() -> None:
    results = _results(Outcome.PASS, ("queues", "interop"))
    verdict = verdict_of("acme", "acme:0", "async", results, claimed=True, seed=0)
    assert verdict is not None
    assert (verdict.passed, verdict.of, verdict.whole, verdict.passed_whole) == (2, 2, True, True)


def test_a_failure_elsewhere_is_none_of_the_profile() -> None:
    results = _results(Outcome.PASS, ("queues",)) + _results(Outcome.FAIL, ("interop", "memory"))
    verdict = verdict_of("acme", "acme:0", "async", results, claimed=True, seed=0)
    assert verdict is not None
    assert (verdict.passed, verdict.of, verdict.missing) == (1, 2, ("interop",))


def test_other_profiles_demand_all_of_a_device() -> None:
    assert demands("core-f32", "device", "memory")
    assert not demands("collectives", "device", "memory")
    assert demanded_by("collectives") == {p for p in demanded_by("collectives") if p[0] != "device"}
