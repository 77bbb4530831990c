"""The cases of the collectives: what they expect, what they catch, and how they count."""

from __future__ import annotations

from collections.abc import Iterable

import ml_dtypes
import numpy as np
import pytest

from opmux.conformance.cases.collectives import calls, checks, expected, into
from opmux.conformance.cases.collectives.ranks import ranks_of
from opmux.conformance.cases.enumerate import all_pairs, case_ids
from opmux.conformance.planted.judge import execute_all, registered
from opmux.conformance.planted.twin.accelerator import Accelerator
from opmux.conformance.planted.twin.backend import Twin
from opmux.conformance.planted.twin.run import null
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.results.profiles import verdict_of
from opmux.conformance.results.subject import Subject
from opmux.conformance.results.verdicts import verdicts
from opmux.conformance.target import Target, only, targets
from opmux.core.devices.device import DEVICES
from opmux.core.dispatch.decision import Claim
from opmux.core.dtypes import bfloat16, float32
from opmux.core.errors import ConformanceError
from opmux.core.op import COLLECTIVES
from opmux.core.runtime import ensure_loaded

ALL_REDUCE = COLLECTIVES["all_reduce"]


@pytest.fixture
def numpy_target() -> Target:
    """The reference backend on the host."""
    ensure_loaded()
    return next(iter(targets("numpy")))


def on_twin(twin: Twin, ids: Iterable[str]) -> list[CaseResult]:
    """Return what becomes of cases on a twin."""
    with registered("twin", twin) as name:
        return list(execute_all(name, ids))


