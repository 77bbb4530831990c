"""Collectives over devices of one process: every kernel and every algorithm gives what the reference says."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.collectives.rank_plan import plan_rank
from opmux.core.dispatch.claims import Claim, ClaimKey, Verdict
from opmux.core.errors import ArgumentError
from opmux.core.kernel import Rejection
from opmux.core.op import COLLECTIVES, public_of
from opmux.core.plugins import manager
from opmux.opset.collectives import call, processes, values
from opmux.opset.collectives.algorithms import ALGORITHMS
from opmux.opset.collectives.call import axis_first, spec_first, specs_of_all
from opmux.opset.collectives.problem import Problem
from opmux.plugin import (
    Accepts,
    CallSpec,
    CostTerms,
    Determinism,
    Kernel,
    Layout,
    Prepared,
    Promises,
    hookimpl,
)
from tests.collectives.loop import Loop, job
from tests.core.claimed import claimed

Array = np.ndarray[Any, Any]

CALLS: list[tuple[str, dict[str, Any]]] = [
    *(("all_reduce", {"reduction": r}) for r in ("sum", "prod", "min", "max")),
    ("all_reduce", {"axis": 0}),
    ("all_reduce", {"axis": -1, "reduction": "max"}),
    ("reduce_scatter", {"axis": 1}),
    ("reduce_scatter", {"reduction": "min"}),
    ("all_gather", {"axis": 1}),
    ("all_to_all", {"axis": 0}),
    ("all_to_all", {"axis": 1}),
    ("broadcast", {"root": 1}),
    ("permute", {"pairs": ((0, 1), (1, 0))}),
]
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in given.items())}" for name, given in CALLS]


def operands(hosts: tuple[ox.Device, ...], n: int, dtype: ox.DType, shape: tuple[int, ...] = (5, 3)) -> list[ox.Array]:
    rng = np.random.default_rng(n)
    return [ox.asarray(rng.integers(0, 3, shape), dtype=dtype, device=d) for d in hosts[:n]]


def reference(name: str, given: dict[str, Any], arrays: list[ox.Array]) -> list[Any]:
    """The declared meaning, on float64."""
    op = COLLECTIVES[name]
    defaults = {p.name: p.default for p in op.parameters[2:]}
    hosts = [x.numpy() if x.dtype == ox.bool else x.numpy().astype(np.float64) for x in arrays]
    found: list[Any] = op.declaration.body(np, hosts, None, **{**defaults, **given})  # type: ignore[attr-defined]
    return found


def same(found: list[ox.Array], wanted: list[Any]) -> None:
    assert [y.shape for y in found] == [w.shape for w in wanted]
    for y, w in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(y.numpy().astype(np.float64), np.asarray(w, np.float64))


@pytest.mark.parametrize(("name", "given"), CALLS, ids=IDS)
@pytest.mark.parametrize("n", [2, 3, 8])
def test_chosen_way_gives_the_reference(hosts: tuple[ox.Device, ...], name: str, given: dict[str, Any], n: int) -> None:
    arrays = operands(hosts, n, ox.float32)
    found = public_of(COLLECTIVES[name])(arrays, ox.Mesh(hosts[:n]), **given)
    assert [y.device for y in found] == list(hosts[:n])
    same(found, reference(name, given, arrays))


def problem_of(name: str, given: dict[str, Any], arrays: list[ox.Array], mesh: ox.Mesh) -> Problem:
    op = COLLECTIVES[name]
    attributes = {**{p.name: p.default for p in op.parameters[2:]}, **given}
    local = [spec_first(op, x._sig, attributes.get("axis")) for x in arrays]
    made: Problem = op.declaration.rule(name, specs_of_all(op, local, mesh, attributes), attributes)  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(("name", "given"), [c for c in CALLS if c[1].get("axis") in (None, 0)])
@pytest.mark.parametrize("dtype", [ox.bfloat16, ox.int8, ox.bool], ids=str)
def test_every_algorithm_gives_the_reference(
    hosts: tuple[ox.Device, ...], name: str, given: dict[str, Any], dtype: ox.DType
) -> None:
    tried = []
    for n in (2, 3, 4):
        arrays = operands(hosts, n, dtype)
        problem = problem_of(name, given, arrays, ox.Mesh(hosts[:n]))
        for algorithm in ALGORITHMS[name]:
            schedule = algorithm.build(n, **problem.arguments)
            if isinstance(schedule, Rejection):
                continue
            moved = [axis_first(COLLECTIVES[name], x, given.get("axis")) for x in arrays]
            same(values.run(schedule, problem, moved), reference(name, given, arrays))
            tried.append(algorithm.name)
    assert len(set(tried)) >= 1


def tree(terms: list[Any]) -> Any:
    """The canonical order, written apart from the code under test."""
    while len(terms) > 1:
        pairs = [terms[i] + terms[i + 1] for i in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


@pytest.mark.parametrize("spread", [(8,), (4, 4), (3, 3, 2), (2, 2, 2, 2), (1,) * 8, (5, 0, 3), (1, 7)], ids=str)
def test_same_contributions_give_the_same_bits_however_they_are_spread(
    hosts: tuple[ox.Device, ...], spread: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(7)
    blocks = (rng.standard_normal((8, 1000)) * 10.0 ** rng.integers(-6, 6, (8, 1000))).astype(np.float32)
    cuts = np.cumsum(spread)[:-1]
    arrays = [ox.asarray(b, device=d) for b, d in zip(np.split(blocks, cuts), hosts, strict=False)]
    with ox.policy(determinism="canonical"):
        found = ox.all_reduce(arrays, ox.Mesh(hosts[: len(spread)]), axis=0)
    for y in found:
        np.testing.assert_array_equal(y.numpy().view(np.int32), tree(list(blocks)).view(np.int32))


def test_narrow_floats_are_rounded_once(hosts: tuple[ox.Device, ...]) -> None:
    # 256 + 1 + 1 is 258 in bfloat16, but 256 where every step is rounded.
    arrays = [ox.asarray([v], dtype=ox.bfloat16, device=d) for v, d in zip((256.0, 1.0, 1.0), hosts, strict=False)]
    for y in ox.all_reduce(arrays, ox.Mesh(hosts[:3])):
        assert y.tolist() == [258.0]


@pytest.mark.parametrize("lengths", [(0, 3, 1), (2, 0, 0), (0, 0, 0)])
def test_uneven_and_empty_arrays_are_joined(hosts: tuple[ox.Device, ...], lengths: tuple[int, ...]) -> None:
    arrays = [ox.full((n, 2), i, device=d) for i, (n, d) in enumerate(zip(lengths, hosts, strict=False))]
    wanted = [[float(i)] * 2 for i, n in enumerate(lengths) for _ in range(n)]
    for y in ox.all_gather(arrays, ox.Mesh(hosts[:3])):
        assert (y.tolist(), y.shape) == (wanted, (sum(lengths), 2))


def test_an_uneven_exchange_gives_each_rank_what_is_its(hosts: tuple[ox.Device, ...]) -> None:
    arrays = [ox.asarray([0, 1, 2], device=hosts[0]), ox.asarray([10], device=hosts[1])]
    found = ox.all_to_all(arrays, ox.Mesh(hosts[:2]), sizes=[[1, 2], [1, 0]])
    assert [y.tolist() for y in found] == [[0, 10], [1, 2]]


def test_a_rank_that_is_no_target_gets_zeros(hosts: tuple[ox.Device, ...]) -> None:
    arrays = [ox.asarray([5], device=hosts[0]), ox.asarray([6], device=hosts[1])]
    assert [y.tolist() for y in ox.permute(arrays, ox.Mesh(hosts[:2]), pairs=[(0, 1)])] == [[0], [5]]


def test_one_array_by_itself_gives_one_by_itself() -> None:
    y = ox.all_reduce(ox.asarray([1.5]), ox.Mesh(["cpu:0"]))
    assert y.tolist() == [1.5]


def test_a_handle_gives_the_results_later(hosts: tuple[ox.Device, ...]) -> None:
    arrays = [ox.asarray([1.0], device=d) for d in hosts[:2]]
    handle = ox.all_reduce(arrays, ox.Mesh(hosts[:2]), wait=False)
    assert handle.done()
    assert [y.tolist() for y in handle.wait()] == [[2.0], [2.0]]


def test_explain_shows_kernels_beside_algorithms(hosts: tuple[ox.Device, ...]) -> None:
    arrays = [ox.ones(1000, device=d) for d in hosts[:4]]
    shown = ox.explain(ox.all_reduce, arrays, ox.Mesh(hosts[:4]))
    assert {"numpy/all_reduce.fused", "ring", "doubling", "direct"} <= {row.candidate for row in shown.rows}
    assert all(row.seconds is not None and row.seconds > 0 for row in shown.rows if row.eligible)


def test_a_compiled_function_with_a_collective_runs_as_it_is() -> None:
    mesh = ox.Mesh(["cpu:0"])
    doubled = ox.compile(lambda x: ox.all_reduce(x * 2, mesh) + 1)
    assert doubled(ox.asarray([1.0, 2.0])).tolist() == [3.0, 5.0]


def test_calls_are_counted_like_any_other(hosts: tuple[ox.Device, ...]) -> None:
    arrays = [ox.ones(2, device=d) for d in hosts[:2]]
    with ox.count_calls() as seen:
        ox.all_reduce(arrays, ox.Mesh(hosts[:2]))
    assert [(c.decision.op.name, c.calls) for c in seen.most_expensive()][:1] == [("all_reduce", 1)]


def test_a_pin_names_an_algorithm_or_a_backend(hosts: tuple[ox.Device, ...]) -> None:
    arrays = [ox.ones(2, device=d) for d in hosts[:2]]
    for pin, chosen in (("ring", "ring"), ("numpy", "numpy/all_reduce.fused")):
        with ox.policy(pins={"all_reduce": pin}):
            assert ox.explain(ox.all_reduce, arrays, ox.Mesh(hosts[:2])).chosen == chosen


#: Cheaper than any other way.
CHEAP = CostTerms(compute=1e6, memory=1e6)


@contextmanager
def planted(*kernels: Kernel) -> Iterator[None]:
    """A backend with kernels of its own."""

    class Planted:
        @hookimpl
        def opmux_kernels(self) -> tuple[Kernel, ...]:
            return kernels

    manager.register("planted", Planted())
    try:
        yield
    finally:
        manager.unregister("planted")


@pytest.mark.parametrize(
    "prepare",
    [lambda spec: 1 / 0, lambda spec: None, lambda spec: Prepared(lambda *call: None, workspace=-1)],
    ids=["raises", "returns nothing", "returns nonsense"],
)
def test_a_fault_in_prepare_costs_its_kernel_and_not_the_call(hosts: tuple[ox.Device, ...], prepare: Any) -> None:
    arrays, mesh = [ox.asarray([1.0, 2.0], device=d) for d in hosts[:2]], ox.Mesh(hosts[:2])
    with planted(Kernel("broken", "all_reduce", "cpu", prepare, cost=CHEAP)):
        assert [y.tolist() for y in ox.all_reduce(arrays, mesh)] == [[2.0, 4.0]] * 2
        reasons = {row.candidate: row.reason for row in ox.explain(ox.all_reduce, arrays, mesh).rows}
        assert reasons["planted/broken"] == "prepare-failed"
        with ox.policy(pins={"all_reduce": "planted"}), pytest.raises(ox.UnsupportedError, match="prepare-failed"):
            ox.all_reduce(arrays, mesh)


def test_the_dearer_kernels_are_not_prepared(hosts: tuple[ox.Device, ...]) -> None:
    prepared: list[str] = []

    def noting(name: str) -> Callable[[CallSpec], Prepared]:
        def prepare(spec: CallSpec) -> Prepared:
            prepared.append(name)
            return Prepared(lambda outs, ins, workspace, queue: None)

        return prepare

    dear = Kernel("dear", "all_reduce", "cpu", noting("dear"), cost=CostTerms(launch=1.0))
    cheap = Kernel("cheap", "all_reduce", "cpu", noting("cheap"), cost=CHEAP)
    with planted(dear, cheap):
        explained = ox.explain(ox.all_reduce, [ox.ones(7, device=d) for d in hosts[:2]], ox.Mesh(hosts[:2]))
    assert (prepared, explained.chosen) == (["cheap"], "planted/cheap")
    assert all(row.seconds for row in explained.rows if row.eligible)
    assert "planted/dear" in {row.candidate for row in explained.rows if row.eligible}


def test_a_kernel_that_needs_aligned_operands_gets_copies(hosts: tuple[ox.Device, ...]) -> None:
    seen: list[bool] = []

    def prepare(spec: CallSpec) -> Prepared:
        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            seen.extend(x.ptr % 64 == 0 for x in ins)
            for y in outs:
                y.host[...] = sum(x.host for x in ins)

        return Prepared(launch)

    arrays = [ox.asarray([0.0, 1.0, 2.0], device=d)[1:] for d in hosts[:2]]
    aligned = Accepts(layout=Layout.CONTIGUOUS, aligned=True)
    with planted(Kernel("wide", "all_reduce", "cpu", prepare, aligned, cost=CostTerms(launch=-1.0))):
        assert ox.explain(ox.all_reduce, arrays, ox.Mesh(hosts[:2])).chosen == "planted/wide"
        assert [y.tolist() for y in ox.all_reduce(arrays, ox.Mesh(hosts[:2]))] == [[2.0, 4.0]] * 2
    assert seen == [True, True]


@pytest.mark.parametrize("determinism", ["threads", "batch"])
def test_one_order_binds_kernels_and_algorithms(hosts: tuple[ox.Device, ...], determinism: str) -> None:
    key = ClaimKey("planted", "0", "own", "float32", hosts[0].info.name)
    arrays, mesh = [ox.asarray([1.0, 2.0], device=d) for d in hosts[:2]], ox.Mesh(hosts[:2])
    own = Promises(order="own", determinism=Determinism.BATCH)
    kernel = Kernel("own", "all_reduce", "cpu", lambda spec: Prepared(lambda *call: None), promises=own, cost=CHEAP)
    with planted(kernel), ox.policy(determinism=determinism), claimed({key: Verdict(Claim.SHOWN)}):
        rows = {row.candidate: row for row in ox.explain(ox.all_reduce, arrays, mesh).rows}
    assert (rows["planted/own"].reason, "bound to canonical" in rows["planted/own"].detail) == ("determinism", True)


def test_the_dearer_algorithms_are_not_prepared(hosts: tuple[ox.Device, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[str] = []

    def noting(schedule: Any, *where: Any) -> Any:
        planned.append(schedule.algorithm)
        return plan_rank(schedule, *where)

    monkeypatch.setattr(processes, "plan_rank", noting)

    def program(loop: Loop) -> Any:
        mesh = ox.Mesh([hosts[loop.process]], communicator=loop, timeout=20.0)
        return ox.explain(ox.all_reduce, [ox.ones(7, device=hosts[loop.process])], mesh)

    for explained in job(2, program):
        assert sum(row.eligible and row.seconds is not None for row in explained.rows) > 1
        assert set(planned) == {explained.chosen}


def test_a_list_that_changes_during_its_call_changes_nothing(hosts: tuple[ox.Device, ...]) -> None:
    mesh, whole = ox.Mesh(hosts[:2]), operands(hosts, 2, ox.float32, (512,))
    given: list[ox.Array] = list(whole)

    class Sum(str):
        """A reduction that, where it is looked up, does what another thread may do then."""

        __eq__ = str.__eq__

        def __hash__(self) -> int:
            given[1:] = [ox.asarray([0.0], device=hosts[1])] if known else whole[1:]
            return str.__hash__(self)

    known = False
    want = ox.all_reduce(given, mesh, reduction=Sum("sum"))[0].tolist()
    known = True
    assert ox.all_reduce(given, mesh, reduction=Sum("sum"))[0].tolist() == want
    assert given[1].size == 1


@pytest.mark.parametrize("change", [lambda given: given.append(given[0]), lambda given: given.pop()])
def test_a_list_that_changes_its_length_during_its_call_is_refused(
    hosts: tuple[ox.Device, ...], change: Callable[[list[ox.Array]], Any]
) -> None:
    mesh, given = ox.Mesh(hosts[:2]), list(operands(hosts, 2, ox.float32, (4,)))
    at = 1 + next(n for n, line in enumerate(inspect.getsourcelines(call)[0]) if "x, y = operands" in line)
    lines = public_of(COLLECTIVES["all_reduce"]).__code__

    def other_thread(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code is lines and event == "line" and frame.f_lineno == at:
            change(given)
        return other_thread

    before = sys.gettrace()
    sys.settrace(other_thread)
    try:
        with pytest.raises(ArgumentError, match=r"\d arrays for the 2 local ranks"):
            ox.all_reduce(given, mesh)
    finally:
        sys.settrace(before)
    assert len(given) != 2
