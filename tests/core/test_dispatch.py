"""Choosing: candidates, reasons, policies, casts, copies, memos."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import opmux as ox
from opmux.core.dispatch.call import decide_call
from opmux.core.dispatch.decision import Kind
from opmux.core.dispatch.policy import current
from opmux.core.dispatch.scalars import constant
from opmux.core.op import OPS
from opmux.core.plugins import manager
from opmux.plugin import Accepts, CallSpec, CostTerms, Kernel, Layout, Prepared, Reason, Rejection
from tests.core.planted import Planted, filler

X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


@pytest.fixture
def planted() -> Iterator[None]:
    kernels = (
        Kernel("small", "add", "cpu", lambda spec: filler(7.0), Accepts(max_elements=2)),
        Kernel("picky", "add", "cpu", lambda spec: Rejection(Reason.DECLINED, "it never likes anything")),
        Kernel("broken", "add", "cpu", lambda spec: 1 / 0),  # type: ignore[arg-type, return-value]
        Kernel("integers", "add", "cpu", lambda spec: filler(8.0), Accepts(dtypes=(frozenset({"int32"}),))),
    )
    manager.register("planted", Planted(*kernels))
    yield
    manager.unregister("planted")


def reasons(*shape: int) -> dict[str, str]:
    explained = ox.explain("add", ox.zeros(shape), ox.zeros(shape))
    return {row.candidate: row.reason for row in explained.rows if row.reason is not None}


@pytest.mark.usefixtures("planted")
def test_every_rejection_has_its_reason_code() -> None:
    found = reasons(3)
    assert found["planted/small"] == "size"
    assert found["planted/picky"] == "declined"
    assert found["planted/broken"] == "prepare-failed"
    assert found["planted/integers"] == "dtype"


@pytest.mark.parametrize(
    ("missing", "said"), [(lambda device: f"{device} has no such library", "no such library"), (divmod, "not known")]
)
def test_what_a_device_lacks_is_told_of_dear_kernels_too(missing: Callable[[object], str | None], said: str) -> None:
    accepts = Accepts(dtypes=(frozenset({"float32"}),), missing=missing)
    dear = Kernel("dear", "add", "cpu", lambda spec: filler(7.0), accepts, cost=CostTerms(launch=1.0))
    manager.register("planted", Planted(dear))
    try:
        explained = ox.explain("add", ox.zeros((3,)), ox.zeros((3,)))
    finally:
        manager.unregister("planted")
    (row,) = (row for row in explained.rows if row.candidate == "planted/dear")
    assert (row.reason, said in str(explained)) == ("feature", True)


@pytest.mark.usefixtures("planted")
def test_a_pin_decides_and_the_others_say_so() -> None:
    with ox.policy(pins={"add": "planted"}):
        x = ox.asarray(X[0])
        explained = ox.explain("add", x, x)
        assert ox.add(x, x).tolist() == [7.0, 7.0]
    assert explained.chosen == "planted/small"
    assert {r.reason for r in explained.rows if r.candidate.startswith("numpy")} == {"policy-pin"}


@pytest.mark.usefixtures("planted")
def test_nothing_eligible_is_unsupported_with_all_reasons() -> None:
    x = ox.zeros(3)
    refused = pytest.raises(ox.UnsupportedError, match="prepare raised ZeroDivision")
    with ox.policy(pins={"add": "planted"}), refused as e:
        ox.add(x, x)
    assert e.value.reasons["planted/small"].reason is Reason.SIZE
    assert isinstance(e.value, NotImplementedError)


def test_a_registered_backend_changes_decisions_already_made() -> None:
    x = ox.asarray(X[0])
    assert ox.add(x, x).tolist() == [2.0, 4.0]
    cheap = Kernel("cheap", "add", "cpu", lambda spec: filler(9.0), priority=5)
    manager.register("planted", Planted(cheap))
    try:
        with ox.policy(backends="planted"):
            assert ox.add(x, x).tolist() == [9.0, 9.0]
    finally:
        manager.unregister("planted")
    assert ox.add(x, x).tolist() == [2.0, 4.0]


def test_equal_calls_share_one_decision() -> None:
    x, y = ox.asarray(X, copy=True), ox.asarray(X + 1, copy=True)
    first = decide_call(OPS["add"], (x, y), {})
    second = decide_call(OPS["add"], (y, x), {})
    assert first is second
    assert decide_call(OPS["add"], (x, ox.permute_dims(y, (1, 0))), {}) is not first


def test_values_are_no_part_of_a_signature() -> None:
    with ox.policy():
        x = ox.asarray(X)
        ox.add(x, 1.0)
        known = len(current().slot.tables.memo)
        ox.add(x, 2.0)
        assert len(current().slot.tables.memo) == known


def test_ties_are_broken_by_priority_then_name() -> None:
    def same(name: str, value: float, priority: int = 0) -> Kernel:
        return Kernel(name, "add", "cpu", lambda spec: filler(value), priority=priority)

    x = ox.asarray(X[0])
    for kernels, winner in (((same("b", 2.0), same("a", 1.0)), 1.0), ((same("a", 1.0), same("b", 2.0, 1)), 2.0)):
        manager.register("planted", Planted(*kernels))
        try:
            with ox.policy(backends="planted"):
                assert ox.add(x, x).tolist() == [winner, winner]
        finally:
            manager.unregister("planted")


def test_mixed_dtypes_are_cast_before_the_kernel_and_shown() -> None:
    x, y = ox.asarray([1, 2], dtype=ox.int8), ox.asarray([1000, 2000], dtype=ox.int32)
    total = ox.add(x, y)
    assert total.dtype == ox.int32
    assert total.tolist() == [1001, 2002]
    assert "cast" in str(ox.explain("add", x, y))


def test_a_contiguous_only_kernel_gets_copies_that_are_priced() -> None:
    seen: list[tuple[int, ...]] = []

    def prepare(spec: CallSpec) -> Prepared:
        seen.extend(s.strides for s in spec.arrays)

        def launch(outs, ins, workspace, queue):  # type: ignore[no-untyped-def]
            np.add(ins[0].host, ins[1].host, out=outs[0].host)

        return Prepared(launch)

    manager.register("planted", Planted(Kernel("dense", "add", "cpu", prepare, Accepts(layout=Layout.CONTIGUOUS))))
    try:
        x = ox.asarray(X)
        with ox.policy(pins={"add": "planted"}):
            decision = decide_call(OPS["add"], (ox.permute_dims(x, (1, 0)), x), {})
            result = ox.add(ox.permute_dims(x, (1, 0)), x)
    finally:
        manager.unregister("planted")
    assert result.tolist() == (X.T + X).tolist()
    assert seen == [(2, 1), (2, 1)]
    assert [i for i, _ in decision.chosen.copies] == [0]
    assert decision.cost.copies > 0


def test_a_composite_is_weighed_against_its_override() -> None:
    override = Kernel("softmax", "softmax", "cpu", lambda spec: filler(5.0))
    manager.register("planted", Planted(override))
    try:
        explained = ox.explain("softmax", ox.asarray(X))
        names = {row.candidate for row in explained.rows}
        with ox.policy(pins={"softmax": "planted"}):
            assert ox.softmax(ox.asarray(X[0])).tolist() == [5.0, 5.0]
    finally:
        manager.unregister("planted")
    assert names == {"planted/softmax", "decomposition"}
    assert all(row.eligible for row in explained.rows)


def test_a_decomposition_that_ends_in_a_view_says_so() -> None:
    x = ox.asarray(np.arange(6.0, dtype=np.float32).reshape(2, 3))

    def turned(a: ox.Array) -> ox.Array:
        return ox.permute_dims(ox.add(a, 1.0), (1, 0))

    compiled = ox.compile(lambda a: ox.add(turned(a), turned(a)))
    assert compiled(x).tolist() == (2 * (x.numpy() + 1).T).tolist()


def test_an_explanation_is_data() -> None:
    data = ox.explain("exp", ox.asarray(X)).to_dict()
    assert data["op"] == "exp"
    assert data["device"] == "cpu:0"
    chosen = data["rows"][0]
    assert chosen["candidate"] == data["chosen"]
    assert chosen["seconds"] == pytest.approx(
        chosen["terms"]["launch"]
        + max(chosen["terms"]["compute"], chosen["terms"]["memory"])
        + chosen["terms"]["copies"]
        + chosen["terms"]["transfers"]
    )


def test_the_kind_of_the_chosen_candidate_is_a_kernel() -> None:
    decision = decide_call(OPS["exp"], (ox.asarray(X),), {})
    assert decision.chosen.kind is Kind.KERNEL
    assert decision.margin is None or decision.margin >= 1.0


def test_a_composite_that_returns_its_operand_returns_a_handle_of_its_own() -> None:
    x = ox.asarray(X, copy=True)
    y = ox.clip(x)
    y[0, 0] = 9.0
    assert x.tolist() == X.tolist()
    twice = ox.compile(lambda a: (a, a))(x)
    twice[0][0, 0] = 8.0
    assert (twice[1].tolist(), x.tolist()) == (X.tolist(), X.tolist())


def slow_prepare(started: threading.Event, go: threading.Event) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared:
        started.set()
        go.wait(10)
        return filler(7.0)

    return Kernel("slow", "add", "cpu", prepare)


def test_a_decision_made_while_its_backend_is_dropped_is_not_kept() -> None:
    started, go = threading.Event(), threading.Event()
    manager.register("planted", Planted(slow_prepare(started, go)))
    x = ox.asarray(X[0], copy=True)
    context = contextvars.copy_context()

    def decide() -> None:
        with ox.policy(pins={"add": "planted"}):
            decide_call(OPS["add"], (x, x), {})

    thread = threading.Thread(target=context.run, args=(decide,))
    thread.start()
    started.wait(10)
    manager.unregister("planted")
    go.set()
    thread.join(10)
    with ox.policy(pins={"add": "planted"}), pytest.raises(ox.UnsupportedError, match="pinned to planted"):
        ox.add(x, x)


def test_attributes_that_compare_equal_are_told_apart() -> None:
    x = ox.asarray(X, copy=True)
    assert ox.sum(x, axis=1).tolist() == [3.0, 7.0]
    for axis in (1.0, True, (1.0,)):
        with pytest.raises(ox.ArgumentTypeError):
            ox.sum(x, axis=axis)


def test_the_dearer_kernels_are_not_prepared() -> None:
    prepared: list[str] = []

    def noting(name: str, launch: float) -> Kernel:
        def prepare(spec: CallSpec) -> Prepared:
            prepared.append(name)
            return filler(1.0)

        return Kernel(name, "add", "cpu", prepare, cost=CostTerms(launch=launch))

    manager.register("planted", Planted(noting("cheap", 0.0), noting("dear", 1.0)))
    try:
        with ox.policy(pins={"add": "planted"}):
            explained = ox.explain("add", ox.zeros(7), ox.zeros(7))
    finally:
        manager.unregister("planted")
    assert prepared == ["cheap"]
    assert [r.candidate for r in explained.rows if r.eligible] == ["planted/cheap", "planted/dear"]


def test_casts_are_paid_by_every_candidate() -> None:
    x, y = ox.zeros(4, dtype=ox.int8), ox.zeros(4, dtype=ox.int32)
    explained = ox.explain("add", x, y)
    eligible = [r for r in explained.rows if r.eligible]
    assert len(eligible) > 1
    assert all(r.terms["copies"] > 0 for r in eligible)
    assert explained.margin is not None
    assert explained.margin >= 1.0


def test_complex_constants_keep_the_signs_of_their_zeros() -> None:
    z = ox.asarray([1 + 1j], dtype=ox.complex128)
    ox.add(z, complex(-1.0, 0.0))
    kept = constant(complex(-1.0, -0.0), ox.complex128, z.device).numpy()
    assert np.signbit(kept.imag)


def test_explain_leaves_out_alone() -> None:
    x = ox.asarray(X, copy=True)
    out = ox.add(x, x)
    assert ox.explain("add", x, x, out=out).op == "add"
    assert out.tolist() == (X + X).tolist()


def test_scalars_are_never_taken_for_operands_left_out() -> None:
    x = ox.asarray(X, copy=True)
    for _ in range(2):  # the first call of a process loads the backends, and is not remembered
        assert ox.clip(x).tolist() == X.tolist()
    assert ox.clip(x, 2.0, 3.0).tolist() == [[2.0, 2.0], [3.0, 3.0]]
    assert ox.clip(x, None, 3.0).tolist() == [[1.0, 2.0], [3.0, 3.0]]
    assert ox.clip(x).tolist() == X.tolist()


@pytest.mark.parametrize("swap", [False, True])
def test_a_list_beside_an_array_is_told_to_be_wrapped(swap: bool) -> None:
    x = ox.asarray(X)
    with pytest.raises(ox.ArgumentTypeError, match=r"opmux\.asarray"):
        _ = [1, 2] * x if swap else x * [1, 2]  # type: ignore[operator]