def test_every_collective_has_cases_on_every_dtype() -> None:
    pairs = set(all_pairs())
    for op in COLLECTIVES:
        if op.name in calls.COVERED:
            assert {(op.name, t.name) for t in op.declaration.dtypes} <= pairs  # type: ignore[attr-defined]
    assert {"all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "permute"} <= calls.COVERED


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_ids_name_ranks_and_reduction(n: int) -> None:
    assert f"all_reduce-float32-values-ranks{n}-sum" in case_ids("all_reduce", "float32")
    assert f"permute-bool-values-ranks{n}" in case_ids("permute", "bool")


@pytest.mark.parametrize("op", sorted(calls.COVERED))
def test_memory_that_is_given_and_large_messages_have_cases(op: str) -> None:
    found = {i.partition(f"{op}-float32-")[2] for i in case_ids(op, "float32")}
    given = {"out-other-memory"} | ({"out-operands"} if op in into.IN_OPERANDS else set())
    labels = ["ranks2-sum", "ranks3-max"] if calls.is_reduction(COLLECTIVES[op]) else ["ranks2", "ranks3"]
    assert given | {f"large-{label}" for label in labels} <= found


def test_sums_of_large_messages_are_exact() -> None:
    given = calls.streamed(ALL_REDUCE, 3, "sum")
    whole = given.operands[0] + given.operands[1] + given.operands[2]
    assert np.array_equal(whole, np.sum(given.operands, axis=0, dtype=np.float64))
    assert whole.size % 2 == 1


@pytest.mark.parametrize("op", ["all_reduce", "broadcast"])
def test_a_kernel_may_write_over_operands_that_were_given(numpy_target: Target, op: str) -> None:
    """The cases of ``out=`` are about memory that is written in place: the core gives a kernel no other."""
    seen: list[bool] = []
    given = calls.of(COLLECTIVES[op], float32, 3, "sum" if op == "all_reduce" else "", 0)[0]

    def attempt(way: into.Way) -> None:
        arrays = checks.upload(given, way.mesh)
        before = [x.ptr for x in arrays]
        seen.append([x.ptr for x in way.call(arrays, arrays)] == before)

    with only("numpy"), ranks_of(numpy_target, 3) as ranks:
        into.each(numpy_target, COLLECTIVES[op], given, ranks, 0, attempt)
    assert seen[0]


def test_guards_are_gone_after_a_case(numpy_target: Target) -> None:
    driver = numpy_target.device.driver
    (found,) = execute_all("numpy", ["permute-float32-out-operands"])
    assert found.outcome is Outcome.PASS
    assert numpy_target.device.driver is driver


def test_sums_are_held_to_the_bound_of_the_accumulator() -> None:
    terms = [np.full(1, 1.0, ml_dtypes.bfloat16), np.full(1, 2.0**-9, ml_dtypes.bfloat16)] * 4
    (want, *_) = expected.expected(ALL_REDUCE, terms, {"reduction": "sum", "axis": None})
    assert want.check(np.array([4.0], ml_dtypes.bfloat16)) <= 1
    with pytest.raises(ConformanceError, match="times what the contract allows"):
        want.check(np.array([4.0625], ml_dtypes.bfloat16))


def test_integers_wrap() -> None:
    terms = [np.array([100], np.int8)] * 3
    (want, *_) = expected.expected(ALL_REDUCE, terms, {"reduction": "sum", "axis": None})
    assert want.want.tolist() == [44]
    with pytest.raises(ConformanceError):
        want.check(np.array([127], np.int8))


def test_the_canonical_tree_takes_neighbours_and_leaves_the_last_alone() -> None:
    big, one = np.float32(2**24), np.float32(1)
    terms = [np.array([x]) for x in (big, one, one, one, one)]
    bits = expected.canonical_bits(ALL_REDUCE, terms, {"reduction": "sum", "axis": None})
    assert bits[0].tolist() == [float(np.float32(np.float32(big + one) + np.float32(2)) + one)]


def test_the_canonical_tree_does_not_depend_on_who_holds_what() -> None:
    found = [
        expected.canonical_bits(ALL_REDUCE, given.operands, given.attributes)[0].tobytes()
        for counts in ((8,), (3, 3, 2), (1, 0, 5, 2), (1,) * 8)
        for given in [calls.spread(float32, "sum", counts)]
    ]
    assert len(set(found)) == 1


def test_minima_meet_zeros_of_both_signs_and_nan() -> None:
    (given, *_) = calls.of(ALL_REDUCE, float32, 2, "min", 0)
    first, second = (x.reshape(-1) for x in given.operands)
    assert any(a == b == 0 and np.signbit(a) != np.signbit(b) for a, b in zip(first, second, strict=True))
    assert any(np.isnan(a) and not np.isnan(b) for a, b in zip(first, second, strict=True))


def test_products_over_many_ranks_stay_finite() -> None:
    for given in calls.of(ALL_REDUCE, bfloat16, 8, "prod", 0):
        stacked = np.stack([x.astype(np.float64) for x in expected.contributions(ALL_REDUCE, *_of(given))])
        assert np.isfinite(np.prod(stacked, axis=0)).all()


def _of(given: calls.Call) -> tuple[tuple[np.ndarray, ...], dict[str, object]]:
    return given.operands, given.attributes


def test_hosts_are_there_for_the_time_of_a_case(numpy_target: Target) -> None:
    before = [d.name for d in DEVICES]
    with ranks_of(numpy_target, 4) as ranks:
        assert [d.name for d in ranks.own] == [f"cpu:{i}" for i in range(4)]
        assert [m.size for m in ranks.meshes(3)] == [3]
    assert [d.name for d in DEVICES] == before


def test_a_device_of_its_own_shares_meshes_with_hosts() -> None:
    with registered("twin", Twin(driver=Accelerator)) as name:
        (target,) = targets(name)
        with ranks_of(target, 3) as ranks:
            places = [[d.kind for d in m.local_devices] for m in ranks.meshes(3)]
    assert places == [["planted", "cpu", "cpu"], ["cpu", "cpu", "planted"]]


SOME = [
    "all_reduce-float32-values-ranks3-sum",
    "all_reduce-int8-values-ranks5-prod",
    "all_reduce-bfloat16-values-ranks8-sum",
    "all_reduce-float32-determinism-canonical",
    "all_reduce-float32-errors-lost",
    "reduce_scatter-bool-values-ranks4-max",
    "all_gather-float32-strides",
    "all_to_all-int32-values-ranks5",
    "broadcast-float32-values-groups",
    "permute-int32-values-handles",
    "all_reduce-float32-values-two-levels-2x3",
    "all_reduce-int32-large",
    "all_gather-float32-large-ranks3",
    "reduce_scatter-float32-large-ranks2-max",
    "all_reduce-bfloat16-out-operands",
    "all_to_all-float32-out-operands",
    "all_gather-bool-out-other-memory",
]


@pytest.mark.parametrize("driver", [None, Accelerator], ids=["cpu", "own device"])
def test_the_twin_passes(driver: type[Accelerator] | None) -> None:
    found = on_twin(Twin(driver=driver), SOME)
    assert [(r.id, r.message) for r in found if r.outcome is not Outcome.PASS] == []


def test_kernels_and_algorithms_both_run() -> None:
    (found,) = on_twin(Twin(), ["all_reduce-float32-values-ranks4-sum"])
    assert {"twin/all_reduce", "ring", "tree", "direct"} <= set(found.errors)


def test_the_null_backend_passes_nothing() -> None:
    ids = [
        i
        for op in sorted(calls.COVERED)
        for i in case_ids(op, "int32")
        if not any(f"-{kind}-" in i for kind in ("claims", "errors", "determinism")) and "-shapes-0" not in i
    ]
    ids = [i for i in ids if "-shapes-2x0x3" not in i and not i.startswith("all_to_all") and "ranks1" not in i]
    passed = [r.id for r in on_twin(null(), ids[::4]) if r.outcome is Outcome.PASS]
    assert passed == []


def test_a_backend_without_the_local_ops_is_refused_and_not_wrong() -> None:
    found = on_twin(Twin().only("negative"), ["all_reduce-float32-values-ranks3-sum", "permute-int32-values-ranks3"])
    assert [r.outcome for r in found] == [Outcome.UNSUPPORTED, Outcome.UNSUPPORTED]


def _results(pair: tuple[str, str], outcome: Outcome, kernel: str) -> list[CaseResult]:
    return [
        CaseResult(i, "numpy", *pair, i.split("-")[2], "cpu:0", outcome, {kernel: 0.0}, "exact", 1)
        for i in case_ids(*pair)
    ]


def test_a_kernel_that_passes_everything_is_shown(numpy_target: Target) -> None:
    subject = Subject.of(numpy_target)
    results = _results(("all_reduce", "float32"), Outcome.PASS, "numpy/all_reduce.fused")
    (found,) = verdicts(subject, results, quick=False, seed=0).values()
    assert found.level is Claim.SHOWN


def test_a_failing_algorithm_does_not_refute_the_kernel(numpy_target: Target) -> None:
    subject = Subject.of(numpy_target)
    results = _results(("all_reduce", "float32"), Outcome.PASS, "numpy/all_reduce.fused")
    wrong = _results(("all_reduce", "float32"), Outcome.FAIL, "ring")[0]
    assert Claim.REFUTED not in [v.level for v in verdicts(subject, [wrong], quick=True, seed=0).values()]
    assert verdicts(subject, [wrong, *results[1:]], quick=False, seed=0) == {}


def test_the_profile_counts_collectives() -> None:
    pairs = [(op, t) for op in calls.COVERED for t in ("float32", "int32", "bool")]
    results = [r for pair in pairs for r in _results(pair, Outcome.PASS, "numpy/x")]
    verdict = verdict_of("numpy", "cpu:0", "collectives", results, claimed=True, seed=0)
    assert verdict is not None
    assert (verdict.passed, verdict.of, verdict.whole) == (6, 6, True)
    broken = [r.turned(Outcome.FAIL, "wrong") if r.op == "permute" else r for r in results]
    verdict = verdict_of("numpy", "cpu:0", "collectives", broken, claimed=True, seed=0)
    assert verdict is not None
    assert (verdict.passed, verdict.missing) == (5, ("permute",))


def test_a_bit_of_a_nan_that_is_lost_in_movement_is_told() -> None:
    quiet = np.array([0x7FC00001, 0x7F800001], np.uint32).view(np.float32)
    (want, *_) = expected.expected(COLLECTIVES["broadcast"], [quiet, quiet], {"root": 0})
    assert want.check(quiet.copy()) == 0
    with pytest.raises(ConformanceError, match="1 of 2 elements are wrong"):
        want.check(np.array([0x7FC00001, 0x7FC00001], np.uint32).view(np.float32))
