"""A promised class is shown, and a kernel that breaks it is caught: runs, threads, batches, canonical bits."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from opmux.conformance.cases.enumerate import cases
from opmux.conformance.cases.ops.determinism import _class_of
from opmux.conformance.results.outcome import Outcome
from opmux.conformance.running.execute import execute
from opmux.conformance.running.isolation import Job
from opmux.conformance.target import targets
from opmux.core.dispatch.decision import Candidate, Kind
from opmux.opset.orders import canonical_matmul, canonical_sum
from opmux.plugin import CallSpec, Determinism, Kernel, Prepared, Promises, evaluate, recipe
from tests.conformance.zoo import Zoo, registered

Bind = Callable[[CallSpec], Callable[..., Any]]
_names = (f"determined-{i}" for i in itertools.count())


def _outcome(case: str, promised: Determinism, bind: Bind, order: str = "canonical") -> tuple[Outcome, str]:
    op, dtype = case.split("-")[:2]

    def prepare(spec: CallSpec) -> Prepared:
        compute = bind(spec)

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            with np.errstate(all="ignore"):
                compute(outs[0].host, *[x.host for x in ins])

        return Prepared(launch)

    kernel = Kernel(op, op, "cpu", prepare, promises=Promises(order=order, determinism=promised))
    with registered(next(_names), Zoo([kernel])) as name:
        (found,) = (c for c in cases(op, dtype) if c.id == case)
        result = execute(found, targets(name)[0], Job(name, "cpu:0", op, dtype, False, ()))
    return result.outcome, result.message


def _sum(spec: CallSpec) -> Callable[..., Any]:
    def compute(out: Any, x: Any) -> None:
        out[...] = canonical_sum(x, spec.attributes["axis"], dtype=out.dtype).reshape(out.shape)

    return compute


def _matmul(spec: CallSpec) -> Callable[..., Any]:
    def compute(out: Any, x: Any, y: Any) -> None:
        out[...] = canonical_matmul(x, y)

    return compute


def _exp(spec: CallSpec) -> Callable[..., Any]:
    program = recipe("exp", ("float32",))
    assert program is not None

    def compute(out: Any, x: Any) -> None:
        out[...] = evaluate(program, x)

    return compute


@pytest.mark.parametrize("label", ["run", "threads", "batch", "canonical"])
def test_canonical_kernels_show_every_class(label: str) -> None:
    assert _outcome(f"sum-float32-determinism-{label}", Determinism.CANONICAL, _sum) == (Outcome.PASS, "")
    assert _outcome(f"exp-float32-determinism-{label}", Determinism.CANONICAL, _exp) == (Outcome.PASS, "")


@pytest.mark.parametrize("label", ["run", "threads", "batch", "canonical"])
def test_what_nobody_promises_is_unsupported(label: str) -> None:
    outcome, message = _outcome(f"sum-float32-determinism-{label}", Determinism.NONE, _sum)
    assert outcome is Outcome.UNSUPPORTED
    assert "no kernel promises" in message


def _last_place_at_random(spec: CallSpec) -> Callable[..., Any]:
    count = itertools.count()

    def compute(out: Any, x: Any) -> None:
        _sum(spec)(out, x)
        if next(count) % 3 == 2:
            out[...] = np.nextafter(out, out.dtype.type(np.inf))

    return compute


def _adds_to_what_was_there(spec: CallSpec) -> Callable[..., Any]:
    def compute(out: Any, x: Any) -> None:
        dirty = np.isnan(out).any()
        _sum(spec)(out, x)
        if dirty:
            out[...] = np.nextafter(out, out.dtype.type(np.inf))

    return compute


def _order_by_alignment(spec: CallSpec) -> Callable[..., Any]:
    def compute(out: Any, x: Any) -> None:
        _sum(spec)(out, x)
        if x.ctypes.data % 64:
            out[...] = np.nextafter(out, out.dtype.type(np.inf))

    return compute


def _shared_scratch(spec: CallSpec) -> Callable[..., Any]:
    """Two calls at once write to one accumulator."""
    import threading
    import time

    running = [0]
    lock = threading.Lock()

    def compute(out: Any, x: Any) -> None:
        with lock:
            running[0] += 1
        time.sleep(0.005)
        _sum(spec)(out, x)
        if running[0] > 1:
            out[...] = np.nextafter(out, out.dtype.type(np.inf))
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    return compute


@pytest.mark.parametrize(
    ("bind", "says"),
    [
        (_last_place_at_random, "other bits"),
        (_adds_to_what_was_there, "held something"),
        (_order_by_alignment, "elements further on"),
        (_shared_scratch, "at once"),
    ],
)
def test_bits_that_change_from_run_to_run(bind: Bind, says: str) -> None:
    outcome, message = _outcome("sum-float32-determinism-run", Determinism.RUN, bind)
    assert outcome is Outcome.FAIL
    assert says in message


def test_a_race_in_an_exact_op_is_seen_without_any_promise() -> None:
    def bind(spec: CallSpec) -> Callable[..., Any]:
        count = itertools.count()

        def compute(out: Any, x: Any) -> None:
            np.negative(x, out=out)
            if next(count) % 4 == 3:
                out.reshape(-1)[-1:] = 0

        return compute

    assert _outcome("negative-int32-determinism-run", Determinism.NONE, bind)[0] is Outcome.FAIL


def test_an_order_that_follows_the_number_of_threads() -> None:
    def bind(spec: CallSpec) -> Callable[..., Any]:
        parts = int(os.environ.get("OPMUX_NUM_THREADS") or 2)

        def compute(out: Any, x: Any) -> None:
            chunks = np.array_split(x, parts, axis=spec.attributes["axis"][0])
            out[...] = sum(c.sum(axis=spec.attributes["axis"], keepdims=spec.attributes["keepdims"]) for c in chunks)

        return compute

    outcome, message = _outcome("sum-float32-determinism-threads", Determinism.THREADS, bind)
    assert outcome is Outcome.FAIL
    assert "threads" in message
    assert "OPMUX_NUM_THREADS" not in os.environ or os.environ["OPMUX_NUM_THREADS"]


def test_a_product_whose_order_follows_the_number_of_rows() -> None:
    def bind(spec: CallSpec) -> Callable[..., Any]:
        def compute(out: Any, x: Any, y: Any) -> None:
            flip = slice(None, None, -1 if x.shape[-2] == 1 else 1)
            out[...] = canonical_matmul(x[..., flip], y[..., flip, :])

        return compute

    assert _outcome("matmul-float32-determinism-batch", Determinism.BATCH, _matmul)[0] is Outcome.PASS
    outcome, message = _outcome("matmul-float32-determinism-batch", Determinism.BATCH, bind)
    assert outcome is Outcome.FAIL
    assert "(rows)" in message


def test_a_vector_tail_with_another_method() -> None:
    def bind(spec: CallSpec) -> Callable[..., Any]:
        exact = _exp(spec)

        def compute(out: Any, x: Any) -> None:
            exact(out, x)
            tail = x.size - x.size % 16
            out.reshape(-1)[tail:] = np.exp(x.reshape(-1)[tail:].astype(np.float64))

        return compute

    outcome, message = _outcome("exp-float32-determinism-batch", Determinism.BATCH, bind)
    assert outcome is Outcome.FAIL
    assert "other bits" in message


@pytest.mark.parametrize(
    ("case", "compute"),
    [
        ("sum-float32", lambda out, x, **a: np.sum(x, out=out, **a)),
        ("exp-float32", lambda out, x: np.copyto(out, np.exp(x.astype(np.float64)).astype(np.float32))),
        ("matmul-float32", lambda out, x, y: np.matmul(x, y, out=out)),
    ],
)
def test_right_results_with_other_bits_are_not_canonical(case: str, compute: Callable[..., Any]) -> None:
    def bind(spec: CallSpec) -> Callable[..., Any]:
        given = {k: spec.attributes[k] for k in ("axis", "keepdims") if k in spec.attributes}
        return lambda out, *ins: compute(out, *ins, **given)

    outcome, message = _outcome(f"{case}-determinism-canonical", Determinism.CANONICAL, bind)
    assert outcome is Outcome.FAIL
    assert "not the canonical bits" in message


@pytest.fixture
def _threads_as_they_were() -> Iterator[None]:
    before = os.environ.get("OPMUX_NUM_THREADS")
    yield
    assert os.environ.get("OPMUX_NUM_THREADS") == before


@pytest.mark.usefixtures("_threads_as_they_were")
def test_other_processes_are_asked_with_threads_of_their_own() -> None:
    """The order that a backend fixes when it starts shows only in a process that starts with the variable."""
    from opmux.conformance.cases.ops.siblings import Sibling

    asked = Sibling("llvm", 3)
    try:
        found = asked.digests("cpu:0", "sum", "float32")
        assert {key.split()[1] for key in found} == {"llvm/sum"}
        assert Sibling("no-such-backend", 3).digests("cpu:0", "sum", "float32") == {}
    finally:
        asked.close()


def test_other_bits_in_a_process_with_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from opmux.conformance.cases.ops import determinism

    class Elsewhere:
        def digests(self, device: str, op: str, dtype: str) -> dict[str, str]:
            return {f"{i} {name}/sum": "other" for i in range(9) for name in [next_name]}

    next_name = f"determined-{int(next(_names).rpartition('-')[2]) + 1}"
    monkeypatch.setattr(determinism, "sibling", lambda backend, threads: Elsewhere())
    outcome, message = _outcome("sum-float32-determinism-threads", Determinism.THREADS, _sum)
    assert outcome is Outcome.FAIL
    assert "in a process that starts with 1 threads" in message


def test_a_region_counts_by_its_own_promise() -> None:
    promises = Promises(order="canonical", determinism=Determinism.CANONICAL)
    spec = CallSpec("region:0", (), (), {})
    for given, expected in ((promises, Determinism.CANONICAL), (Promises(), Determinism.NONE)):
        kernel = Kernel("chain", "region:0", "cpu", lambda spec: Prepared(lambda *given: None), promises=given)
        assert _class_of(Candidate("zoo/chain", Kind.KERNEL, "zoo", kernel, None, spec)) is expected
